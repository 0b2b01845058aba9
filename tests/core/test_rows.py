"""What a loss or an activation does comes from its row: its name is for messages and files only."""

import ast
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcnet
from fcnet.types import Labels

PACKAGE = Path(fcnet.__file__).parent
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
}
NAMES = {*fcnet.LOSSES, *fcnet.ACTIVATIONS}
TEXT_METHODS = {"startswith", "endswith", "removeprefix", "removesuffix", "lower", "casefold"}


each_name = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in {"relu", "logistic"}))
        for name in sorted(NAMES)
    ],
)

NO_ROWS = {"feature", "field", "item", "library", "primitive", "special", "dtype"}
"""What else has a name: columns, items of the notes, libraries, operations, inputs, dtypes."""
RESOLVES = {"pickle_by_name"}
"""The function that turns a name into its row."""


def called(node: ast.AST) -> str:
    """What an expression is called, such as `loss` for `problem.loss`."""
    node = node.func if isinstance(node, ast.Call) else node
    return getattr(node, "id", getattr(node, "attr", ""))


def is_row(node: ast.AST) -> bool:
    """Whether an expression is called a loss or an activation, such as `problem.loss`."""
    return called(node).endswith(("loss", "activation"))


def is_name(node: ast.AST) -> bool:
    """Whether an expression is the name of what may be a row, such as `J.name`."""
    named = isinstance(node, ast.Attribute) and node.attr == "name"
    return named and called(node.value) not in NO_ROWS  # type: ignore[attr-defined]


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, but for those of the function that resolves names."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if getattr(child, "name", None) not in RESOLVES:
            yield from nodes(child)


def is_known(node: ast.AST) -> bool:
    """Whether an expression is a known name, or a collection of known names."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return any(map(is_known, node.elts))
    return isinstance(node, ast.Constant) and node.value in NAMES


def keys(node: ast.AST) -> list[ast.expr]:
    """What an expression looks up, if it is a look-up."""
    if isinstance(node, ast.Subscript):
        return [node.slice]
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("get", "pop", "index"):
        return node.args[:1]
    if isinstance(node, ast.Match):
        return [node.subject]
    return []


def by_name(tree: ast.AST) -> Iterator[int]:
    """The lines in which the name of a loss or an activation decides something."""
    for node in nodes(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            own = any(is_name(side) and is_row(side.value) for side in sides)  # type: ignore[attr-defined]
            if own or any(map(is_known, sides)):
                yield node.lineno
        elif any(is_name(key) or is_row(key) for key in keys(node)):
            yield getattr(node, "lineno", 0) or keys(node)[0].lineno
        elif isinstance(node, ast.Attribute) and node.attr in TEXT_METHODS and is_name(node.value):
            yield node.lineno


def test_no_behaviour_depends_on_a_name() -> None:
    found = [f"{file}:{line}" for file, tree in SOURCES.items() for line in by_name(tree)]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        'if problem.loss.name == "logistic": pass',
        'if loss != "poisson": pass',
        'if output_activation in ("identity", "relu"): pass',
        "if activation.name not in FAMILIAR: pass",
        "METRICS[objective.loss.name]",
        "TABLE[loss]",
        "SLOPES.get(self.activation.name, None)",
        'loss.name.startswith("softmax")',
        'J.name == "poisson"',
        'sigma.name == "relu"',
        'choice in ("tanh", "sigmoid")',
        "TABLE[J.name]",
        'row.name in {"relu", "tanh"}',
        'match loss:\n    case "poisson": pass',
    ],
)
def test_a_look_up_by_name_is_noticed(source: str) -> None:
    assert list(by_name(ast.parse(source))) == [1]


@pytest.mark.parametrize(
    "source",
    [
        'print(f"for {loss.name}")',
        '{"loss": objective.loss.name}',
        "loss.labels.one_hot",
        'LOSSES["squared_error"]',
        "columns[feature.name]",
        "def pickle_by_name(table, row): table.get(row.name)",
        "if loss is None: pass",
        "if loss < least: pass",
        'reduction == "sum"',
        "history.loss[-1]",
    ],
)
def test_other_uses_of_rows_are_no_look_ups(source: str) -> None:
    assert not list(by_name(ast.parse(source)))


def half_square(o: Any, y: Any) -> Any:
    return ((o - y) ** 2).sum() / 2


def residual(o: Any, y: Any) -> Any:
    return o - y


class Unhashable:
    """A function that JAX cannot know again."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, o: Any, y: Any) -> Any:
        return half_square(o, y)


def rows(name: str) -> dict[str, Any]:
    """A loss and activations of the caller's own, which do the same under every name."""
    wave = fcnet.Activation(name, jnp.sin, jnp.cos)
    return {
        "activation": wave,
        "output_activation": fcnet.Activation(name, jnp.arctan, lambda z: 1 / (1 + z**2)),
        "loss": fcnet.Loss(name, half_square, residual),
    }


PARAMS = fcnet.init(jax.random.key(0), (2, 3, 2))
X = np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
Y = 2 * X[:, ::-1] - 1  # negative, above 1, not whole: no targets of the other losses
RATES = np.array([0.1, 0.2], np.float32)
TRAINING: dict[str, Any] = {
    "key": jax.random.key(1),
    "batch_size": 4,
    "steps": 6,
    "evaluate_every": 3,
    "validation": (X[:5], Y[:5]),
}


def fitted(name: str) -> Any:
    result = fcnet.fit(
        PARAMS, X, Y, optimizer="sgd", hyperparameters={"learning_rate": 0.1},
        **TRAINING, **rows(name),
    )  # fmt: skip
    return result.params, result.opt_state, result.history


def swept(name: str) -> Any:
    result = fcnet.sweep(
        PARAMS, X, Y, optimizer="sgd", hyperparameters={"learning_rate": RATES},
        **TRAINING, **rows(name),
    )  # fmt: skip
    return result.params, result.history


def estimated(name: str) -> Any:
    estimators = pytest.importorskip("fcnet.estimators")
    given = {key: row for key, row in rows(name).items() if key != "output_activation"}
    model = estimators.FCNetRegressor(3, max_iter=3, early_stopping=True, random_state=0, **given)
    model.fit(X, Y)
    return model.predict(X), model.score(X, Y), model.validation_scores_, model.coefs_


@cache
def expected(run: Callable[[str], Any]) -> Any:
    return run("mine")


@each_name
@pytest.mark.parametrize("run", [fitted, swept])
def test_training_is_the_same_under_every_name(run: Callable[[str], Any], name: str) -> None:
    jax.tree.map(np.testing.assert_array_equal, run(name), expected(run))


def with_slope(slope: Callable[[Any], Any], where: str = "activation") -> Callable[..., Any]:
    """Backpropagation for `rows`, with another derivative of one of the activations."""
    given = rows("candidate")
    return partial(fcnet.batch_backprop, **given | {where: given[where]._replace(derivative=slope)})


def softmax_over_examples(params: Any, X: Any, Y: Any) -> Any:
    """Backpropagation for `rows`, with the loss of a softmax over the wrong axis."""
    sigmas = {key: row for key, row in rows("candidate").items() if key != "loss"}
    o, pull = jax.vjp(lambda p: jax.vmap(lambda x: fcnet.forward(p, x, **sigmas))(X), params)
    return pull((jax.nn.softmax(o, axis=0) - Y) / len(X))[0]


WRONG = {
    "tanh": with_slope(lambda z: 1 - z**2),
    "sigmoid": with_slope(lambda z: z * (1 - z)),
    "relu": with_slope(lambda z: (z > 0).astype(z.dtype)),
    "identity": with_slope(jnp.ones_like, "output_activation"),
    "softmax_cross_entropy": softmax_over_examples,
}
"""Mistakes that would be other mistakes if the rows were those that have these names."""


def checked(candidate: Callable[..., Any], name: str) -> Any:
    """The verdict and the findings of a check whose description has the rows of that name."""
    report = fcnet.check(candidate, PARAMS, X, Y, batched=True, **rows(name))
    return report.verdict, [(f.kind, f.line, f.layer, f.message) for f in report.findings]


@pytest.mark.untyped
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "relu")) for name in WRONG],
)
def test_a_check_finds_the_same_under_every_name(name: str) -> None:
    verdict, findings = checked(WRONG[name], "mine")
    assert checked(WRONG[name], name) == (verdict, findings)
    assert verdict == "wrong"


@pytest.mark.untyped
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) for name in sorted(NAMES)]
)
def test_a_check_finds_nothing_wrong_under_every_name(name: str) -> None:
    right = partial(fcnet.batch_backprop, **rows("candidate"))
    assert checked(right, name) == ("right", [])


@pytest.mark.untyped
@each_name
def test_an_estimator_does_the_same_under_every_name(name: str) -> None:
    jax.tree.map(np.testing.assert_array_equal, estimated(name), expected(estimated))


OWN = fcnet.Loss("mine", half_square, residual)
WAVE = fcnet.Activation("wave", jnp.sin, jnp.cos)
FIELDS = [
    (OWN._replace(name=3), "loss.name must be text, got 3"),
    (OWN._replace(value="1/2"), "loss.value must be a function, got '1/2'"),
    (OWN._replace(labels="any"), "loss.labels must be a fcnet.Labels of text and a function"),
    (OWN._replace(labels=Labels("any", True)), "loss.labels must be"),
    (OWN._replace(mean=None), "loss.mean must be a function, got None"),
    (OWN._replace(metric="r2"), "loss.metric must be a function, got 'r2'"),
    (OWN._replace(draw=3), "loss.draw must be a function or None, got 3"),
    (OWN._replace(formula=None), "loss.formula must be text, got None"),
    (OWN._replace(value=Unhashable()), "loss 'mine' must have hashable fields"),
    (WAVE._replace(derivative=None), "activation.derivative must be a function, got None"),
]
SHAPES = [
    (
        OWN._replace(value=lambda o, y: (o - y) ** 2),
        r"loss.value of 'mine', .* shape \(\), got shape \(2,\)",
    ),
    (OWN._replace(value=lambda o, y: (o, y)), r"loss.value of 'mine', .* shape \(\), got tuple"),
    (OWN._replace(value=lambda o: o.sum()), "loss.value of 'mine', .* a function of 2 JAX arrays"),
    (
        OWN._replace(derivative=lambda o, y: (o - y).sum()),
        r"loss.derivative of 'mine', .* shape \(2,\), got shape \(\)",
    ),
    (OWN._replace(mean=jnp.sum), r"loss.mean of 'mine', .* shape \(2,\), got shape \(\)"),
    (WAVE._replace(function=jnp.sum), r"activation.function of 'wave', .* got shape \(\)"),
    (WAVE._replace(derivative=lambda z: 1), r"activation.derivative of 'wave', .* shape \(\)"),
]


def every_call(row: Any) -> list[Callable[[], Any]]:
    """Calls of the public functions that take such a row."""
    choice = {"loss" if isinstance(row, fcnet.Loss) else "activation": row}
    trace = fcnet.forward_trace(PARAMS, X[0])
    members = {"hyperparameters": {"learning_rate": RATES}}
    return [
        partial(fcnet.example_loss, PARAMS, X[0], Y[0], **choice),
        partial(fcnet.mean_loss, PARAMS, X, Y, **choice),
        partial(fcnet.deltas, PARAMS, trace, Y[0], **choice),
        partial(fcnet.backprop, PARAMS, X[0], Y[0], **choice),
        partial(fcnet.batch_backprop, PARAMS, X, Y, **choice),
        partial(fcnet.fit, PARAMS, X, Y, progress=unreached, **TRAINING, **choice),
        partial(fcnet.sweep, PARAMS, X, Y, progress=unreached, **members, **TRAINING, **choice),
    ]


def unreached(*_: Any) -> None:
    raise AssertionError("a step was taken")


@pytest.mark.untyped
@pytest.mark.parametrize(("row", "message"), FIELDS)
def test_the_fields_of_a_row_have_their_types(row: Any, message: str) -> None:
    for call in every_call(row):
        with pytest.raises(TypeError, match=message):
            call()


@pytest.mark.untyped
@pytest.mark.parametrize(("row", "message"), SHAPES)
def test_the_functions_of_a_row_return_their_shapes(row: Any, message: str) -> None:
    for call in every_call(row):
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def test_the_output_activation_is_checked_by_its_own_name() -> None:
    for function in (fcnet.forward, partial(fcnet.features)):
        assert function(PARAMS, X[0], activation=WAVE).ndim == 1
    with pytest.raises(ValueError, match=r"output_activation\.function of 'wave'"):
        fcnet.forward(PARAMS, X[0], output_activation=WAVE._replace(function=jnp.sum))


def test_a_row_is_traced_once_for_a_shape() -> None:
    traced = []

    def value(o: Any, y: Any) -> Any:
        traced.append(o.shape)
        return half_square(o, y)

    objective = {"loss": OWN._replace(value=value)}
    fcnet.example_loss(PARAMS, X[0], Y[0], **objective)
    first = len(traced)
    fcnet.example_loss(PARAMS, X[0], Y[0], **objective)
    assert (first, len(traced)) == (2, 3)  # the check, and each call
