"""What holds exactly of an array, such as rows that sum to 1, and moves that keep it.

A gradient may be right only where its arguments have such a property: softmax(z) - y is that of
cross-entropy if the rows of y sum to 1. So a moved point keeps the properties of the user's own.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fcnet.verify.types import Values

# Sums and norms are made in extended precision: errors of one sign at all points would look like
# those of a wrong formula.

ROUNDS = 30
"""How often the moves are projected in turn, until all properties hold."""

ATTEMPTS = 4
"""How many moves are tried, each half as large as the last, before the array stays as it is."""

FEWEST_SORTED = 3
"""Two numbers are always in order."""

TINIEST = float(np.nextafter(0, 1))
"""The least positive float64."""

NEAR = 2.0**-5
"""Numbers that moved by less, relatively, moved by no more than eight roundings to bfloat16."""

LARGEST_INTEGER = 2.0**53
"""Above it every float64 is an integer."""


class Property(NamedTuple):
    """A property of an array.

    Attributes:
        says: a sentence that it holds; {} is the array's name, {c} its number that is not 0.
        holds: whether it holds of an array, up to a unit roundoff.
        keep: a moved array with the property, near the moved one; a function of the moved array,
            the user's own, which has the property, and a random generator.
    """

    says: str
    holds: Callable[[Values, float], bool]
    keep: Callable[[Values, Values, np.random.Generator], Values]

    def of(self, name: str, x: Values) -> str:
        """That it holds of an array with this name."""
        return self.says.format(name, c=x.max() or x.min())


def properties_of(x: Values, u: float, claimed: bool = False) -> tuple[Property, ...]:
    """The properties that an array has, up to a unit roundoff; not those of `DISCRETE` if claimed.

    An array of equal entries is a first value more often than a mask or a label: of those only sums
    and norms are looked at, and whether they are 0. So is a multiple of the identity, if claimed.

    >>> V = np.array([[3.0, 0.6], [-4.0, 0.8]]) / [5, 1]
    >>> [property.of("V", V) for property in properties_of(V, 2.0**-53)]
    ['the entries of V are in [-1, 1]', 'the columns of V have norm 1']
    """
    if x.size < 2:
        table: tuple[Property, ...] = (ZERO,) * x.size
    else:
        table = PROPERTIES if (x != x.flat[0]).any() else (*SUMS_AND_NORMS, ZERO)
    left_out = (*DISCRETE, *TRIANGULAR * _is_scaled_identity(x)) if claimed else ()
    return tuple(p for p in table if p not in left_out and p.holds(x, u))


def move(
    x: Values,
    size: float,
    draw: np.random.Generator,
    kept: Sequence[Property],
    u: float,
    zeros: bool = False,
) -> Values:
    """The array with each number changed by up to `size`, relatively, and these properties.

    With `zeros`, numbers that are 0 change too, by up to `size` of what the others are like.
    """
    for attempt in range(ATTEMPTS):
        change = size / 2**attempt * draw.uniform(-1, 1, x.shape)
        moved = np.where((x == 0) & zeros, _scale(x) * change, x * (1 + change))
        moved = project(moved, x, draw, kept, u)
        if all(property.holds(moved, u) for property in kept):
            return moved
    return x.copy()


def leave(
    x: Values,
    size: float,
    draw: np.random.Generator,
    kept: Sequence[Property],
    u: float,
    any_signs: bool = False,
) -> Values:
    """The array with noise on every number, zeros too, which leaves all but these properties.

    With `any_signs`, numbers change their signs too: not every function is defined there.
    """
    if not x.size:
        return x.copy()
    signs = draw.choice([-1, 1], x.shape) if any_signs else 1
    return project(signs * x + size * _scale(x) * draw.uniform(-1, 1, x.shape), x, draw, kept, u)


def _scale(x: Values) -> float:
    """The root mean square of what is finite; 1 for zeros."""
    sizes = abs(x[np.isfinite(x)])
    largest = float(sizes.max(initial=0))  # whose square may overflow
    return largest * float(np.sqrt(np.mean((sizes / largest) ** 2))) if largest else 1.0


def project(
    moved: Values, own: Values, draw: np.random.Generator, kept: Sequence[Property], u: float
) -> Values:
    """The moved array with every property of `kept`, as far as projections in turn lead there."""
    for _ in range(ROUNDS if kept else 0):
        for property in kept:
            moved = property.keep(moved, own, draw)
        if all(property.holds(moved, u) for property in kept):
            break
    return moved


def _matrices(x: Values) -> bool:
    return x.ndim > 1 and x.size > 0


def _square(x: Values) -> bool:
    return _matrices(x) and x.shape[-1] == x.shape[-2] > 1


def _is_in(low: float, high: float) -> Callable[[Values, float], bool]:
    return lambda x, u: bool(((x >= low) & (x <= high)).all())


def _stay_in(low: float, high: float) -> Callable[..., Any]:
    return lambda moved, own, draw: np.where((moved >= low) & (moved <= high), moved, own)


def _keep_sign(moved: Values, own: Values, draw: np.random.Generator) -> Values:
    return np.where(np.sign(moved) == np.sign(own), moved, own)


def _is_sorted(sign: int) -> Callable[[Values, float], bool]:
    def holds(x: Values, u: float) -> bool:
        return x.ndim == 1 and x.size >= FEWEST_SORTED and bool((sign * np.diff(x) >= 0).all())

    return holds


def _sort(sign: int) -> Callable[..., Any]:
    return lambda moved, own, draw: sign * np.sort(sign * moved)


def _is_masked(mask: Callable[..., Any]) -> Callable[[Values, float], bool]:
    """Whether a square matrix is 0 outside of a part, which is not the diagonal alone."""
    return lambda x, u: _square(x) and not (x - mask(x)).any() and bool(x.any())


def _mask(mask: Callable[..., Any]) -> Callable[..., Values]:
    return lambda moved, own, draw: mask(moved)


def _diagonal(x: Values) -> Values:
    return x * np.eye(x.shape[-1])


def _is_scaled_identity(x: Values) -> bool:
    return _square(x) and bool((x == x[..., :1, :1] * np.eye(x.shape[-1])).all())


def _has_zeros(x: Values, u: float) -> bool:
    return bool((x == 0).any() and x.any())


def _keep_zeros(moved: Values, own: Values, draw: np.random.Generator) -> Values:
    return np.where(own == 0, 0, moved)


def _is_own_transpose(sign: int) -> Callable[[Values, float], bool]:
    return lambda x, u: _square(x) and bool(x.any()) and bool((x == sign * x.mT).all())


def _symmetrize(sign: int) -> Callable[..., Values]:
    return lambda moved, own, draw: (moved + sign * moved.mT) / 2


def _is_positive_definite(x: Values, u: float) -> bool:
    if not _square(x) or (x != x.mT).any() or np.min(np.linalg.diagonal(x)) <= 0:
        return False
    try:
        np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        return False
    return True


def _make_positive_definite(moved: Values, own: Values, draw: np.random.Generator) -> Values:
    """No eigenvalue falls below half the least of the user's own."""
    values, vectors = np.linalg.eigh((moved + moved.mT) / 2)
    least = np.linalg.eigvalsh(own)[..., :1] / 2
    if (values >= least).all():
        return (moved + moved.mT) / 2
    lifted = (vectors * np.maximum(values, least)[..., None, :]) @ vectors.mT
    return (lifted + lifted.mT) / 2


def _sums_to_one(axis: int | None) -> Callable[[Values, float], bool]:
    def holds(x: Values, u: float) -> bool:
        if axis is not None and x.ndim < 2:
            return False
        n = x.size if axis is None else x.shape[axis]
        return n > 1 and bool((abs(x.sum(axis) - 1) <= (8 + n) * u).all())

    return holds


def _make_sum_one(axis: int | None) -> Callable[..., Values]:
    def keep(moved: Values, own: Values, draw: np.random.Generator) -> Values:
        total = moved.sum(axis, np.longdouble, keepdims=True)
        if (own >= 0).all() and (total > 0).all():
            return (moved / total).astype(float)
        some = own != 0
        excess = (total - 1) / np.maximum(some.sum(axis, keepdims=True), 1)
        return (moved - some * excess).astype(float)

    return keep


def _has_norm_one(axis: int | None) -> Callable[[Values, float], bool]:
    def holds(x: Values, u: float) -> bool:
        by_chance = _is_whole(x, u)  # as of [0, 1]
        return not by_chance and _sums_to_one(axis)(x * x, 2 * u)

    return holds


def _make_norm_one(axis: int | None) -> Callable[..., Values]:
    def keep(moved: Values, own: Values, draw: np.random.Generator) -> Values:
        norm = np.sqrt((moved.astype(np.longdouble) ** 2).sum(axis, keepdims=True))
        return (moved / np.where(norm > 0, norm, 1)).astype(float)

    return keep


def _is_orthogonal(x: Values, u: float) -> bool:
    if (
        not _matrices(x)
        or min(x.shape[-2:]) < 2
        or not any(_has_norm_one(axis)(x, 4 * u) for axis in (-1, -2))
    ):
        return False
    short = x if x.shape[-2] <= x.shape[-1] else x.mT
    product = short @ short.mT
    return bool((abs(product - np.eye(short.shape[-2])) <= (8 + x.shape[-1]) * 4 * u).all())


def _make_orthogonal(moved: Values, own: Values, draw: np.random.Generator) -> Values:
    """The nearest matrix with orthonormal rows or columns, and one step of Newton-Schulz."""
    left, _, right = np.linalg.svd(moved, full_matrices=False)
    x = (left @ right).astype(np.longdouble)
    return ((3 * x - x @ x.mT @ x) / 2).astype(float)


def _is_zero_or_one(x: Values, u: float) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _is_zero_or_another(x: Values, u: float) -> bool:
    """Whether 0 and one other number occur, as in a mask with a scale."""
    other = x.max() or x.min()
    return x.size > 2 and bool((x == 0).any() and ((x == 0) | (x == other)).all())


def _is_whole(x: Values, u: float) -> bool:
    return bool((x == np.round(x)).all() and (abs(x) < LARGEST_INTEGER).all())


def _other_integers(moved: Values, own: Values, draw: np.random.Generator) -> Values:
    """Integers no larger and no smaller than the user's own, 0 where these are 0.

    Where the numbers moved by a few roundings, no other integer is as near.
    """
    if np.allclose(moved, own, rtol=NEAR, atol=0):
        return own.copy()
    if (moved == np.round(moved)).all():
        return moved
    drawn = draw.integers(int(own.min()), int(own.max()), own.shape, endpoint=True)
    return np.where((own == 0) | (drawn == 0), own, drawn).astype(float)


def _as_it_is(moved: Values, own: Values, draw: np.random.Generator) -> Values:
    return own.copy()


ZERO = Property("{} is 0", lambda x, u: not x.any(), _as_it_is)

DISCRETE = (
    Property("the zeros of {} stay 0", _has_zeros, _keep_zeros),
    Property("the entries of {} are 0 or 1", _is_zero_or_one, _as_it_is),
    Property("the entries of {} are 0 or {c:g}", _is_zero_or_another, _as_it_is),
    Property("the entries of {} are integers", _is_whole, _other_integers),
    ZERO,
)
"""Those of masks, labels and counts. Of what a gradient is claimed for, they hold by chance: zeros
and whole numbers are where an optimizer starts."""

TRIANGULAR = (
    Property("{} is lower triangular", _is_masked(np.tril), _mask(np.tril)),
    Property("{} is upper triangular", _is_masked(np.triu), _mask(np.triu)),
    Property("{} is diagonal", _is_masked(_diagonal), _mask(_diagonal)),
)

SUMS_AND_NORMS = (
    Property("all of {} sums to 1", _sums_to_one(None), _make_sum_one(None)),
    Property("the rows of {} sum to 1", _sums_to_one(-1), _make_sum_one(-1)),
    Property("the columns of {} sum to 1", _sums_to_one(-2), _make_sum_one(-2)),
    Property("the norm of {} is 1", _has_norm_one(None), _make_norm_one(None)),
    Property("the rows of {} have norm 1", _has_norm_one(-1), _make_norm_one(-1)),
    Property("the columns of {} have norm 1", _has_norm_one(-2), _make_norm_one(-2)),
)

PROPERTIES = (
    Property("{} is positive", _is_in(TINIEST, np.inf), _keep_sign),
    Property("{} is negative", _is_in(-np.inf, -TINIEST), _keep_sign),
    Property("no entry of {} is negative", _is_in(0.0, np.inf), _stay_in(0.0, np.inf)),
    Property("the entries of {} are in [-1, 1]", _is_in(-1.0, 1.0), _stay_in(-1.0, 1.0)),
    Property("{} is in ascending order", _is_sorted(1), _sort(1)),
    Property("{} is in descending order", _is_sorted(-1), _sort(-1)),
    Property("{} is symmetric", _is_own_transpose(1), _symmetrize(1)),
    Property("{} is antisymmetric", _is_own_transpose(-1), _symmetrize(-1)),
    *TRIANGULAR,
    Property("{} is positive definite", _is_positive_definite, _make_positive_definite),
    *SUMS_AND_NORMS,
    Property("{} is orthogonal", _is_orthogonal, _make_orthogonal),
    *DISCRETE,
)
"""From weak to strong: the first that suffices is named."""
