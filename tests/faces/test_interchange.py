"""Round trips with each library's own networks, judged by what these predict."""

from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.problems import Case, problem

import fcnet
from fcnet import interchange
from fcnet.interchange import params_of, with_params

pytestmark = pytest.mark.usefixtures("exact_products")

SIZES = (5, 4, 3, 2)
PAIRS = list(pairwise(SIZES))


def torch_network() -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    linear = [torch.nn.Linear(d, m) for d, m in pairwise(SIZES)]
    module = torch.nn.Sequential(linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
    return module, lambda X: module(torch.tensor(X)).detach().numpy()


def flax_network() -> tuple[Any, Any]:
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    linear = [nnx.Linear(d, m, rngs=rngs) for d, m in pairwise(SIZES)]
    module = nnx.Sequential(linear[0], nnx.relu, linear[1], nnx.relu, linear[2])
    return module, lambda X: np.asarray(module(X))


def flax_network_by_name() -> tuple[Any, Any]:
    """Named in another order than that of the alphabet, and with square layers to take amiss."""
    nnx = pytest.importorskip("flax.nnx")

    class Network(nnx.Module):  # type: ignore[name-defined,misc]
        def __init__(self, rngs: Any) -> None:
            self.hidden = nnx.Linear(3, 3, rngs=rngs)
            self.final = nnx.Linear(3, 3, rngs=rngs)

        def __call__(self, x: Any) -> Any:
            return self.final(nnx.relu(self.hidden(x)))

    module = Network(nnx.Rngs(0))
    return module, lambda X: np.asarray(module(X))


def sklearn_network() -> tuple[Any, Any]:
    neural = pytest.importorskip("sklearn.neural_network")
    model = neural.MLPRegressor(hidden_layer_sizes=SIZES[1:-1], random_state=0)
    X = np.ones((4, SIZES[0]), np.float32)
    return model.partial_fit(X, X[:, : SIZES[-1]]), lambda X: model.predict(X)


def fcnet_network() -> tuple[Any, Any]:
    pytest.importorskip("sklearn")
    from fcnet.estimators import FCNetRegressor

    model = FCNetRegressor(SIZES[1:-1], random_state=0)
    X = np.arange(4 * SIZES[0], dtype=np.float32).reshape(4, -1)
    return model.partial_fit(X, X[:, : SIZES[-1]]), model.predict


NETWORKS = [torch_network, flax_network, sklearn_network, fcnet_network]


def predictions(params: fcnet.Params, X: np.ndarray) -> np.ndarray:
    return np.asarray(jax.vmap(fcnet.forward, in_axes=(None, 0))(params, X))


def relative(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest error over the largest entry."""
    return float(abs(actual - expected).max() / abs(expected).max())


@pytest.fixture
def ours() -> tuple[fcnet.Params, np.ndarray]:
    params, X, _ = problem(Case(SIZES, n=9), np.float32)
    return params, np.asarray(X)


@pytest.mark.untyped
@pytest.mark.parametrize("make", NETWORKS)
def test_what_comes_out_predicts_as_the_library_does(make: Any, ours: Any) -> None:
    model, predict = make()
    X = ours[1]
    params = params_of(model)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    assert relative(predictions(params, X), predict(X)) < 1e-6
    other = jax.tree.map(lambda leaf: leaf * 1.001, params)
    assert relative(predictions(other, X), predict(X)) > 1e-6


@pytest.mark.untyped
@pytest.mark.parametrize("make", NETWORKS)
def test_what_goes_in_predicts_as_we_do(make: Any, ours: Any) -> None:
    model, predict = make()
    params, X = ours
    before = predict(X)
    assert with_params(model, params) is model
    assert relative(predict(X), predictions(params, X)) < 1e-6
    assert relative(before, predictions(params, X)) > 1e-3
    for mine, theirs in zip(
        jax.tree.leaves(params), jax.tree.leaves(params_of(model)), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def torch_with(*middle: Any, last: Any = ()) -> Any:
    """Linear layers of PyTorch, 4 to 6 to 2, with these modules between and behind them."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    first, second = torch.nn.Linear(4, 6), torch.nn.Linear(6, 2)
    return torch.nn.Sequential(first, *middle, second, *last)


def torch_function() -> Any:
    """A module whose activation is no module."""
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.outer = torch.nn.Linear(4, 6), torch.nn.Linear(6, 2)

        def forward(self, x: Any) -> Any:
            return torch.sigmoid(self.outer(torch.tanh(self.inner(x))))

    return Network()


def flax_tanh() -> Any:
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    return nnx.Sequential(nnx.Linear(4, 6, rngs=rngs), nnx.tanh, nnx.Linear(6, 2, rngs=rngs))


def sklearn_logistic() -> Any:
    neural = pytest.importorskip("sklearn.neural_network")
    model = neural.MLPClassifier((6,), activation="logistic", random_state=0)
    return model.partial_fit(np.ones((4, 4)), [0, 1, 1, 0], classes=[0, 1])


def torch_nn() -> Any:
    return pytest.importorskip("torch").nn


OTHERS = {
    "tanh": lambda: torch_with(torch_nn().Tanh()),
    "leaky_relu": lambda: torch_with(torch_nn().LeakyReLU()),
    "gelu": lambda: torch_with(torch_nn().GELU()),
    "none": lambda: torch_with(),
    "a last relu": lambda: torch_with(torch_nn().ReLU(), last=[torch_nn().ReLU()]),
    "functions": torch_function,
    "flax": flax_tanh,
    "sklearn": sklearn_logistic,
}
ACTIVATIONS_OF_OTHERS = {
    **dict.fromkeys(("tanh", "flax"), ("tanh", "identity")),
    "leaky_relu": ("leaky_relu", "identity"),
    "gelu": ("gelu", "identity"),
    "none": ("identity", "identity"),
    "a last relu": ("relu", "relu"),
    "functions": ("tanh", "sigmoid"),
    "sklearn": ("sigmoid", "identity"),
}


@pytest.mark.untyped
@pytest.mark.parametrize("name", OTHERS)
def test_other_activations_are_found_and_must_be_asked_for(name: str) -> None:
    model = OTHERS[name]()
    hidden, output = ACTIVATIONS_OF_OTHERS[name]
    fitting = f"activation='{hidden}' and output_activation='{output}': pass these"
    with pytest.raises(ValueError, match=f"does not compute what forward does.*{fitting}"):
        params_of(model)
    asked = {"activation": hidden, "output_activation": output}
    params = params_of(model, **asked)
    with pytest.raises(ValueError, match=fitting):
        with_params(model, params)
    assert with_params(model, params, **asked) is model
    with pytest.raises(ValueError, match=fitting):
        params_of(model, activation="elu")


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("middle", "message"),
    [
        (lambda nn: [nn.LeakyReLU(0.2)], "No activations .* has Linear, LeakyReLU, Linear"),
        (lambda nn: [nn.GELU("tanh")], "No activations .* has Linear, GELU, Linear"),
        (lambda nn: [nn.Softmax(dim=1)], "No activations .* has Linear, Softmax, Linear"),
        (lambda nn: [nn.Tanh(), nn.Linear(6, 6), nn.ReLU()], "No activations .*, one for all hid"),
        (lambda nn: [nn.BatchNorm1d(6), nn.ReLU()], r"has BatchNorm1d \(1\), .*no other layers"),
        (lambda nn: [nn.ReLU(), nn.LayerNorm(6)], r"has LayerNorm \(2\), .*no other layers"),
        (lambda nn: [nn.PReLU()], r"has PReLU \(1\), .* without arrays of their own"),
    ],
)
def test_what_forward_cannot_compute_is_refused(middle: Any, message: str) -> None:
    model = torch_with(*middle(torch_nn()))
    with pytest.raises((ValueError, TypeError), match=message):
        params_of(model)


@pytest.mark.untyped
@pytest.mark.parametrize("factor", [1.0, 0.1, 0.01])
def test_an_activation_that_differs_far_from_0_only_is_refused(factor: float) -> None:
    """The model's own weights say how large its inputs must be to show it."""
    torch, nn = pytest.importorskip("torch"), torch_nn()

    def scaled(middle: Any) -> Any:
        model = torch_with(middle)
        with torch.no_grad():
            for leaf in model.parameters():
                leaf *= factor
        return model

    assert params_of(scaled(nn.ReLU()))[0].W.shape == (6, 4)
    for other, asked in ((nn.ReLU6(), "relu"), (nn.Hardtanh(-20, 20), "identity")):
        with pytest.raises(ValueError, match=r"for inputs of size 1.*No activations of fcnet fit"):
            params_of(scaled(other), activation=asked)


@pytest.mark.untyped
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_activations_are_told_apart_in_a_narrow_precision(dtype: str) -> None:
    """The slope 0.01 of a leaky ReLU is less than the rounding of a bfloat16."""
    torch, nn = pytest.importorskip("torch"), torch_nn()
    model = torch_with(nn.LeakyReLU()).to(getattr(torch, dtype))
    with pytest.raises(ValueError, match="activation='leaky_relu' and output_activation='ident"):
        params_of(model)
    params = params_of(model, activation="leaky_relu")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {dtype}
    assert {leaf.dtype for leaf in model.parameters()} == {getattr(torch, dtype)}


@pytest.mark.untyped
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_outputs_may_be_of_a_dtype_in_which_large_inputs_overflow() -> None:
    torch, nn = pytest.importorskip("torch"), torch_nn()

    class Narrow(nn.Sequential):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return super().forward(x).half()

    model = Narrow(*torch_with(nn.Softplus()))
    assert params_of(model, activation="softplus")[0].W.dtype == np.float32
    with pytest.raises(ValueError, match="activation='softplus' and output_activation='ident"):
        params_of(model)
    assert {leaf.dtype for leaf in model.parameters()} == {torch.float32}


@pytest.mark.untyped
def test_a_layer_that_is_used_twice_is_two_layers() -> None:
    torch, nn = pytest.importorskip("torch"), torch_nn()
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    x = np.linspace(-1, 1, 4, dtype=np.float32)
    found = predictions(params_of(model), x[None])
    np.testing.assert_allclose(found, model(torch.tensor(x[None])).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.untyped
def test_flax_layers_that_compute_in_a_narrow_precision_are_read() -> None:
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    narrow = {"rngs": rngs, "dtype": jnp.bfloat16, "param_dtype": jnp.bfloat16}
    model = nnx.Sequential(nnx.Linear(4, 6, **narrow), nnx.relu, nnx.Linear(6, 2, **narrow))
    params = params_of(model)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {"bfloat16"}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(model))} == {"bfloat16"}


@pytest.mark.untyped
def test_flax_layers_that_are_not_linear_are_named() -> None:
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    linear = nnx.Linear(4, 4, rngs=rngs)
    with pytest.raises(TypeError, match=r"has BatchNorm \(layers.1\)"):
        params_of(nnx.Sequential(linear, nnx.BatchNorm(4, rngs=rngs)))
    dropped = nnx.Sequential(linear, nnx.Dropout(0.5, rngs=rngs))
    np.testing.assert_array_equal(params_of(dropped)[0].W, linear.kernel[...].T)


@pytest.mark.untyped
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_dropout_does_nothing_and_rounding_is_allowed(dtype: str) -> None:
    nn = torch_nn()
    torch = pytest.importorskip("torch")
    model = torch_with(nn.ReLU(), nn.Dropout(0.5)).to(getattr(torch, dtype))
    assert params_of(model)[0].W.shape == (6, 4)
    assert model.training
    assert all(module.training for module in model.modules())


@pytest.mark.untyped
def test_a_module_that_cannot_be_called_is_read_by_its_arrays_only() -> None:
    torch = pytest.importorskip("torch")

    class Masked(torch.nn.Sequential):  # type: ignore[name-defined,misc]
        def forward(self, x: Any, mask: Any) -> Any:
            return super().forward(x * mask)

    model = Masked(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
    with pytest.raises(TypeError, match=r"cannot be compared .*'mask'. .* such as a state dict"):
        params_of(model)
    assert [W.shape for W, _ in params_of(model.state_dict())] == [(6, 4), (2, 6)]


@pytest.mark.untyped
@pytest.mark.parametrize("make", NETWORKS)
def test_other_sizes_change_nothing(make: Any, ours: Any) -> None:
    model, predict = make()
    X = ours[1]
    before = predict(X)
    smaller, _, _ = problem(Case((5, 4, 2)), np.float32)
    with pytest.raises(
        ValueError, match=r"params have the sizes \(5, 4, 2\), but .* \(5, 4, 3, 2\)"
    ):
        with_params(model, smaller)
    np.testing.assert_array_equal(predict(X), before)


def flax_network_within() -> tuple[Any, Any]:
    """The same, inside another module, beside a list."""
    nnx = pytest.importorskip("flax.nnx")

    class Outer(nnx.Module):  # type: ignore[name-defined,misc]
        def __init__(self, inner: Any, rngs: Any) -> None:
            self.net = inner
            self.heads = nnx.List([nnx.Linear(3, 3, rngs=rngs)])

        def __call__(self, x: Any) -> Any:
            return self.heads[0](nnx.relu(self.net(x)))

    inner, _ = flax_network_by_name()
    module = Outer(inner, nnx.Rngs(1))
    return module, lambda X: np.asarray(module(X))


@pytest.mark.untyped
@pytest.mark.parametrize("make", [flax_network_by_name, flax_network_within])
def test_flax_layers_come_in_the_order_of_their_attributes(make: Any) -> None:
    module, predict = make()
    X = np.random.default_rng(0).normal(size=(4, 3)).astype("f")
    params = params_of(module)
    assert relative(predictions(params, X), predict(X)) < 1e-6
    other, _, _ = problem(Case((3,) * (len(params) + 1)), np.float32)
    with_params(module, other)
    assert relative(predict(X), predictions(other, X)) < 1e-6
    assert relative(predictions(other[::-1], X), predict(X)) > 1e-3


def test_containers_are_new_and_like_the_old(ours: Any) -> None:
    params, _ = ours
    state = {f"{k}.kernel": np.zeros((d, m), np.float64) for k, (d, m) in enumerate(PAIRS)}
    state |= {f"{k}.bias": np.zeros(m, np.float64) for k, (_, m) in enumerate(PAIRS)}
    written = with_params(state, params)
    assert written.keys() == state.keys()
    assert written["0.kernel"].dtype == np.float64
    assert not any(leaf.any() for leaf in state.values())
    np.testing.assert_array_equal(written["1.kernel"], np.asarray(params[1].W).T)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_file_keeps_every_bit_and_the_text(ours: Any, dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), ours[0])
    file = tmp_path / "network.safetensors"
    interchange.save(file, params, {"activation": "relu"})
    loaded, text = interchange.load(file)
    assert text == {"activation": "relu"}
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]
    for mine, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(loaded), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def test_a_file_in_double_precision(x64: None, tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    params, _, _ = problem(Case(), np.float64)
    thirds = jax.tree.map(lambda leaf: leaf / 3, params)
    interchange.save(tmp_path / "file", thirds)
    loaded, _ = interchange.load(tmp_path / "file")
    jax.tree.map(np.testing.assert_array_equal, loaded, thirds)


def test_double_precision_is_kept_where_jax_has_none(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    thirds = [(np.full((1, 2), 1 / 3), np.full(1, 2 / 3))]
    interchange.save(tmp_path / "file", thirds)
    arrays = safetensors.load_file(tmp_path / "file")
    written = interchange.with_params({"weight": np.zeros((1, 2)), "bias": np.zeros(1)}, thirds)
    for kept in (arrays["1.weight"], written["weight"]):
        assert kept.dtype == np.float64
        np.testing.assert_array_equal(kept, thirds[0][0])


def test_a_file_of_pytorch_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("safetensors.torch")
    module, predict = torch_network()
    torch.save_file(module.state_dict(), tmp_path / "file")
    params, text = interchange.load(tmp_path / "file")
    X = np.ones((2, 5), np.float32)
    assert relative(predictions(params, X), predict(X)) < 1e-6
    assert text == {}


def test_layers_of_several_precisions_come_in_the_widest() -> None:
    third = np.float32(1 / 3)
    narrow = jnp.asarray([[1.5]], jnp.bfloat16), jnp.zeros(1, jnp.bfloat16)
    params = params_of([narrow, (np.full((1, 1), third), np.zeros(1, np.float32))])
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}
    assert params[1].W.item() == third


@pytest.mark.untyped
def test_a_file_whose_names_tell_no_order_is_refused(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    square = {"weight": np.eye(2, dtype="f"), "bias": np.zeros(2, "f")}
    arrays = {f"{part}.{k}": v for part in ("hidden", "final") for k, v in square.items()}
    numpy.save_file(arrays, tmp_path / "file")
    with pytest.raises(ValueError, match="names and shapes do not tell the order of the layers"):
        interchange.load(tmp_path / "file")
    numpy.save_file(square, tmp_path / "file")
    assert len(interchange.load(tmp_path / "file")[0]) == 1


NAMES = {
    "numbers": ["net.0", "net.2", "net.10"],
    "a head": ["layer1", "layer2", "head"],
    "words": ["one", "two", "three"],
    "an autoencoder": ["encoder.0", "encoder.2", "decoder.0", "decoder.2"],
}


def orders(names: list[str], widths: list[tuple[int, int]]) -> list[list[str]]:
    """Every order in which the layers chain, those of one text in the order of their numbers."""
    found = []
    for order in permutations(zip(names, widths, strict=True)):
        chains = all(one[1][1] == other[1][0] for one, other in pairwise(order))
        alike = [[k for k in names if k[:3] == name[:3]] for name, _ in order]
        kept = [[k for k, _ in order if k[:3] == name[:3]] for name, _ in order]
        if chains and alike == kept:
            found.append([name for name, _ in order])
    return found


@pytest.mark.untyped
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_the_order_of_a_file_is_its_network_s_or_unknown(
    names: list[str], seed: int, tmp_path: Path
) -> None:
    """Beside all orders that the shapes allow: one of several is never chosen."""
    numpy = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 5, len(names) + 1).tolist()
    arrays = {}
    for k, name in enumerate(names):
        arrays[f"{name}.weight"] = rng.normal(size=(sizes[k + 1], sizes[k])).astype(np.float32)
        arrays[f"{name}.bias"] = rng.normal(size=sizes[k + 1]).astype(np.float32)
    numpy.save_file(arrays, tmp_path / "file")
    possible = orders(names, list(pairwise(sizes)))
    assert names in possible
    if len(possible) > 1:
        with pytest.raises(ValueError, match="do not tell the order of the layers"):
            interchange.load(tmp_path / "file")
    elif len(set(sizes)) == len(sizes) or names == NAMES["numbers"]:
        params, _ = interchange.load(tmp_path / "file")
        for layer, name in zip(params, names, strict=True):
            np.testing.assert_array_equal(layer.W, arrays[f"{name}.weight"])


def test_a_last_layer_of_another_name_is_told_by_its_shape(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    sizes = {"fc2": (9, 9), "fc10": (9, 9), "fc1": (9, 3), "a_head": (2, 9)}
    arrays = {f"{name}.weight": np.ones(shape, "f") for name, shape in sizes.items()}
    arrays |= {f"{name}.bias": np.full(m, m, "f") for name, (m, _) in sizes.items()}
    arrays["fc10.weight"] *= 10
    numpy.save_file(arrays, tmp_path / "file")
    params, _ = interchange.load(tmp_path / "file")
    assert [(layer.W.shape, layer.W.max()) for layer in params] == [
        *(((9, 3), 1), ((9, 9), 1), ((9, 9), 10), ((2, 9), 1)),
    ]


@pytest.mark.untyped
def test_what_is_no_network_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    square = [(np.eye(2), np.zeros(2))] * 2
    with pytest.raises(ValueError, match=r"every W is square, .* use names"):
        params_of(square)
    with pytest.raises(TypeError, match="one W and one b for each layer"):
        params_of({"W1": np.eye(2)})
    (tmp_path / "file").write_bytes(b"not a network")
    with pytest.raises(ValueError, match="file is not a complete safetensors file"):
        interchange.load(tmp_path / "file")
    with pytest.raises(OSError, match="no-such-file"):
        interchange.load(tmp_path / "no-such-file")
    with pytest.raises(IsADirectoryError, match=tmp_path.name):
        interchange.load(tmp_path)
    unfitted = pytest.importorskip("sklearn.neural_network").MLPRegressor()
    for other in (len, unfitted, object()):
        kind = type(other).__name__
        with pytest.raises(TypeError, match=rf"^model is a {kind}, .* fitted network of scikit"):
            params_of(other)
    folder = tmp_path / "missing"
    with pytest.raises(OSError, match="No such file"):
        interchange.save(folder / "file", [(jnp.eye(2), jnp.zeros(2))])
    assert not folder.exists()


def test_a_failed_save_leaves_the_old_file(ours: Any, tmp_path: Path, monkeypatch: Any) -> None:
    pytest.importorskip("safetensors")
    file = tmp_path / "file"
    interchange.save(file, ours[0])
    before = file.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        interchange.save(file, jax.tree.map(jnp.zeros_like, ours[0]))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
