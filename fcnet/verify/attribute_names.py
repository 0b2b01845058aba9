"""Names of attributes: which are those of parameters, and which of their gradients."""

import re
from itertools import product

from fcnet.layouts import WORDS, words_of
from fcnet.trees import Path
from fcnet.verify.regroup import GRADIENT_OF, STYLES

WHOLE = {"params", "parameters", "theta", "thetas"}
"""Names of attributes that hold all parameters."""

NO_PARAMETER = frozenset(
    {
        *("d", "grad", "grads", "gradient", "gradients", "nabla", "delta", "deltas", "update"),
        *("m", "v", "velocity", "velo", "momentum", "cache", "old", "prev", "last", "best"),
        *("decay", "sum", "sums", "summation", "summations", "total", "totals"),
        *("shape", "shapes", "size", "sizes", "updates", "scale", "std", "init", "initializer"),
        *("reg", "regularizer", "regularization", "penalty", "lr", "rate"),
        *("upd", "change", "changes", "adjustment", "adjustments"),
        *("acc", "accum", "accumulated", "accumulator"),
    }
)
"""Words in the names of attributes beside the parameters: gradients, averages, numbers."""

OF_NUMBERS = frozenset({"l", "lambda", "lam", "wd"})
"""Words in the names of numbers beside the parameters, such as w_l2: no bias is called so."""

VALUES = re.compile(r"^[AaZzXxYy]_?\d*$")
"""Names of what a forward pass keeps: A0, Z1. It may be in one dict with the parameters."""

PLURAL = re.compile(r"(?<=s)es$|s$")
"""The end of weights and biases, whose gradients may be weight_grads and bias_grads."""

GRADIENTS = ("grads", "gradients", "grad", "gradient")
"""Names of attributes that hold all gradients."""

CONTENTS = ("value", "data", "val", "array", "values", "tensor")
"""Names of the array in an object that is one parameter, as Param(value, grad) is."""

OF_ARRAYS = ("grad", "g")
"""Names of attributes that hold its gradient: of an array, such as a tensor, or beside it."""


def is_whole(name: str) -> bool:
    """Whether an attribute of this name holds all parameters."""
    return name.strip("_").lower() in WHOLE


def is_parameter_name(name: str) -> bool:
    """Whether an attribute of this name may be a parameter.

    >>> [is_parameter_name(name) for name in ("W1", "biases", "weights_ho", "wih", "dW1", "grad_w")]
    [True, True, True, True, False, False]
    """
    return bool(role_of(name)) and NO_PARAMETER.isdisjoint(_lower_words(name))


def is_parameter_key(path: Path, key: str | int) -> bool:
    """Whether a key of a dict in an object is the name of a parameter, whatever the dict's is."""
    names = [name for name in (*path, key) if isinstance(name, str)]
    no_other = all(NO_PARAMETER.isdisjoint(_lower_words(name)) for name in names)
    return bool(path) and isinstance(key, str) and is_parameter_name(key) and no_other


def may_be_a_number(name: str) -> bool:
    """Whether a number of this name may be a parameter, as b may, and w_l2 may not."""
    return is_parameter_name(name) and OF_NUMBERS.isdisjoint(_lower_words(name))


def role_of(name: str) -> str:
    """W or b, by the last word that means one of them; "" if none does."""
    words = reversed(_lower_words(name))
    return next((WORDS[word].role for word in words if word in WORDS), "")


def roles_of(path: Path) -> set[str]:
    """W, b, both or none, by all names of a path."""
    return {role_of(key) for key in path if isinstance(key, str)} - {""}


def gradient_names(name: str) -> list[str]:
    """How people call the gradient of an attribute: dweights, gradWeight or dW for weights."""
    bare = name.strip("_")
    word = WORDS.get(bare.lower())
    letters = (word.role, word.role.lower()) if word else ()
    starts = dict.fromkeys(("", name.partition(bare)[0]))
    small = (bare, PLURAL.sub("", bare), *letters)
    nouns = dict.fromkeys((*small, *(noun[:1].upper() + noun[1:] for noun in small)))
    return [
        start + style.format(noun) for start, noun, style in product(starts, nouns, STYLES[:-1])
    ]


def is_gradient_of(other: str, name: str) -> bool:
    """Whether a name is that of a gradient of an attribute, with more words in it.

    >>> [is_gradient_of(other, "W") for other in ("dW_curr", "_dW", "db_curr", "dW_prev", "W_curr")]
    [True, True, False, False, False]
    """
    other = other.lstrip("_")
    bare = GRADIENT_OF.sub("", other)
    own, words = (set(_lower_words(text)) for text in (name, bare))
    known = own - set(WORDS) <= words and NO_PARAMETER.isdisjoint(words)
    return bare != other and known and role_of(bare) == role_of(name)


def _lower_words(name: str) -> list[str]:
    return [str(word).lower() for word in words_of(name)]
