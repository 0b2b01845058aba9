"""All ways to read parameters as layers: pairs of W and b, and forms that only the checker reads.

Networks without biases, or with some; one matrix a layer that holds the bias as its first or last
column, or row; one vector of all numbers. Shapes alone may fit several: `own_reading.py` decides.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise, product

import numpy as np

from fcnet.arrays import shape_of
from fcnet.layouts import (
    Layout,
    Part,
    Slot,
    chain,
    check_parameter,
    layers_by_name,
    layouts_of,
    pairings,
)
from fcnet.trees import Path, leaves, name_of
from fcnet.verify.forms import without_ones

OTHER_LAYERS = "; for other layers, such as batch norm, use fcnet.check_gradient"

NEURONS = (
    "; these are weights of single neurons: give check a matrix W for each layer, with a row for "
    "each of its neurons, and a function of (params, x, y) that puts the rows into the neurons"
)

TIED = (
    "; this is one matrix with a bias on each side: if its transpose makes the outputs, as in an "
    "autoencoder with tied weights, use fcnet.check_gradient"
)

NO_LAYER = (
    "; what stands for a layer without parameters, such as 0 for the input layer, must be None"
)

Shapes = dict[Path, tuple[int, ...]]
Slots = tuple[Slot, ...]


def readings_of(params: object, sizes: Sequence[int] | None = None) -> list[Layout]:
    """The ways to read `params`, the usual ones first.

    Args:
        params: nested sequences and mappings of floating arrays, or one array; None for a bias that
            is absent.
        sizes: (d, m_1, ..., m_r) if they are known; one vector needs them, but for a single neuron.

    Raises:
        TypeError: for leaves that are not floating arrays.
        ValueError: for arrays without numbers, and for shapes and sizes that fit no layout.

    >>> [layout.sizes for layout in readings_of([np.ones((4, 3)), np.ones((3, 1))])]
    [(4, 3), (4, 3, 1), (3, 3, 1), (3, 3, 1)]

    The last two have b1 in the first row of the first array, or in its last row.

    >>> [[slot.name for slot in layout.slots] for layout in readings_of(np.ones(6), (2, 2, 1))][0]
    ['W1 in params', 'W2 in params']
    """
    found = {path: leaf for path, leaf in leaves(params) if leaf is not None}
    for path, leaf in found.items():
        check_parameter(name_of(path), leaf)
    if sizes is not None:
        sizes = _as_sizes(sizes)
    shapes = {path: shape_of(leaf) for path, leaf in found.items()}
    for path, shape in shapes.items():
        if not math.prod(shape):
            name = name_of(path)
            raise ValueError(
                f"{name} of shape {shape} has no numbers: each layer needs units and inputs"
            )
    readings: list[Layout] = []
    error: TypeError | ValueError | None = None
    try:
        readings = layouts_of(params)
    except (TypeError, ValueError) as refused:
        error = refused
    others = [Layout(slots) for slots in _others(params, shapes, sizes) if slots]
    readings = list(dict.fromkeys([*readings, *others]))
    fitting = [layout for layout in readings if sizes in (None, layout.sizes)]
    if fitting:
        return fitting
    if sizes is None and error is not None:
        hints = (hint for fits, hint in HINTS if fits(shapes.values()))
        hint = next(hints, OTHER_LAYERS)
        raise type(error)(f"{error}{hint}") from None
    got = ", ".join(f"{name_of(path)} {shape}" for path, shape in shapes.items())
    known = " or ".join(str(layout.sizes) for layout in readings)
    raise ValueError(
        f"params with the shapes {got} are no network of sizes={sizes}"
        + (f", but one of sizes {known}" if known else _count(sizes))
    )


def are_neurons(shapes: Iterable[tuple[int, ...]]) -> bool:
    """Whether arrays of these shapes are of several neurons, each with a vector or numbers.

    >>> are_neurons([(3,), (3,)]), are_neurons([(), (), ()]), are_neurons([(3,), ()])
    (True, True, False)
    """
    axes = list(map(len, shapes))
    return max(axes, default=2) < 2 and (axes.count(1) > 1 or len(axes) > 2)


def are_tied(shapes: Iterable[tuple[int, ...]]) -> bool:
    """Whether arrays of these shapes are one matrix, and a bias for each of its sides.

    >>> are_tied([(4, 3), (3,), (1, 4)]), are_tied([(4, 3), (3,)])
    (True, False)
    """
    flat = [without_ones(shape) for shape in shapes]
    matrices = [shape for shape in flat if len(shape) == 2]
    others = sorted(shape for shape in flat if len(shape) != 2)
    return len(matrices) == 1 and others == sorted((m,) for m in matrices[0])


def have_no_layer(shapes: Iterable[tuple[int, ...]]) -> bool:
    """Whether the first of several arrays is one number, or two of them are.

    >>> have_no_layer([(), (4, 3), (), (3,)]), have_no_layer([(4, 3), (3,), (3, 1), (1,)])
    (True, False)
    """
    counts = list(map(math.prod, shapes))
    return len(counts) > 1 and (counts[0] == 1 or counts.count(1) > 1)


HINTS = ((are_neurons, NEURONS), (are_tied, TIED), (have_no_layer, NO_LAYER))
"""What else parameters may be that are no pairs of W and b, and what to do."""


def is_vector(params: object) -> bool:
    """Whether the parameters are one vector of numbers, maybe a column or a row of a matrix."""
    shapes = [shape_of(leaf) for _, leaf in leaves(params)]
    return len(shapes) == 1 and math.prod(shapes[0]) == max(shapes[0], default=0)


def _as_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    known = tuple(sizes) if isinstance(sizes, Iterable) else ()
    if len(known) < 2 or not all(isinstance(m, int | np.integer) and m > 0 for m in known):
        raise ValueError(
            "sizes must be the width of the input and that of each layer, such as (4, 5, 3), "
            f"got {sizes!r}"
        )
    return tuple(map(int, known))


def _count(sizes: Sequence[int] | None) -> str:
    pairs = list(pairwise(sizes or ()))
    weights, biases = sum(d * m for d, m in pairs), sum(m for _, m in pairs)
    return f", which has {weights + biases} numbers, or {weights} without biases"


def _others(
    params: object, shapes: Shapes, sizes: tuple[int, ...] | None
) -> Iterator[Slots | None]:
    """The forms that only the checker reads; None for one that the shapes do not fit."""
    pairing: list[tuple[Path, Path | None]]
    paths = list(shapes)
    if is_vector(params) and (sizes or len(shapes[paths[0]]) == 1):
        ways = list(_in_one_vector(paths[0], shapes[paths[0]], sizes))
        yield from {_places(slots): slots for slots in reversed(ways)}.values()
        return
    whole = [path for path, _ in leaves(params)]
    if len(whole) > len(paths):  # None stands for a bias
        for pairs, convention in pairings(whole, params):
            pairing = [(W, b if b in shapes else None) for W, b in pairs]
            if all(W in shapes for W, _ in pairing):
                for transposed in [False, True] if convention is None else [convention]:
                    yield chain(pairing, shapes, transposed)
        return
    named = layers_by_name(paths)
    if named is not None:
        pairing, convention = [(layer["W"], layer.get("b")) for layer in named[0]], named[1]
    elif paths and all(len(shape) == 2 for shape in shapes.values()):
        pairing, convention = [(path, None) for path in paths], None
    else:
        return
    turned = [False, True] if convention is None else [convention, not convention]
    ways = list(filter(None, (chain(pairing, shapes, transposed) for transposed in turned)))
    yield from ways[: 1 if convention is not None else 2]  # a name decides where both ways fit
    if all(b is None for _, b in pairing):
        weights = [W for W, _ in pairing]
        for way in product(turned, (True, False), (True, False)):
            yield _with_bias_columns(weights, shapes, *way)


def _with_bias_columns(
    weights: list[Path], shapes: Shapes, transposed: bool, first: bool, from_first: bool
) -> Slots | None:
    """Slots of matrices that hold W and b in one; None if their shapes fit no such network.

    Args:
        weights: the paths of the matrices.
        shapes: of these.
        transposed: whether W is (in, out), so that b is a row and no column.
        first: whether b is the first column, and not the last.
        from_first: whether the matrix of layer 1 has a b; of the others their shapes show it.
    """
    slots: list[Slot] = []
    below = None
    for k, path in enumerate(weights, start=1):
        shape = shapes[path][::-1] if transposed else shapes[path]
        if len(shape) != 2:
            return None
        with_bias = from_first if below is None else below == shape[1] - 1
        if below not in (None, shape[1] - with_bias) or shape[1] == with_bias:
            return None
        if with_bias:
            slots += _bias_column(k, path, shapes[path], 0, shape, transposed, first)
        else:
            turned = transposed and min(shape) > 1
            slots.append(Slot(k, "W", path, name_of(path), shapes[path], shape, turned))
        below = shape[0]
    return tuple(slots) if any(slot.part for slot in slots) else None


def _bias_column(
    k: int,
    path: Path,
    whole: tuple[int, ...],
    start: int,
    shape: tuple[int, ...],
    transposed: bool,
    first: bool,
) -> list[Slot]:
    """W and b in a matrix (m_k, m_{k-1} + 1), which the user has transposed or not."""
    m, below = shape[0], shape[1] - 1
    user, axis = (shape[::-1], 0) if transposed else (shape, 1)
    W = Part(start, user, axis, *((1, below + 1) if first else (0, below)))
    b = Part(start, user, axis, *((0, 1) if first else (below, below + 1)))
    turned = transposed and min(m, below) > 1
    return [
        Slot(k, "W", path, _name("W", k, path), whole, (m, below), turned, W),
        Slot(k, "b", path, _name("b", k, path), whole, (m,), False, b),
    ]


def _in_one_vector(
    path: Path, whole: tuple[int, ...], sizes: tuple[int, ...] | None
) -> Iterator[Slots]:
    """All numbers of a network in one vector; of a single neuron, if no sizes are given."""
    length = math.prod(whole)
    for known in [sizes] if sizes else [(length, 1), (length - 1, 1)]:
        shapes = [(m, below) for below, m in pairwise(known)]
        weights = sum(map(math.prod, shapes))
        orders: tuple[Order, ...]
        if length == weights:
            orders = ([(k, "W") for k in range(len(shapes))],)
        elif length == weights + sum(m for m, _ in shapes) and min(known):
            orders = _orders(len(shapes))
            for first in (True, False):
                ends = accumulate((m * (below + 1) for m, below in shapes), initial=0)
                yield tuple(
                    slot
                    for k, (start, (m, below)) in enumerate(zip(ends, shapes, strict=False), 1)
                    for slot in _bias_column(k, path, whole, start, (m, below + 1), False, first)
                )
        else:
            continue
        for order in orders:
            for transposed in (False, True):
                yield _placed(path, whole, shapes, order, transposed)


def _places(slots: Slots) -> tuple[bytes, ...]:
    """Where each array's entries are in the vector; the same for layouts that are one."""
    positions = np.arange(math.prod(slots[0].shape))
    return tuple(slot.read(positions).tobytes() for slot in slots)


Order = Sequence[tuple[int, str]]


def _orders(r: int) -> tuple[Order, ...]:
    """In which order people put W and b of r layers, counted from 0, into one vector."""
    W, b = ([(k, role) for k in range(r)] for role in "Wb")
    layers = list(zip(W, b, strict=True))
    return (
        [place for pair in layers for place in pair],
        [*W, *b],
        [place for pair in layers for place in pair[::-1]],
        [*b, *W],
    )


def _placed(
    path: Path,
    whole: tuple[int, ...],
    shapes: list[tuple[int, int]],
    order: Order,
    transposed: bool,
) -> Slots:
    slots, start = [], 0
    for k, role in order:
        notes_shape = shapes[k] if role == "W" else shapes[k][:1]
        size = math.prod(notes_shape)
        turned = transposed and role == "W" and min(notes_shape) > 1
        part = Part(start, (size,), 0, 0, size)
        name = _name(role, k + 1, path)
        slots.append(Slot(k + 1, role, path, name, whole, notes_shape, turned, part))
        start += size
    return tuple(sorted(slots, key=lambda slot: (slot.layer, slot.role)))


def _name(role: str, k: int, path: Path) -> str:
    return f"{role}{k} in {name_of(path)}"
