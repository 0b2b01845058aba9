"""Other layouts of the same parameters, recognised by names and shapes.

Pairs (W, b); a flat list W1, b1, W2, b2, ...; two lists; mappings with the names of PyTorch, Flax,
scikit-learn or a student; weights (out, in) or (in, out); biases (m,), (1, m) or (m, 1). `Layout`
translates to and from the notes' layout, value for value.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jax.typing import DTypeLike

from fcnet.arrays import assign, dtype_of, is_array, is_floating, like, shape_of, to_numpy
from fcnet.checks import check_unmasked
from fcnet.trees import Path, leaves, name_of, rebuild
from fcnet.types import Layer, Params

Pairing: TypeAlias = Sequence[tuple[Path, Path | None]]
"""Where W^[k] and b^[k] are, for k = 1..r; None for a bias that is absent."""


class Word(NamedTuple):
    """What a word in an array's name means: W or b, and for some whether W is (in, out)."""

    role: str
    transposed: bool | None = None


WORDS = {
    "w": Word("W"),
    "ws": Word("W"),
    "weights": Word("W"),
    "weigths": Word("W"),  # misspelt
    "syn": Word("W"),
    "weight": Word("W", transposed=False),  # torch.nn.Linear
    "kernel": Word("W", transposed=True),  # Flax, Keras
    "coefs": Word("W", transposed=True),  # sklearn.neural_network
    "theta": Word("W"),
    "thetas": Word("W"),
    "b": Word("b"),
    "wb": Word("b"),
    "bs": Word("b"),
    "bias": Word("b"),
    "biases": Word("b"),
    "hbias": Word("b"),
    "vbias": Word("b"),
    "intercepts": Word("b"),
    **dict.fromkeys(("peso", "pesos", "poids", "gewicht", "gewichte"), Word("W")),
    **dict.fromkeys(("sesgo", "sesgos", "vies", "vieses", "biais"), Word("b")),
}
"""The words in use, in lower case, and those of some other languages.

The last one in a name counts; the rest names the layer.
"""


LETTERS = r"(?:[xihoy]\d*){1,2}|hid|out"
"""What names a layer right after the letter w or b: its own letter, or those of both its sides."""


WORD = re.compile(rf"^[WwBb](?=(?:{LETTERS})$)|[A-Z]?[a-z]+|[A-Z]{{4,}}(?![a-z])|[A-Z]|\d+")
"""A word or a number in a name. Few capitals in a row are a word each, as in dWB; BETA is one."""


OTHER_LAYERS = {"gamma", "scale"}
"""Words for parameters of other layers, which no shape tells from biases."""


class Part(NamedTuple):
    """A part of an array that holds several of the notes' arrays.

    From entry `start` on, in the order of its rows, the array holds another one of shape `shape`;
    the part is low..high of that one, along `axis`.

    >>> part = Part(start=0, shape=(2, 3), axis=1, low=1, high=3)
    >>> part.of(np.arange(6.0))
    array([[1., 2.],
           [4., 5.]])
    >>> part.where((1, 0))
    4
    """

    start: int
    shape: tuple[int, ...]
    axis: int
    low: int
    high: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part itself; a view of a contiguous array."""
        inner = array.reshape(-1)[self.start : self.start + math.prod(self.shape)]
        index = (*(slice(None),) * self.axis, slice(self.low, self.high))
        return inner.reshape(self.shape)[index]

    def where(self, index: Sequence[int]) -> int:
        """The place of its entry `index` in the whole array, counted along the rows."""
        inner = [i + self.low * (axis == self.axis) for axis, i in enumerate(index)]
        return self.start + int(np.ravel_multi_index(inner, self.shape))


class Slot(NamedTuple):
    """Where the array W^[k] or b^[k] of the notes sits in the user's parameters.

    Attributes:
        layer: k, from 1 to r.
        role: "W" or "b".
        path: where the array is in the user's containers.
        name: the user's name, such as "W1", "params[0].W" or "0.weight".
        shape: the user's shape.
        notes_shape: (m_k, m_{k-1}) for W, (m_k,) for b.
        transposed: whether this is a matrix W of shape (in, out).
        part: what part of the user's array it is; None if it is the whole.
    """

    layer: int
    role: str
    path: Path
    name: str
    shape: tuple[int, ...]
    notes_shape: tuple[int, ...]
    transposed: bool
    part: Part | None = None

    @property
    def gradient_name(self) -> str:
        """The usual name of its gradient: "dW1" for "W1", else the name itself."""
        return f"d{self.name}" if re.match(r"[A-Za-z]\d*( in |$)", self.name) else self.name

    @property
    def gradient_phrase(self) -> str:
        """How a sentence names its gradient: "dW1", or "the gradient of params[0].W"."""
        own = self.gradient_name
        return f"the gradient of {own}" if own == self.name else own

    def read(self, values: np.ndarray) -> np.ndarray:
        """The user's array in the notes' shape."""
        own = self.part.of(values) if self.part else values
        return own.reshape(self._turned(self.notes_shape)).transpose(self._axes)

    def write(self, values: np.ndarray, array: np.ndarray) -> None:
        """Write the notes' array into one of the user's shape, which is contiguous."""
        own = self.part.of(array) if self.part else array
        own[...] = values.transpose(self._axes).reshape(own.shape)

    def where(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """The index in the user's array of the notes' entry `index`: swapped if transposed."""
        position = int(np.ravel_multi_index(self._turned(index), self._turned(self.notes_shape)))
        if self.part:
            own = self.part.of(np.broadcast_to(0, self.shape)).shape
            position = self.part.where([int(i) for i in np.unravel_index(position, own)])
        return tuple(int(i) for i in np.unravel_index(position, self.shape))

    @property
    def _axes(self) -> tuple[int, ...]:
        return self._turned(tuple(range(len(self.notes_shape))))

    def _turned(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        return axes[::-1] if self.transposed else axes


class Layout(NamedTuple):
    """One way to read the user's parameters as layers 1..r.

    Attributes:
        slots: of W^[1], b^[1], ..., W^[r], b^[r], in the order of `jax.tree.leaves` of `Params`. A
            bias that is absent has none.
    """

    slots: tuple[Slot, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """(d, m_1, ..., m_r)."""
        weights = [slot.notes_shape for slot in self.slots if slot.role == "W"]
        return (weights[0][1], *(m for m, _ in weights))

    @property
    def transposed(self) -> bool | None:
        """Whether the user's W are (in, out), for z = a W + b; None if all W are vectors."""
        matrices = [slot.transposed for slot in self.slots if min(slot.notes_shape) > 1]
        return any(matrices) if matrices else None

    @property
    def arrays(self) -> tuple[Slot, ...]:
        """The user's arrays, each once: a slot of their own shape for those that hold several."""
        return tuple(
            {
                slot.path: slot._replace(name=name_of(slot.path), part=None) if slot.part else slot
                for slot in self.slots
            }.values()
        )

    def layers(self, arrays: Sequence[np.ndarray | None]) -> Params:
        """The notes' layers of the user's arrays, one for each slot; None for what is absent."""
        notes: Any = {
            (slot.layer, slot.role): None if array is None else slot.read(array)
            for slot, array in zip(self.slots, arrays, strict=True)
        }
        layers = range(1, len(self.sizes))
        return tuple(Layer(notes[k, "W"], notes.get((k, "b"))) for k in layers)

    def present(self, layers: Params) -> Params:
        """The layers with None for each bias that is absent in the user's parameters."""
        found = {(slot.layer, slot.role) for slot in self.slots}
        absent: Any = None
        return tuple(
            layer if (k, "b") in found else layer._replace(b=absent)
            for k, layer in enumerate(layers, start=1)
        )

    def leaves(self, params: object) -> list[Any]:
        """The user's array of each slot; ValueError if one is missing or unknown."""
        found = {path: leaf for path, leaf in leaves(params) if leaf is not None}
        if set(found) != {slot.path for slot in self.slots}:
            raise ValueError(
                f"params must hold {', '.join(slot.name for slot in self.slots)} and no more, "
                f"got {', '.join(map(name_of, found))}"
            )
        return [found[slot.path] for slot in self.slots]

    def read(self, params: object) -> Params:
        """The user's parameters in the notes' layout, as NumPy arrays of float64, exact.

        A bias that is absent is zero.
        """
        return with_zero_biases(self.layers([to_numpy(leaf) for leaf in self.leaves(params)]))

    def write(self, layers: Params, params: object, dtype: DTypeLike | None = None) -> Any:
        """New parameters with the values of `layers`, in the form of the user's `params`.

        Containers, array libraries and shapes are the same, and so is the dtype unless one is
        given. No memory is shared.
        """
        values = self._arrays(layers)
        return rebuild(
            lambda path, leaf: None if leaf is None else like(values[path], leaf, dtype), params
        )

    def assign(self, layers: Params, params: object) -> bool:
        """Write the values of `layers` into the user's arrays; False if one cannot be changed."""
        own = {slot.path: leaf for slot, leaf in zip(self.slots, self.leaves(params), strict=True)}
        return all([assign(own[path], values) for path, values in self._arrays(layers).items()])

    def _arrays(self, layers: Params) -> dict[Path, np.ndarray]:
        arrays: dict[Path, np.ndarray] = {}
        for slot in self.slots:
            values = np.asarray(getattr(layers[slot.layer - 1], slot.role))
            whole = arrays.setdefault(slot.path, np.empty(slot.shape, values.dtype))
            slot.write(values, whole)
        return arrays


def with_zero_biases(layers: Params) -> Params:
    """The layers with zeros for each bias that is None."""
    zeros: Any = np.zeros
    return tuple(Layer(W, zeros(len(W)) if b is None else b) for W, b in layers)


def layouts_of(params: object) -> list[Layout]:
    """The ways to read `params`: one, or two if every layer is square and no name decides.

    Args:
        params: nested sequences and mappings of floating arrays.

    Returns:
        One or two layouts; the first of two has W as (out, in), as in the notes.

    Raises:
        TypeError: for leaves that are not floating arrays, or that make no pairs of W and b.
        ValueError: for masked entries, or shapes that do not chain from layer to layer.

    >>> layout, = layouts_of({"W1": np.ones((4, 3)), "b1": np.ones((1, 3)),
    ...                       "W2": np.ones((3, 1)), "b2": np.ones((1, 1))})
    >>> layout.sizes, layout.transposed, [slot.gradient_name for slot in layout.slots]
    ((4, 3, 1), True, ['dW1', 'db1', 'dW2', 'db2'])
    >>> layout.slots[0].where((2, 0))
    (0, 2)
    """
    found = dict(leaves(params))
    for path, leaf in found.items():
        check_parameter(name_of(path), leaf)
    shapes = {path: shape_of(leaf) for path, leaf in found.items()}
    for pairing, convention in pairings(list(found), params):
        ways = {turned: chain(pairing, shapes, turned) for turned in (False, True)}
        layouts = [Layout(slots) for slots in dict.fromkeys(ways.values()) if slots]
        if layouts:
            return layouts if convention is None or len(layouts) == 1 else [layouts[convention]]
    got = ", ".join(f"{name_of(path)} {shape}" for path, shape in shapes.items())
    raise ValueError(
        f"params do not chain from layer to layer: got {got}; expected every W of shape "
        "(m_k, m_{k-1}), or every W of shape (m_{k-1}, m_k), and every b of shape (m_k,)"
    )


def check_parameter(name: str, leaf: object) -> None:
    """Raise unless `leaf` is a floating array, all of whose entries can have a gradient."""
    check_unmasked(name, leaf)
    if not is_array(leaf):
        raise TypeError(
            f"{name} must be an array of NumPy, JAX or PyTorch, or lists of numbers, "
            f"got {type(leaf).__name__}; pass the arrays alone, and a function of (params, x, y) "
            "that adds the rest"
        )
    if not is_floating(leaf) or not 2 <= dtype_of(leaf).itemsize <= 8:
        raise TypeError(
            f"{name} must be floating, of 16 to 64 bits, got {dtype_of(leaf)}; "
            "integers have no gradient: cast with .astype(float)"
        )


def pairings(paths: list[Path], params: object) -> Iterator[tuple[Pairing, bool | None]]:
    """The pairings by names, or else by positions, likeliest first, each with a convention for W.

    Names that leave open which b belongs to which W, such as weights_input_hidden and bias_hidden,
    or W, w0, V and v0, are taken for positions. Raises TypeError where names are needed.

    The convention is whether such names are used for a W of shape (in, out); None if for either.
    """
    named = _by_name(paths)
    if named is not None:
        notes = isinstance(params, Sequence) and all(isinstance(layer, Layer) for layer in params)
        yield named[0], False if notes else named[1]
        return
    half = len(paths) // 2
    if paths and len(paths) == 2 * half and not any(map(_is_of_other_layers, paths)):
        for one, other in ((paths[::2], paths[1::2]), (paths[:half], paths[half:])):
            yield list(zip(one, other, strict=True)), None
            yield list(zip(other, one, strict=True)), None
    if not half or len(paths) > 2 * half or not all(map(_has_place_or_role, paths)):
        raise TypeError(
            "params must hold one W and one b for each layer, got "
            f"{', '.join(map(name_of, paths)) or 'nothing'}; use pairs (W, b), a list W1, b1, W2, "
            "b2, ..., or names such as W1 and b1, 0.weight and 0.bias, kernel and bias"
        )


def _by_name(paths: list[Path]) -> tuple[Pairing, bool | None] | None:
    """The layers by the words in the names; None if a layer has no W or no b."""
    named = layers_by_name(paths)
    if named is None or not all("b" in layer for layer in named[0]):
        return None
    return [(layer["W"], layer["b"]) for layer in named[0]], named[1]


def layers_by_name(paths: list[Path]) -> tuple[list[dict[str, Path]], bool | None] | None:
    """The paths of "W" and "b" of each layer by the words in the names, and the convention for W.

    None if a name does not say enough; a layer may be without b.
    """
    layers: dict[tuple[str | int, ...], dict[str, Path]] = {}
    convention = None
    for path in paths:
        words = [word for key in path for word in words_of(key)]
        known = [i for i, word in enumerate(words) if str(word).lower() in WORDS]
        if not known:
            return None
        word = WORDS[str(words.pop(known[-1])).lower()]
        if layers.setdefault(tuple(words), {}).setdefault(word.role, path) != path:
            return None
        convention = word.transposed if word.role == "W" else convention
    if not layers or not all("W" in layer for layer in layers.values()):
        return None
    texts = {tuple(word for word in name if isinstance(word, str)) for name in layers}
    numbers = {name: [word for word in name if isinstance(word, int)] for name in layers}
    order = sorted(layers, key=numbers.__getitem__) if len(texts) == 1 else layers
    return [layers[name] for name in order], convention


def _is_of_other_layers(path: Path) -> bool:
    return any(str(word).lower() in OTHER_LAYERS for key in path for word in words_of(key))


def _has_place_or_role(path: Path) -> bool:
    """Whether a path ends in a number, or a word in it means W or b."""
    words = (str(word).lower() for key in path for word in words_of(key))
    return isinstance(path[-1], int) or any(word in WORDS for word in words)


def words_of(key: str | int) -> list[str | int]:
    """The words and numbers of a name; wih, Who and bh are of layers i, h and o.

    >>> words_of("fc1.weight"), words_of("biasHidden"), words_of("who"), words_of("bout")
    (['fc', 1, 'weight'], ['bias', 'Hidden'], ['w', 'ho'], ['b', 'out'])
    >>> words_of("adamBETA1"), words_of("dW1")
    (['adam', 'BETA', 1], ['d', 'W', 1])
    """
    parts = WORD.findall(str(key))
    return [int(part) if part.isdigit() else part for part in parts]


def chain(
    pairing: Pairing, shapes: dict[Path, tuple[int, ...]], transposed: bool
) -> tuple[Slot, ...] | None:
    """The slots of the layers, with W of shape (in, out) if `transposed`; None if no chain."""
    slots: list[Slot] = []
    below = None
    one_bias = ((), (1,)) if len(pairing) == 1 else ((),)  # in a list, (1,) may be of any layer
    for k, (W, b) in enumerate(pairing, start=1):
        shape = as_matrix(shapes[W])
        shape = shape[::-1] if transposed else shape
        if len(shape) == 1 and (b is None or shapes[b] in one_bias):  # one neuron, w . x + b
            shape = (1, *shape)
        if len(shape) != 2 or below not in (None, shape[1]):
            return None
        below = m = shape[0]
        turned = transposed and min(shape) > 1
        slots.append(Slot(k, "W", W, _slot_name(k, "W", W, b), shapes[W], shape, turned))
        if b is not None:
            of_b = as_matrix(shapes[b])
            if of_b not in {(m,), (1, m), (m, 1)} and (m, of_b) != (1, ()):
                return None
            slots.append(Slot(k, "b", b, _slot_name(k, "b", b, W), shapes[b], (m,), False))
    return tuple(slots)


def as_matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of more than two axes without those of length 1 before its last two.

    >>> as_matrix((1, 4, 3)), as_matrix((1, 3)), as_matrix((2, 4, 3))
    ((4, 3), (1, 3), (2, 4, 3))
    """
    return shape[-2:] if set(shape[:-2]) == {1} else shape


def _slot_name(k: int, role: str, path: Path, partner: Path | None) -> str:
    """The name in the user's mapping; for positions, params[0].W in a list of pairs, else W1."""
    if not all(isinstance(key, int) for key in path):
        return name_of(path)
    paired = partner is not None and len(path) > 1 and path[:-1] == partner[:-1]
    return name_of((*path[:-1], role)) if paired else f"{role}{k}"
