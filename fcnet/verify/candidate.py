"""The user's function: called on a case, and its result read in the notes' layout.

Cases go in and answers come out. Everything between is in the user's own layout, array library and
dtype.
"""

import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from fcnet.arrays import assign, coarsest_dtype, dtype_of, is_floating, to_numpy
from fcnet.layouts import Layout, with_zero_biases
from fcnet.verify.arrangement import Arrangement
from fcnet.verify.calling import name_of_function
from fcnet.verify.forms import opened
from fcnet.verify.regroup import without_parameters
from fcnet.verify.returned import Returned, read_returned
from fcnet.verify.step import after_step, gradient_of_step, is_beside
from fcnet.verify.types import Answer, Case, Finding, Format, form_finding, format_of

SHOWN_FRAMES, SHOWN_CHARACTERS = 3, 300
"""How much of an exception a finding shows: innermost frames, and characters of its message."""


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
        learning_rate: of the step that the function takes; None if it returns the gradient.
    """

    function: Callable[[Any, Any, Any], Any]
    layout: Layout
    examples: Arrangement
    targets: Arrangement
    given: tuple[Any, Any, Any]
    like: tuple[Any, Any, Any]
    own: Case
    batched: bool
    learning_rate: float | None = None

    @property
    def leaves(self) -> tuple[Any, ...]:
        """The user's arrays: W^[1], b^[1], ..., W^[r], b^[r], x and y."""
        params, x, y = self.like
        return (*self.layout.leaves(params), x, y)

    @property
    def dtype(self) -> np.dtype:
        """The coarsest dtype among the parameters."""
        return coarsest_dtype(self.leaves[:-2])

    @property
    def format(self) -> Format:
        """The floating-point format of `dtype`."""
        return self.format_in(self.dtype)

    def format_in(self, dtype: np.dtype) -> Format:
        """The format of gradients in a dtype; those of steps have lost digits."""
        format = format_of(dtype)
        return format._replace(lost=format.u / self.learning_rate) if self.learning_rate else format

    @property
    def in_jax(self) -> bool:
        """Whether the parameters are arrays of JAX, so that JAX may be able to trace the call."""
        return all(isinstance(leaf, jax.Array) for leaf in self.leaves[:-2])

    @property
    def is_unsigned(self) -> bool:
        """Whether x cannot hold negative numbers, as the bytes of an image."""
        return dtype_of(self.leaves[-2]).kind in "bu"

    @property
    def name(self) -> str:
        """The name of the function."""
        return name_of_function(self.function)

    def representable(self, case: Case) -> Case:
        """The case with every value rounded to what all of the user's own dtypes can hold.

        A bias that is absent is 0.
        """
        *_, x, y = self.leaves
        coarsest = coarsest_dtype(filter(is_floating, self.leaves))
        return Case(
            case.name,
            with_zero_biases(
                jax.tree.map(lambda leaf: _round(leaf, coarsest), self.layout.present(case.params))
            ),
            _round(case.X, coarsest if is_floating(x) else dtype_of(x)),
            _round(case.Y, coarsest if is_floating(y) else dtype_of(y)),
        )

    def arguments(self, case: Case, dtype: DTypeLike | None = None) -> tuple[Any, Any, Any]:
        """New arguments like the user's, with the values of a case."""
        params, x, y = self.like
        with quietly(self.leaves, np.float64 == dtype):
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
            with quietly(self.leaves, np.float64 == dtype):
                returned = opened(function(*arguments))
                read = self.read(case, arguments, returned)
        except (Exception, SystemExit) as error:
            read = Returned(None, (raised(error, f"on {case.name} it raised"),))
        return Call(case, arguments, returned, read)

    def read(self, case: Case, arguments: tuple[Any, Any, Any], returned: Any) -> Returned:
        """The gradient that a call returned, or that its step shows, in the notes' layout."""
        layout, like, n, rate = self.layout, self.like[0], case.n, self.learning_rate
        if rate is None:
            return read_returned(
                layout, like, without_parameters(layout, arguments[0], returned), n
            )
        before = layout.present(case.params)

        def as_step(after: Returned) -> Returned:
            after = after._replace(partial=None)  # the shape of a parameter hides the whole step
            return gradient_of_step(before, after, rate)

        after = read_returned(layout, like, after_step(arguments[0], returned), n, is_step=True)
        in_place = as_step(read_returned(layout, like, arguments[0], n, is_step=True))
        return in_place if is_beside(after.answer, in_place.answer) else as_step(after)


@contextmanager
def quietly(arrays: Iterable[Any], double: bool) -> Iterator[None]:
    """Without warnings, and in JAX with float64 if that is asked for or an array of JAX has it."""
    wide = double or any(isinstance(x, jax.Array) and x.dtype == np.float64 for x in arrays)
    with warnings.catch_warnings(), jax.enable_x64(True) if wide else nullcontext():
        warnings.simplefilter("ignore")
        yield


def _round(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if jnp.issubdtype(dtype, jnp.floating):
        return values.astype(dtype).astype(np.float64)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.clip(np.rint(values), low, high)


def raised(error: BaseException, start: str = "it raised") -> Finding:
    """The exception and where it was raised: the last frames, without the checker's own."""
    own = Path(__file__).parent
    every = traceback.extract_tb(error.__traceback__)
    frames = [f for f in every if Path(f.filename).parent != own][-SHOWN_FRAMES:]
    where = [f"{Path(f.filename).name}:{f.lineno} in {f.name}: {f.line}" for f in frames]
    return form_finding("raises", "\n    ".join([f"{start} {message_of(error)}", *where]))


def message_of(error: BaseException) -> str:
    """The type and the message of an exception, cut to a length that a report can show.

    What JAX adds below a line, that it has removed frames of its own, says nothing of the error.
    """
    message, *_ = "".join(traceback.format_exception_only(error)).split("\n" + 20 * "-" + "\n")
    return message.strip()[:SHOWN_CHARACTERS]
