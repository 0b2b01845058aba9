"""What a gradient function returned: the gradient of any pytree, alone or beside the value."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from fcnet.arrays import dtype_of, is_array, is_floating, shape_of, to_numpy
from fcnet.verify.arguments import Arguments, as_answer, is_none
from fcnet.verify.types import Answer, Finding, form_finding


class Reading(NamedTuple):
    """One way to read a result.

    Attributes:
        whole: whether the gradient has an entry for every argument, or is that of the first alone.
        value: the place of the value in a pair with the gradient; None if there is no value.
    """

    whole: bool
    value: int | None

    def parts(self, returned: Any) -> tuple[Any, Any]:
        """The gradient, and the value or None."""
        is_pair = isinstance(returned, (tuple, list)) and len(returned) == 2
        if self.value is None or not is_pair:
            return returned, None
        return returned[1 - self.value], returned[self.value]


class Result(NamedTuple):
    """A result that was read: the arrays, the value last; and what is wrong with its form."""

    reading: Reading
    answer: Answer | None
    findings: tuple[Finding, ...]


def readings(arguments: Arguments, returned: Any) -> list[Reading]:
    """The ways to read a result, one at least; those that fit its shapes, if there are any."""
    pair = isinstance(returned, (tuple, list)) and len(returned) == 2
    values = [None, *(i for i in (0, 1) if pair and _is_scalar(returned[i]))]
    ways = [Reading(whole, value) for whole in (True, False) for value in values]
    fitting = [way for way in ways if _fits(arguments, returned, way)]
    exact = [way for way in fitting if read(arguments, returned, way).answer is not None]
    return exact or fitting[:1] or [Reading(whole=False, value=None)]


def _is_scalar(value: Any) -> bool:
    return is_array(value) and math.prod(shape_of(value)) == 1 and dtype_of(value).kind != "c"


def _fits(arguments: Arguments, returned: Any, reading: Reading) -> bool:
    """Whether the gradient is in the containers of the arguments, or of the first of them."""
    gradient, _ = reading.parts(returned)
    like = arguments.structure if reading.whole else arguments.structure.children()[0]
    return jax.tree.structure(gradient, is_leaf=is_none) == like


def read(arguments: Arguments, returned: Any, reading: Reading) -> Result:
    """Read a result in one way.

    The entry of a leaf without a gradient, such as integers, may be None, float0 or zeros.
    """
    gradient, value = reading.parts(returned)
    if not _fits(arguments, returned, reading):
        return Result(reading, None, (misfit(arguments, gradient),))
    count = len(arguments.leaves) if reading.whole else arguments.first
    findings, arrays = [], []
    for i, leaf in enumerate(jax.tree.leaves(gradient, is_leaf=is_none)[:count]):
        name = arguments.names[i]
        if i in arguments.floating:
            findings += _check_leaf(name, leaf, arguments.leaves[i])
            arrays.append(leaf)
        elif not _is_nothing(leaf):
            message = f"{name} has no gradient; return None, float0 or zeros for it, got {leaf}"
            findings.append(form_finding("integer_leaf", message))
    if any(finding.kind != "integer_leaf" for finding in findings):
        return Result(reading, None, tuple(findings))
    answer = as_answer(arrays)
    if value is not None:
        gradients: Any = (*answer.gradient, to_numpy(value).reshape(()))
        answer = answer._replace(gradient=gradients)
    return Result(reading, answer, tuple(findings))


def misfit(arguments: Arguments, gradient: Any) -> Finding:
    """That the gradient is in other containers than the arguments."""
    args = jax.tree.unflatten(arguments.structure, arguments.leaves)
    name = arguments.names[0].split("[")[0]
    message = (
        f"the gradient is {_describe(gradient)}, expected {_describe(args[0])}, like {name}, "
        "alone or as (value, gradient)"
    )
    if len(args) > 1:
        message += f"; or a tuple of {len(args)} gradients, one for each argument"
    expected, got = _keys(args[0]), _keys(gradient)
    for what, keys in (("lacks", expected - got), ("also has", got - expected)):
        if keys and got and expected != {""}:
            message += f"; it {what} {min(keys)}"
    return form_finding("wrong_structure", message)


def _keys(tree: Any) -> set[str]:
    paths, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_none)
    return {jax.tree_util.keystr(path) for path, _ in paths}


def _describe(tree: Any) -> str:
    if tree is None or is_array(tree):
        return "None" if tree is None else "an array"
    if isinstance(tree, dict):
        return f"a dict with {', '.join(map(str, tree))}"
    if isinstance(tree, (tuple, list)):
        return f"a {type(tree).__name__} of {len(tree)}"
    return f"a {type(tree).__name__}"


def _check_leaf(name: str, leaf: Any, argument: Any) -> list[Finding]:
    if leaf is None:
        return [form_finding("none_leaf", f"the gradient of {name} is None")]
    if not is_array(leaf) or dtype_of(leaf) == jax.dtypes.float0:
        return [
            form_finding("wrong_structure", f"the gradient of {name} is a {type(leaf).__name__}")
        ]
    if not is_floating(leaf):
        return [form_finding("wrong_dtype", f"the gradient of {name} holds {dtype_of(leaf)}")]
    if shape_of(leaf) != shape_of(argument):
        shapes = f"has shape {shape_of(leaf)}, expected {shape_of(argument)}"
        return [form_finding("wrong_shape", f"the gradient of {name} {shapes}")]
    return []


def _is_nothing(leaf: Any) -> bool:
    if leaf is None or getattr(leaf, "dtype", None) == jax.dtypes.float0:
        return True
    return is_array(leaf) and not np.any(np.asarray(leaf))
