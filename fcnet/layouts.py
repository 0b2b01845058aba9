"""Other layouts of the same parameters, recognised by names and shapes.

Pairs (W, b); a flat list W1, b1, W2, b2, ...; two lists; mappings with the names of PyTorch, Flax,
scikit-learn or a student; weights (out, in) or (in, out); biases (m,), (1, m) or (m, 1). `Layout`
translates to and from the notes' layout, value for value.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jax.typing import DTypeLike

from fcnet.arrays import assign, dtype_of, is_array, is_floating, like, shape_of, to_numpy
from fcnet.trees import Path, leaves, name_of, rebuild
from fcnet.types import Layer, Params

Pairing: TypeAlias = list[tuple[Path, Path]]
"""Where W^[k] and b^[k] are, for k = 1..r."""


class Word(NamedTuple):
    """What a word in an array's name means: W or b, and for some whether W is (in, out)."""

    role: str
    transposed: bool | None = None


WORDS = {
    "w": Word("W"),
    "weights": Word("W"),
    "weight": Word("W", transposed=False),  # torch.nn.Linear
    "kernel": Word("W", transposed=True),  # Flax, Keras
    "coefs": Word("W", transposed=True),  # sklearn.neural_network
    "b": Word("b"),
    "bias": Word("b"),
    "biases": Word("b"),
    "intercepts": Word("b"),
}
"""The words in use, in lower case. The last one in a name counts; the rest names the layer."""


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
    """

    layer: int
    role: str
    path: Path
    name: str
    shape: tuple[int, ...]
    notes_shape: tuple[int, ...]
    transposed: bool

    @property
    def gradient_name(self) -> str:
        """The usual name of its gradient: "dW1" for "W1", else the name itself."""
        return f"d{self.name}" if re.fullmatch(r"[A-Za-z]\d*", self.name) else self.name

    def read(self, values: np.ndarray) -> np.ndarray:
        """The user's array in the notes' shape."""
        return values.reshape(self._turned(self.notes_shape)).transpose(self._axes)

    def write(self, values: np.ndarray) -> np.ndarray:
        """The notes' array in the user's shape."""
        return values.transpose(self._axes).reshape(self.shape)

    def where(self, index: tuple[int, ...]) -> tuple[int, ...]:
        """The index in the user's array of the notes' entry `index`: swapped if transposed."""
        position = np.ravel_multi_index(self._turned(index), self._turned(self.notes_shape))
        return tuple(int(i) for i in np.unravel_index(position, self.shape))

    @property
    def _axes(self) -> tuple[int, ...]:
        return self._turned(tuple(range(len(self.notes_shape))))

    def _turned(self, axes: tuple[int, ...]) -> tuple[int, ...]:
        return axes[::-1] if self.transposed else axes


class Layout(NamedTuple):
    """One way to read the user's parameters as layers 1..r.

    Attributes:
        slots: of W^[1], b^[1], ..., W^[r], b^[r], in the order of `jax.tree.leaves` of `Params`.
    """

    slots: tuple[Slot, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """(d, m_1, ..., m_r)."""
        weights = [slot.notes_shape for slot in self.slots[::2]]
        return (weights[0][1], *(m for m, _ in weights))

    @property
    def transposed(self) -> bool | None:
        """Whether the user's W are (in, out), for z = a W + b; None if all W are vectors."""
        matrices = [slot.transposed for slot in self.slots if min(slot.notes_shape) > 1]
        return any(matrices) if matrices else None

    def layers(self, arrays: Sequence[np.ndarray]) -> Params:
        """The notes' layers of the user's arrays, which are in the order of `slots`."""
        notes: list[Any] = [slot.read(a) for slot, a in zip(self.slots, arrays, strict=True)]
        return tuple(Layer(W, b) for W, b in zip(notes[::2], notes[1::2], strict=True))

    def leaves(self, params: object) -> list[Any]:
        """The user's arrays in the order of `slots`; ValueError if one is missing or unknown."""
        found = dict(leaves(params))
        if set(found) != {slot.path for slot in self.slots}:
            raise ValueError(
                f"params must hold {', '.join(slot.name for slot in self.slots)} and no more, "
                f"got {', '.join(map(name_of, found))}"
            )
        return [found[slot.path] for slot in self.slots]

    def read(self, params: object) -> Params:
        """The user's parameters in the notes' layout, as NumPy arrays of float64, exact."""
        return self.layers([to_numpy(leaf) for leaf in self.leaves(params)])

    def write(self, layers: Params, params: object, dtype: DTypeLike | None = None) -> Any:
        """New parameters with the values of `layers`, in the form of the user's `params`.

        Containers, array libraries and shapes are the same, and so is the dtype unless one is
        given. No memory is shared.
        """
        values = dict(zip((slot.path for slot in self.slots), self._arrays(layers), strict=True))
        return rebuild(lambda path, leaf: like(values[path], leaf, dtype), params)

    def assign(self, layers: Params, params: object) -> bool:
        """Write the values of `layers` into the user's arrays; False if one cannot be changed."""
        arrays = zip(self.leaves(params), self._arrays(layers), strict=True)
        return all([assign(leaf, values) for leaf, values in arrays])

    def _arrays(self, layers: Params) -> list[np.ndarray]:
        notes = [np.asarray(leaf) for layer in layers for leaf in layer]
        return [slot.write(leaf) for slot, leaf in zip(self.slots, notes, strict=True)]


def layouts_of(params: object) -> list[Layout]:
    """The ways to read `params`: one, or two if every layer is square and no name decides.

    Args:
        params: nested sequences and mappings of floating arrays.

    Returns:
        One or two layouts; the first of two has W as (out, in), as in the notes.

    Raises:
        TypeError: for leaves that are not floating arrays, or that make no pairs of W and b.
        ValueError: for shapes that do not chain from layer to layer.

    >>> layout, = layouts_of({"W1": np.ones((4, 3)), "b1": np.ones((1, 3)),
    ...                       "W2": np.ones((3, 1)), "b2": np.ones((1, 1))})
    >>> layout.sizes, layout.transposed, [slot.gradient_name for slot in layout.slots]
    ((4, 3, 1), True, ['dW1', 'db1', 'dW2', 'db2'])
    >>> layout.slots[0].where((2, 0))
    (0, 2)
    """
    found = dict(leaves(params))
    for path, leaf in found.items():
        _check_leaf(name_of(path), leaf)
    shapes = {path: shape_of(leaf) for path, leaf in found.items()}
    for pairing, convention in _pairings(list(found), params):
        ways = {turned: _chain(pairing, shapes, turned) for turned in (False, True)}
        layouts = [Layout(slots) for slots in dict.fromkeys(ways.values()) if slots]
        if layouts:
            return layouts if convention is None or len(layouts) == 1 else [layouts[convention]]
    got = ", ".join(f"{name_of(path)} {shape}" for path, shape in shapes.items())
    raise ValueError(
        f"params do not chain from layer to layer: got {got}; expected every W of shape "
        "(m_k, m_{k-1}), or every W of shape (m_{k-1}, m_k), and every b of shape (m_k,)"
    )


def _check_leaf(name: str, leaf: object) -> None:
    if not is_array(leaf):
        raise TypeError(
            f"{name} must be an array of NumPy, JAX or PyTorch, or lists of numbers, "
            f"got {type(leaf).__name__}"
        )
    if not is_floating(leaf) or dtype_of(leaf).itemsize > 8:
        raise TypeError(
            f"{name} must be floating, of at most 64 bits, got {dtype_of(leaf)}; "
            "integers have no gradient: cast with .astype(float)"
        )


def _pairings(paths: list[Path], params: object) -> Iterator[tuple[Pairing, bool | None]]:
    """The pairings by names, or else by positions, likeliest first, each with a convention for W.

    The convention is whether such names are used for a W of shape (in, out); None if for either.
    """
    named = _by_name(paths)
    if named is not None:
        notes = isinstance(params, Sequence) and all(isinstance(layer, Layer) for layer in params)
        yield named[0], False if notes else named[1]
    elif paths and len(paths) % 2 == 0 and all(isinstance(key, int) for p in paths for key in p):
        half = len(paths) // 2
        for one, other in ((paths[::2], paths[1::2]), (paths[:half], paths[half:])):
            yield list(zip(one, other, strict=True)), None
            yield list(zip(other, one, strict=True)), None
    else:
        raise TypeError(
            "params must hold one W and one b for each layer, got "
            f"{', '.join(map(name_of, paths)) or 'nothing'}; use pairs (W, b), a list W1, b1, W2, "
            "b2, ..., or names such as W1 and b1, 0.weight and 0.bias, kernel and bias"
        )


def _by_name(paths: list[Path]) -> tuple[Pairing, bool | None] | None:
    """The layers by the words in the names; None if a name does not say enough."""
    layers: dict[tuple[str | int, ...], dict[str, Path]] = {}
    convention = None
    for path in paths:
        words = [word for key in path for word in _words(key)]
        known = [i for i, word in enumerate(words) if str(word).lower() in WORDS]
        if not known:
            return None
        word = WORDS[str(words.pop(known[-1])).lower()]
        if layers.setdefault(tuple(words), {}).setdefault(word.role, path) != path:
            return None
        convention = word.transposed if word.role == "W" else convention
    if not layers or not all(len(layer) == 2 for layer in layers.values()):
        return None
    texts = {tuple(word for word in name if isinstance(word, str)) for name in layers}
    numbers = {name: [word for word in name if isinstance(word, int)] for name in layers}
    order = sorted(layers, key=numbers.__getitem__) if len(texts) == 1 else layers
    return [(layers[name]["W"], layers[name]["b"]) for name in order], convention


def _words(key: str | int) -> list[str | int]:
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]|\d+", str(key))
    return [int(part) if part.isdigit() else part for part in parts]


def _chain(
    pairing: Pairing, shapes: dict[Path, tuple[int, ...]], transposed: bool
) -> tuple[Slot, ...] | None:
    """The slots of the layers; None if their shapes do not chain."""
    slots: list[Slot] = []
    for k, (W, b) in enumerate(pairing, start=1):
        shape = shapes[W][::-1] if transposed else shapes[W]
        if len(shape) == 1 and shapes[b] == ():  # one neuron, w . x + b
            shape = (1, *shape)
        if len(shape) != 2 or (slots and slots[-1].notes_shape != shape[1:]):
            return None
        m = shape[0]
        if shapes[b] not in {(m,), (1, m), (m, 1)} and (m, shapes[b]) != (1, ()):
            return None
        turned = transposed and min(shape) > 1
        slots.append(Slot(k, "W", W, _slot_name(k, "W", W, b), shapes[W], shape, turned))
        slots.append(Slot(k, "b", b, _slot_name(k, "b", b, W), shapes[b], (m,), False))
    return tuple(slots)


def _slot_name(k: int, role: str, path: Path, partner: Path) -> str:
    """The name in the user's mapping; for positions, params[0].W in a list of pairs, else W1."""
    if not all(isinstance(key, int) for key in path):
        return name_of(path)
    paired = len(path) > 1 and path[:-1] == partner[:-1]
    return name_of((*path[:-1], role)) if paired else f"{role}{k}"
