"""The user's function: called on a case, and its result read in the notes' layout.

Cases go in and answers come out. Everything between is in the user's own layout, array library and
dtype.
"""

import math
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from fcnet.arrays import (
    assign,
    dtype_of,
    is_array,
    is_floating,
    shape_of,
    to_numpy,
    unit_roundoff,
)
from fcnet.layouts import Layout, Slot
from fcnet.trees import Path, children, name_of
from fcnet.verify.arrangement import Arrangement
from fcnet.verify.types import Answer, Case, Finding, Format, form_finding, format_of

SHOWN_FRAMES, SHOWN_CHARACTERS = 3, 300
"""How much of an exception a finding shows: innermost frames, and characters of its message."""

STYLES = ("{}", "d{}", "d_{}", "grad_{}", "{}_grad")
"""How people name the gradient of the entry {} of a mapping."""


class Returned(NamedTuple):
    """What could be read of a result, and what is wrong with its form.

    Attributes:
        answer: the gradient in the notes' layout. It may come with findings, where the right
            numbers have a wrong shape or order.
        findings: what is wrong with the form.
        leaves: the returned arrays in the order of the layout's slots; none without an answer.
    """

    answer: Answer | None
    findings: tuple[Finding, ...]
    leaves: tuple[Any, ...] = ()


class Call(NamedTuple):
    """One call of the candidate: what it was given, and what could be read of what it returned."""

    case: Case
    arguments: tuple[Any, Any, Any]
    returned: Any
    read: Returned

    @property
    def answer(self) -> Answer | None:
        """The gradient in the notes' layout, if it could be read."""
        return self.read.answer

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the form of the result; "raises" if the call returned none."""
        return self.read.findings


class Candidate(NamedTuple):
    """A backward pass and the form of its arguments.

    Attributes:
        function: the backward pass, `function(params, x, y)`.
        layout, examples, targets: how the user arranges params, x and y.
        given: the user's own params, x and y, the very objects.
        like: the same arrays in new containers, from which other arguments are made.
        own: the case that the user gave.
        batched: whether the function takes several examples at once.
    """

    function: Callable[[Any, Any, Any], Any]
    layout: Layout
    examples: Arrangement
    targets: Arrangement
    given: tuple[Any, Any, Any]
    like: tuple[Any, Any, Any]
    own: Case
    batched: bool

    @property
    def leaves(self) -> tuple[Any, ...]:
        """The user's arrays: W^[1], b^[1], ..., W^[r], b^[r], x and y."""
        params, x, y = self.like
        return (*self.layout.leaves(params), x, y)

    @property
    def dtype(self) -> np.dtype:
        """The coarsest dtype among the parameters."""
        return max(map(dtype_of, self.leaves[:-2]), key=unit_roundoff)

    @property
    def format(self) -> Format:
        """The floating-point format of `dtype`."""
        return format_of(self.dtype)

    @property
    def in_jax(self) -> bool:
        """Whether the parameters are arrays of JAX, so that JAX may be able to trace the call."""
        return all(isinstance(leaf, jax.Array) for leaf in self.leaves[:-2])

    @property
    def name(self) -> str:
        """The name of the function."""
        return getattr(self.function, "__name__", type(self.function).__name__)

    def representable(self, case: Case) -> Case:
        """The case with every value rounded to what all of the user's own dtypes can hold."""
        *floats, x, y = self.leaves
        coarsest = max(
            (dtype_of(leaf) for leaf in (*floats, x, y) if is_floating(leaf)), key=unit_roundoff
        )
        return Case(
            case.name,
            jax.tree.map(lambda leaf: _round(leaf, coarsest), case.params),
            _round(case.X, coarsest if is_floating(x) else dtype_of(x)),
            _round(case.Y, coarsest if is_floating(y) else dtype_of(y)),
        )

    def arguments(self, case: Case, dtype: DTypeLike | None = None) -> tuple[Any, Any, Any]:
        """New arguments like the user's, with the values of a case."""
        params, x, y = self.like
        with self.surroundings(dtype):
            return (
                self.layout.write(case.params, params, dtype),
                self.examples.write(case.X, x, dtype),
                self.targets.write(case.Y, y, dtype),
            )

    def refill(self, arguments: tuple[Any, Any, Any], case: Case) -> tuple[Any, Any, Any]:
        """The same objects with the values of a case of as many examples; new ones if need be."""
        params, x, y = arguments
        new = self.arguments(case)
        try:
            same = (
                self.layout.assign(case.params, params),
                assign(x, to_numpy(new[1])),
                assign(y, to_numpy(new[2])),
            )
        except (TypeError, ValueError):  # the candidate changed the containers
            return new
        kept = zip(same, arguments, new, strict=True)
        params, x, y = (old if refilled else fresh for refilled, old, fresh in kept)
        return params, x, y

    def call(
        self,
        case: Case,
        arguments: tuple[Any, Any, Any] | None = None,
        dtype: DTypeLike | None = None,
    ) -> Call:
        """Call the candidate once; if it raises, that is a finding.

        Args:
            case: the input; of one example unless the candidate takes batches.
            arguments: the same input in the user's form; new objects by default.
            dtype: a floating dtype to use instead of the user's own.
        """
        arguments = self.arguments(case, dtype) if arguments is None else arguments
        return self.run(self.function, case, arguments, dtype)

    def run(
        self,
        function: Callable[[Any, Any, Any], Any],
        case: Case,
        arguments: tuple[Any, Any, Any],
        dtype: DTypeLike | None = None,
    ) -> Call:
        """Call another function in the candidate's place, such as its compiled twin."""
        returned = None
        try:
            with self.surroundings(dtype):
                returned = function(*arguments)
                read = self.read(returned, len(case.X))
        except (Exception, SystemExit) as error:
            read = Returned(None, (_raised(error, case),))
        return Call(case, arguments, returned, read)

    def read(self, returned: Any, n: int) -> Returned:
        """What the candidate returned for n examples, in the notes' layout."""
        return read_returned(self.layout, self.like[0], returned, n)

    @contextmanager
    def surroundings(self, dtype: DTypeLike | None = None) -> Iterator[None]:
        """Without warnings, and in JAX with float64 if `dtype` or the user's arrays have it."""
        double = np.float64 == dtype or any(
            isinstance(leaf, jax.Array) and leaf.dtype == np.float64 for leaf in self.leaves
        )
        with warnings.catch_warnings(), jax.enable_x64(True) if double else nullcontext():
            warnings.simplefilter("ignore")
            yield


def _round(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if jnp.issubdtype(dtype, jnp.floating):
        return values.astype(dtype).astype(np.float64)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.clip(np.rint(values), low, high)


def _raised(error: BaseException, case: Case) -> Finding:
    """The exception and where it was raised: the last frames, without the checker's own."""
    frames = traceback.extract_tb(error.__traceback__)[1:][-SHOWN_FRAMES:]
    where = [f"{FilePath(f.filename).name}:{f.lineno} in {f.name}: {f.line}" for f in frames]
    return form_finding(
        "raises", "\n    ".join([f"on {case.name} it raised {message_of(error)}", *where])
    )


def message_of(error: BaseException) -> str:
    """The type and the message of an exception, cut to a length that a report can show."""
    return "".join(traceback.format_exception_only(error)).strip()[:SHOWN_CHARACTERS]


class _MismatchError(Exception):
    """The containers of a gradient are not those of the parameters."""


def read_returned(layout: Layout, params: object, value: object, n: int) -> Returned:
    """Read a gradient, alone or beside its loss, from containers like those of `params`.

    Args:
        layout: of the parameters.
        params: the parameters, or anything in the same containers.
        value: what the candidate returned: the gradient, (loss, gradient) or (gradient, loss).
        n: the number of examples that it was given.
    """
    try:
        found, loss = _gradient_and_loss(layout, params, value)
    except _MismatchError as mismatch:
        return Returned(None, (form_finding("wrong_structure", str(mismatch)),))
    leaves = [found[slot.path] for slot in layout.slots]
    findings = [
        f for slot, leaf in zip(layout.slots, leaves, strict=True) for f in _check_kind(slot, leaf)
    ]
    if findings:
        return Returned(None, tuple(findings))
    leaves, findings = _in_order(layout.slots, leaves)
    arrays = []
    for slot, leaf in zip(layout.slots, leaves, strict=True):
        findings += _check_shape(slot, shape_of(leaf), n)
        arrays += _reshaped(slot, to_numpy(leaf))
    if len(arrays) < len(leaves):
        return Returned(None, tuple(findings))
    answer = Answer(
        gradient=layout.layers(arrays),
        loss=None if loss is None else float(to_numpy(loss).item()),
        dtype=max(map(dtype_of, leaves), key=unit_roundoff),
    )
    return Returned(answer, tuple(findings), tuple(leaves))


def _gradient_and_loss(layout: Layout, params: object, value: Any) -> tuple[dict[Path, Any], Any]:
    """The gradient's leaves by the paths of the parameters, and the loss or None.

    If several readings fit the containers, one that fits the shapes too is preferred.
    """
    readings = [(value, None)]
    if isinstance(value, (tuple, list)) and len(value) == 2:
        one, other = value
        readings += [(g, loss) for loss, g in ((one, other), (other, one)) if _is_scalar(loss)]
    fitting, mismatch = [], _MismatchError()
    for gradient, loss in readings:
        try:
            fitting.append((_align(params, gradient), loss))
        except _MismatchError as error:
            mismatch = error
    if not fitting:
        raise mismatch
    return max(
        fitting,
        key=lambda reading: all(
            is_array(reading[0][slot.path]) and shape_of(reading[0][slot.path]) == slot.shape
            for slot in layout.slots
        ),
    )


def _is_scalar(value: Any) -> bool:
    return is_array(value) and math.prod(shape_of(value)) == 1 and dtype_of(value).kind != "c"


def _align(params: Any, gradient: Any, path: Path = ()) -> dict[Path, Any]:
    """The entries of `gradient` at the places of the leaves of `params`, by the paths of these."""
    entries, others = children(params), children(gradient)
    if entries is None and others is None:
        return {path: gradient}
    parts = _parts(params, gradient, entries, others)
    if entries is None or parts is None:
        raise _MismatchError(
            f"the gradient of {name_of(path)} is {_describe(gradient)}, "
            f"expected {_describe(params)}; alone, or as a pair with the loss"
        )
    aligned: dict[Path, Any] = {}
    for (key, entry), part in zip(entries, parts, strict=True):
        aligned |= _align(entry, part, (*path, key))
    return aligned


Entries = list[tuple[str | int, Any]] | None
"""Of a container, with their keys; None for an array."""


def _parts(params: Any, gradient: Any, expected: Entries, entries: Entries) -> list[Any] | None:
    """The entries of `gradient` in the order of those of `params`; None where some are missing."""
    if isinstance(params, Mapping) and isinstance(gradient, Mapping):
        for style in STYLES:
            names = [key if style == "{}" else style.format(key) for key in params]
            if all(name in gradient for name in names):
                return [gradient[name] for name in names]
    either = isinstance(params, Mapping) or isinstance(gradient, Mapping)
    if either or entries is None or expected is None or len(entries) != len(expected):
        return None
    return [entry for _, entry in entries]


def _describe(tree: Any) -> str:
    entries = children(tree)
    if entries is None:
        return "an array" if is_array(tree) else f"{type(tree).__name__}"
    if isinstance(tree, Mapping):
        return f"a {type(tree).__name__} with {', '.join(str(key) for key, _ in entries)}"
    return f"a {type(tree).__name__} of length {len(entries)}"


def _check_kind(slot: Slot, leaf: object) -> Iterator[Finding]:
    """A leaf that holds no floating-point numbers."""
    name = slot.gradient_name
    if leaf is None:
        yield _slot_finding(
            slot, "none_leaf", f"{name} is None: the gradient of {slot.name} is missing"
        )
    elif not is_array(leaf):
        yield _slot_finding(
            slot, "wrong_structure", f"{name} is {_describe(leaf)}, expected an array"
        )
    elif dtype_of(leaf).kind in "iub":
        yield _slot_finding(
            slot, "integer_leaf", f"{name} holds {dtype_of(leaf)}, cut to whole numbers"
        )
    elif not is_floating(leaf):
        yield _slot_finding(
            slot, "wrong_dtype", f"{name} is {dtype_of(leaf)}, expected real numbers"
        )


def _in_order(slots: tuple[Slot, ...], leaves: list[Any]) -> tuple[list[Any], list[Finding]]:
    """The leaves in the order of the slots, if their shapes show that they are in another."""
    got, expected = [shape_of(leaf) for leaf in leaves], [slot.shape for slot in slots]
    indices = np.arange(len(slots)).reshape(-1, 2)
    for order, description in (
        (indices[::-1], "with the last layer first"),
        (indices[:, ::-1], "with each b before its W"),
        (indices[::-1, ::-1], "backwards, the last b first"),
    ):
        back = np.argsort(order.ravel())
        if got != expected and [got[i] for i in back] == expected:
            names = ", ".join(slot.gradient_name for slot in slots)
            message = f"the gradient comes {description}; expected the order {names}"
            return [leaves[i] for i in back], [form_finding("leaf_order", message)]
    return leaves, []


def _check_shape(slot: Slot, got: tuple[int, ...], n: int) -> Iterator[Finding]:
    """A shape that is not the parameter's. Nothing is ever broadcast silently."""
    if got != slot.shape:
        hint = next(text for fits, text in HINTS if fits(got, slot.shape, n))
        name = slot.gradient_name
        message = f"{name} has shape {got}, expected {slot.shape} like {slot.name}{hint}"
        yield _slot_finding(slot, "wrong_shape", message)


HINTS: tuple[tuple[Callable[[tuple[int, ...], tuple[int, ...], int], bool], str], ...] = (
    (lambda got, want, n: got == want[::-1], ": it is transposed"),
    (lambda got, want, n: _squeeze(got) == _squeeze(want), ": axes of length 1 broadcast silently"),
    (lambda got, want, n: math.prod(got) == 1, ": it was summed over the units too"),
    (
        lambda got, want, n: n in got and math.prod(got) == n * math.prod(want),
        ": it was not summed over the examples",
    ),
    (lambda got, want, n: True, ""),
)
"""Known causes of a wrong shape: a test of (got, expected, n examples), and a phrase. The first one
that fits is named."""


def _squeeze(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(m for m in shape if m != 1)


def _reshaped(slot: Slot, values: np.ndarray) -> list[np.ndarray]:
    """The values in the slot's shape, if there is only one way to read them; else nothing."""
    if values.shape != slot.shape and values.shape == slot.shape[::-1]:
        return [values.T]
    return [values.reshape(slot.shape)] if _squeeze(values.shape) == _squeeze(slot.shape) else []


def _slot_finding(slot: Slot, kind: str, message: str) -> Finding:
    return Finding(5, f"d{slot.role}", slot.layer, kind, message)
