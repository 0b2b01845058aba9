"""How well gradient checkers tell right backward passes from wrong ones.

Planted faults, one at a time, in eight regimes; correct programs, written independently in many
ways; and errors of shrinking size in one entry. Each checker answers for the same functions at the
same points. What a checker cannot read at all, such as bfloat16, counts as an alarm, on right and
wrong programs alike: a column with false alarms everywhere says nothing.
"""

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcnet import LOSSES, Loss, mean_loss

sys.path.append(str(Path(__file__).parents[2] / "tests"))  # the faults and variants of the tests

from faulty import Mutation, Setting, candidate, forward
from mutants import MUTATIONS
from rounded_backprop import Variant, variants

from benchmarks.checkers import CHECKERS, NEEDS, Claim

DTYPES = {"float64": np.float64, "float32": np.float32, "bfloat16": jnp.bfloat16}


class Regime(NamedTuple):
    """Where a candidate is tried: sizes, examples, dtype, the scale of the loss, exact ties."""

    name: str
    sizes: tuple[int, ...] = (5, 4, 4, 3)
    n: int = 5
    dtype: str = "float64"
    scale: float = 1.0
    activation: str = "tanh"
    ties: bool = False


REGIMES = (
    Regime("float64"),
    Regime("float32", dtype="float32"),
    Regime("bfloat16", dtype="bfloat16"),
    Regime("loss x 1e-4", scale=1e-4),
    Regime("loss x 1e4", dtype="float32", scale=1e4),
    Regime("wide", sizes=(20, 30, 30, 5), n=7, dtype="float32"),
    Regime("deep", sizes=(4, 4, 4, 4, 4, 4, 4, 2), activation="relu"),
    Regime("ties", activation="relu", ties=True),
)

FAULTS = [m for m in MUTATIONS if m.kind not in {"first_call", "cached_activation"}]
"""Those that keep no state: a checker that calls them in another order sees another fault."""

SEEDS = 3
"""Random networks in each regime."""

SIZES = 10.0 ** np.arange(-16, 3)
"""Relative errors of one entry; a checker's sensitivity is the least from which on it sees all."""


class Score(NamedTuple):
    """How often a checker raised an alarm in a regime, and for what.

    ratio: the share of wrong programs that it called wrong; baseline: "all planted faults".
    false_alarms: the share of right programs that it called wrong, of so many `right`.
    localised: the share of faults that it placed exactly: line, quantity and layer.
    calls: of the candidate for one answer, the median; seconds: the median.
    """

    case: str
    variant: str
    baseline: str
    ratio: float
    wrong: int
    false_alarms: float
    right: int
    localised: float | None
    calls: float
    seconds: float

    @property
    def cells(self) -> dict[str, str]:
        return {
            "regime": self.case,
            "checker": self.variant,
            "detected": f"{self.ratio:.1%} of {self.wrong}",
            "false alarms": f"{self.false_alarms:.1%} of {self.right}",
            "placed": "-" if self.localised is None else f"{self.localised:.1%}",
            "calls": f"{self.calls:.0f}",
            "s": f"{self.seconds:.3f}",
        }


class Sensitivity(NamedTuple):
    """The least relative error of one entry of median size that a checker sees, and all above."""

    case: str
    variant: str
    baseline: str
    ratio: float

    @property
    def cells(self) -> dict[str, str]:
        return {
            "dtype": self.case,
            "checker": self.variant,
            "least error seen": f"{self.ratio:.0e}",
        }


def run(quick: bool) -> list[Score]:
    """Detection, false alarms, localisation and cost."""
    checkers = _installed()
    return [
        _score(regime, name, checkers[name], quick)
        for regime in REGIMES[: 1 if quick else None]
        for name in checkers
    ]


def sensitivity(quick: bool) -> list[Sensitivity]:
    """The smallest error in one entry that is seen."""
    checkers = _installed()
    return [
        Sensitivity(
            dtype, name, "the entry", _least_seen(dtype, check, SIZES[:: 6 if quick else 1])
        )
        for dtype in list(DTYPES)[: 1 if quick else None]
        for name, check in checkers.items()
    ]


def _installed() -> dict[str, Callable[[Claim], Any]]:
    """The checkers whose libraries are there; the others are told."""
    found = {}
    for name, check in CHECKERS.items():
        library = NEEDS.get(name.split()[0])
        if library and importlib.util.find_spec(library) is None:
            print(f"{name} is left out: {library} is not installed")
        else:
            found[name] = check
    return found


def _setting(regime: Regime, loss: str = "squared_error") -> Setting:
    return Setting(regime.activation, loss=loss, scale=regime.scale)


def _point(regime: Regime, seed: int) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """A random network and examples; with ties, biases of zero and a row of zeros."""
    draw = np.random.default_rng(seed)
    dtype = DTYPES[regime.dtype]
    layers = list(zip(regime.sizes, regime.sizes[1:], strict=False))
    network = [
        (
            (draw.normal(size=(m, d)) * np.sqrt(2 / d)).astype(dtype),
            (draw.normal(size=m) / 3).astype(dtype),
        )
        for d, m in layers
    ]
    X = draw.normal(size=(regime.n, regime.sizes[0])).astype(dtype)
    Y = draw.normal(size=(regime.n, regime.sizes[-1])).astype(dtype)
    if regime.ties:
        X[-1] = 0
        network = [(W, 0 * b) for W, b in network[:-1]] + network[-1:]
    return network, X, Y


@cache
def _scaled_loss(c: float) -> Loss:
    """One object for each c, so that what is compiled for it serves again."""
    value, derivative = LOSSES["squared_error"][1:3]
    return Loss("scaled", lambda o, y: c * value(o, y), lambda o, y: c * derivative(o, y))


def _claim(regime: Regime, seed: int, backward: Callable[..., Any]) -> Claim:
    """A candidate at a point; the loss is the mean squared error times the regime's scale."""
    setting, c = _setting(regime), regime.scale
    loss = _scaled_loss(c)

    def value(pairs: Any, X: Any, Y: Any) -> Any:
        m = forward(setting, pairs, X, Y)
        return c * ((m.mean - Y) ** 2).sum() / (2 * len(X))

    def jax_value(pairs: Any, X: Any, Y: Any) -> Any:
        return mean_loss(pairs, X, Y, activation=regime.activation, loss=loss)

    network, X, Y = _point(regime, seed)
    problem = {"activation": regime.activation, "loss": loss}
    return Claim(network, X, Y, value, jax_value, backward, problem)


def _wrong(regime: Regime, seeds: int) -> Iterator[tuple[Claim, tuple[int, str, int]]]:
    """Every fault in one layer where it can sit, each seed in another; and where that is."""
    setting = _setting(regime)
    for seed in range(seeds):
        network, X, Y = _point(regime, seed)
        right = _flat(candidate(setting, batched=True), network, X, Y)
        for i, fault in enumerate(FAULTS):
            m = forward(setting, network, X, Y)
            layers = [k for k in range(1, m.r + 1) if fault.applies(m, k)]
            if not layers:
                continue
            k = layers[(i + seed) % len(layers)]
            backward = candidate(setting, [(fault, k)], batched=True)
            got = _flat(backward, network, X, Y)
            size = np.linalg.norm(right)
            if np.isfinite(got).all() and np.linalg.norm(got - right) > 0.05 * size:
                line = {"delta": 2 if k == m.r else 4}.get(fault.quantity, 5)
                yield _claim(regime, seed, backward), (line, fault.quantity, k)


def _flat(backward: Callable[..., Any], *args: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        leaves = [np.ravel(leaf) for pair in backward(*args) for leaf in pair]
    return np.concatenate(leaves).astype(np.float64)


def _right(regime: Regime, seeds: int) -> Iterator[Claim]:
    """Correct programs: several orders of summation, two formulas each, and `MANNERS`."""
    for seed in range(seeds):
        for variant in variants(regime.dtype):
            yield _claim(regime, seed, _rounded(variant, regime))
        for manner in MANNERS:
            yield _claim(regime, seed, manner(regime))


def _rounded(variant: Variant, regime: Regime) -> Callable[..., Any]:
    def backward(params: Any, X: Any, Y: Any) -> Any:
        pairs = variant.gradient(params, X, Y, regime.activation, "squared_error")
        return _scaled(pairs, regime.scale)

    return backward


def _scaled(pairs: Any, scale: float) -> list[Any]:
    return [tuple(leaf * leaf.dtype.type(scale) for leaf in pair) for pair in pairs]


def _tape(regime: Regime) -> Callable[..., Any]:
    """Every operation records its own pullback; the tape is played backwards."""

    def backward(params: Any, X: Any, Y: Any) -> Any:
        number = X.dtype.type
        tape, grads, a = [], {}, X
        for k, (W, b) in enumerate(params):
            z = a @ W.T + b

            def affine(g: Any, k: int = k, a: Any = a, W: Any = W) -> Any:
                grads[k] = (g.T @ a, g.sum(0))
                return g @ W

            tape.append(affine)
            if k == len(params) - 1:
                a = z
            elif regime.activation == "relu":
                a = np.maximum(z, number(0))
                tape.append(lambda g, z=z: np.where(z > 0, g, number(0)))
            else:
                a = np.tanh(z)
                tape.append(lambda g, a=a: g * (number(1) - a * a))
        g = (a - Y) * number(regime.scale / len(X))
        for pullback in reversed(tape):
            g = pullback(g)
        return [tuple(leaf.astype(X.dtype) for leaf in grads[k]) for k in range(len(params))]

    return backward


def _row_by_row(regime: Regime) -> Callable[..., Any]:
    """The sum of single examples' gradients, divided once at the end."""
    one = candidate(_setting(regime), batched=False)

    def backward(params: Any, X: Any, Y: Any) -> Any:
        rows = [one(params, x, y) for x, y in zip(X, Y, strict=True)]
        n = X.dtype.type(len(X))
        return jax.tree.map(lambda *leaves: sum(leaves) / n, *rows)

    return backward


def _columns(regime: Regime) -> Callable[..., Any]:
    """Examples in columns and weights transposed on the way, in Fortran order."""
    whole = candidate(_setting(regime), batched=True)

    def backward(params: Any, X: Any, Y: Any) -> Any:
        turned = [(np.asfortranarray(W), b.copy()) for W, b in params]
        pairs = whole(turned, np.asfortranarray(X), np.asfortranarray(Y))
        return [(np.asfortranarray(dW), db) for dW, db in pairs]

    return backward


def _convention(slope: float) -> Callable[[Regime], Callable[..., Any]]:
    """Another ReLU'(0); the same for other activations."""

    def make(regime: Regime) -> Callable[..., Any]:
        def kink(m: Any, k: int, v: Any) -> Any:
            return m.back[k] * np.where(m.Z[k] == 0, slope, m.Z[k] > 0).astype(v.dtype)

        faults = [(Mutation("", "delta", kink), k) for k in range(1, len(regime.sizes) - 1)]
        return candidate(_setting(regime), faults if regime.activation == "relu" else [], True)

    return make


def _float32_inside(regime: Regime) -> Callable[..., Any]:
    """Computes in float32 whatever it is given; coarser dtypes keep their own."""
    whole = candidate(_setting(regime), batched=True)

    def backward(params: Any, X: Any, Y: Any) -> Any:
        if X.dtype != np.float64:
            return whole(params, X, Y)
        narrow = jax.tree.map(np.float32, (params, X, Y))
        return [tuple(leaf.astype(np.float64) for leaf in pair) for pair in whole(*narrow)]

    return backward


MANNERS = (
    _tape,
    _row_by_row,
    _columns,
    _convention(0.0),
    _convention(0.5),
    _float32_inside,
)
"""Correct programs beside those of `rounded_backprop`: 14 in all, 16 in float32."""


def _score(regime: Regime, name: str, check: Callable[[Claim], Any], quick: bool) -> Score:
    seeds = 1 if quick else SEEDS
    wrong = list(_wrong(regime, seeds))[: 6 if quick else None]
    right = list(_right(regime, 1 if quick else 2 * SEEDS))[: 6 if quick else None]
    times: list[float] = []
    calls: list[int] = []
    alarms = [_alarm(check, claim, times, calls) for claim, _ in wrong]
    false = [_alarm(check, claim, times, calls)[0] for claim in right]
    placed = [
        {(f.line, f.quantity, f.layer) for f in report.findings} == {place}
        for (_, report), (_, place) in zip(alarms, wrong, strict=True)
        if report is not None
    ]
    return Score(
        case=regime.name,
        variant=name,
        baseline="all planted faults",
        ratio=float(np.mean([alarm for alarm, _ in alarms])),
        wrong=len(wrong),
        false_alarms=float(np.mean(false)),
        right=len(right),
        localised=float(np.mean(placed)) if placed else None,
        calls=float(np.median(calls)),
        seconds=float(np.median(times)),
    )


def _alarm(
    check: Callable[[Claim], Any], claim: Claim, times: list[float], calls: list[int]
) -> tuple[bool, Any]:
    """Whether the checker raises an alarm, and fcnet's report if it makes one."""
    count = 0

    def counted(params: Any, X: Any, Y: Any) -> Any:
        nonlocal count
        count += 1
        return claim.backward(params, X, Y)

    double = claim.X.dtype == np.float64
    start = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"), jax.enable_x64(double):
        warnings.simplefilter("ignore")
        try:
            answer = check(claim._replace(backward=counted))
        except Exception:
            answer = True
    times.append(time.perf_counter() - start)
    calls.append(count)
    if isinstance(answer, bool):
        return answer, None
    return answer.verdict == "wrong", answer


def _least_seen(dtype: str, check: Callable[[Claim], Any], sizes: np.ndarray) -> float:
    """By the checker, in the first layer's weights of a network of 64 parameters."""
    regime = Regime(dtype, dtype=dtype)
    network, X, Y = _point(regime, 0)
    entries = np.ravel(candidate(_setting(regime), batched=True)(network, X, Y)[0][0])
    at = np.argsort(abs(entries.astype(float)))[entries.size // 2]

    def with_error(size: float) -> Callable[..., Any]:
        def edit(m: Any, k: int, v: Any) -> Any:
            v = v.copy()
            v.reshape(-1)[at] *= v.dtype.type(1 + size)
            return v

        return candidate(_setting(regime), [(Mutation("", "dW", edit), 1)], batched=True)

    if _alarm(check, _claim(regime, 0, with_error(0.0)), [], [])[0]:
        return float("nan")  # an alarm without an error: nothing is seen
    least = float("inf")
    for size in sizes[::-1]:
        if not _alarm(check, _claim(regime, 0, with_error(size)), [], [])[0]:
            break
        least = float(size)
    return least
