from collections import OrderedDict
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.correct_candidates import LAYOUTS, SIZES, network

import fcnet
from fcnet.arrays import dtype_of, library_of
from fcnet.layouts import Layout, layouts_of

TRANSPOSED = {"in, out", "scikit-learn", "Flax", "list of dicts"}
NAMES = {
    "pairs": ["params[0].W", "params[0].b", "params[1].W", "params[1].b"],
    "fcnet": ["params[0].W", "params[0].b", "params[1].W", "params[1].b"],
    "flat list": ["W1", "b1", "W2", "b2"],
    "two lists": ["W1", "b1", "W2", "b2"],
    "names": ["W1", "b1", "W2", "b2"],
    "lists by name": ["weights[0]", "biases[0]", "weights[1]", "biases[1]"],
    "PyTorch": ["0.weight", "0.bias", "2.weight", "2.bias"],
    "scikit-learn": ["coefs_[0]", "intercepts_[0]", "coefs_[1]", "intercepts_[1]"],
    "Flax": [f"params.Dense_{k}.{leaf}" for k in (0, 1) for leaf in ("kernel", "bias")],
    "list of dicts": ["params[0].w", "params[0].b", "params[1].w", "params[1].b"],
}


def same(one: object, other: object) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def only(params: object) -> Layout:
    (layout,) = layouts_of(params)
    return layout


@pytest.mark.parametrize("sizes", [SIZES, (3, 1), (2, 5, 1, 3), (1, 1, 4)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_found_read_and_written(name, sizes):
    pairs = network(sizes)
    params = LAYOUTS[name].write(pairs)
    layout = only(params)
    assert layout.sizes == sizes
    same([tuple(layer) for layer in layout.read(params)], pairs)
    others = network(sizes, seed=5)
    written = layout.write(tuple(fcnet.Layer(*pair) for pair in others), params)
    assert jax.tree.structure(written) == jax.tree.structure(params)
    same(LAYOUTS[name].read(written), others)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_the_users_own(name):
    layout = only(LAYOUTS[name].write(network()))
    assert [slot.name for slot in layout.slots] == NAMES[name]
    assert [(slot.layer, slot.role) for slot in layout.slots] == [
        (1, "W"), (1, "b"), (2, "W"), (2, "b"),
    ]  # fmt: skip
    assert layout.transposed == (name in TRANSPOSED)


def test_gradients_of_short_names_take_a_d():
    names = [slot.gradient_name for slot in only(LAYOUTS["names"].write(network())).slots]
    assert names == ["dW1", "db1", "dW2", "db2"]
    names = [slot.gradient_name for slot in only(LAYOUTS["PyTorch"].write(network())).slots]
    assert names == NAMES["PyTorch"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_index_is_where_the_user_finds_the_number(name):
    pairs = network()
    params = LAYOUTS[name].write(pairs)
    layout = only(params)
    leaves = layout.leaves(params)
    notes = [leaf for pair in pairs for leaf in pair]
    for slot, mine, theirs in zip(layout.slots, notes, leaves, strict=True):
        for index in np.ndindex(*mine.shape):
            assert theirs[slot.where(index)] == mine[index]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_libraries_and_dtypes_stay(dtype):
    pairs = network(dtype=jnp.dtype(dtype))
    with jax.enable_x64(True):
        for params in (pairs, jax.tree.map(jnp.asarray, pairs)):
            layout = only(params)
            read = layout.read(params)
            written = layout.write(read, params)
            for old, new in zip(jax.tree.leaves(params), jax.tree.leaves(written), strict=True):
                assert new is not old
                assert library_of(new) is library_of(old)
                assert dtype_of(new) == jnp.dtype(dtype)
            same(written, params)
            assert {leaf.dtype for leaf in jax.tree.leaves(read)} == {np.dtype("float64")}
            wider = layout.write(read, params, np.float64)
            assert {leaf.dtype for leaf in jax.tree.leaves(wider)} == {np.dtype("float64")}


def test_modules_of_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is a dependency of the tests only")
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
    for params in (dict(module.named_parameters()), module.state_dict()):
        layout = only(params)  # square, but torch.nn.Linear is known to be (out, in)
        assert layout.transposed is False
        assert layout.sizes == (4, 4, 4)
        written = layout.write(layout.read(params), params)
        assert type(written) is type(params)
        assert list(written) == ["0.weight", "0.bias", "2.weight", "2.bias"]
        for old, new in zip(params.values(), written.values(), strict=True):
            assert torch.equal(old, new)
            assert new.requires_grad == old.requires_grad


@pytest.mark.usefixtures("exact_products")
def test_estimators_of_scikit_learn():
    neural_network = pytest.importorskip("sklearn.neural_network")
    model = neural_network.MLPRegressor(hidden_layer_sizes=(3,), max_iter=1, random_state=0)
    X = np.random.default_rng(0).normal(size=(9, 4))
    with pytest.warns(match="converge"):
        model.fit(X, X[:, :2])
    params = {"coefs_": model.coefs_, "intercepts_": model.intercepts_}
    layers = only(params).read(params)
    outputs = [fcnet.forward(jax.tree.map(jnp.asarray, layers), x) for x in X]
    np.testing.assert_allclose(outputs, model.predict(X), rtol=1e-4)


def test_a_single_neuron():
    params = [np.array([1.0, 2.0, 3.0]), 0.5]
    layout = only(params)
    assert layout.sizes == (3, 1)
    assert layout.read(params)[0].W.tolist() == [[1.0, 2.0, 3.0]]
    W, b = layout.write(layout.read(params), params)
    assert W.tolist() == [1.0, 2.0, 3.0]
    assert b == 0.5


def test_lists_of_numbers():
    params = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [1.0, 2.0, 3.0], [[1.0, 2.0, 3.0]], [0.5]]
    layout = only(params)
    assert layout.sizes == (2, 3, 1)
    assert layout.write(layout.read(params), params) == params


def test_square_layers_are_open_unless_a_name_or_type_tells():
    square = network((3, 3, 3))
    for name in ("pairs", "flat list", "names", "column biases", "lists by name"):
        params = LAYOUTS[name].write(square)
        ways = layouts_of(params)
        assert [way.transposed for way in ways] == [False, True]
        same(ways[0].read(params)[0].W, ways[1].read(params)[0].W.T)
    for name in ("fcnet", "PyTorch", "scikit-learn", "Flax"):
        params = LAYOUTS[name].write(square)
        same([tuple(layer) for layer in only(params).read(params)], square)


def test_layers_of_one_unit_leave_nothing_open():
    assert only(LAYOUTS["pairs"].write(network((1, 1, 1)))).transposed is None


def test_numbers_in_names_order_the_layers():
    pairs = network((2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12))
    params = {f"{n}{k}": pairs[k - 1]["Wb".index(n)] for n in "bW" for k in range(10, 0, -1)}
    same([tuple(layer) for layer in only(params).read(params)], pairs)


def test_without_numbers_the_order_of_the_mapping_counts():
    (W1, b1), (W2, b2) = network()
    params = OrderedDict(zeta={"w": W1, "b": b1}, alpha={"w": W2, "b": b2})
    layout = only(params)
    assert layout.sizes == SIZES
    assert isinstance(layout.write(layout.read(params), params), OrderedDict)


def test_assign_fills_the_users_own_arrays():
    params = LAYOUTS["in, out"].write(network())
    layout, others = only(params), network(seed=7)
    arrays = jax.tree.leaves(params)
    assert layout.assign(tuple(fcnet.Layer(*pair) for pair in others), params)
    assert all(a is b for a, b in zip(arrays, jax.tree.leaves(params), strict=True))
    same(LAYOUTS["in, out"].read(params), others)
    fixed = jax.tree.map(jnp.asarray, params)
    assert not only(fixed).assign(layout.read(params), fixed)


def test_nothing_written_shares_memory_with_what_was_read():
    params = LAYOUTS["pairs"].write(network())
    layout = only(params)
    read = layout.read(params)
    written = layout.write(read, params)
    params[0][0][:] = 7
    assert not (read[0].W == 7).any()
    assert not (written[0][0] == 7).any()


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.sampled_from(sorted(LAYOUTS)))
def test_any_sizes(sizes, name):
    pairs = network(tuple(sizes))
    params = LAYOUTS[name].write(pairs)
    ways = layouts_of(params)
    assert all(way.sizes == tuple(sizes) for way in ways)
    assert any(
        jax.tree.all(jax.tree.map(np.array_equal, [tuple(v) for v in way.read(params)], pairs))
        for way in ways
    )
    assert len(ways) == 1 or len(set(sizes)) == 1


W, b = np.ones((3, 4)), np.ones(3)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ([], TypeError, "one W and one b for each layer, got nothing"),
        (None, TypeError, "params must be an array"),
        ("W1", TypeError, "params must be an array"),
        ([(W, None)], TypeError, r"params\[0\]\[1\] must be an array.*NoneType"),
        ([W, b, W.T], TypeError, "one W and one b for each layer"),
        ({"W1": W, "gamma": b}, TypeError, "W1, gamma; use pairs"),
        ({"W1": W, "W2": W, "b1": b}, TypeError, "one W and one b"),
        ({"W1": W, "w1": W, "b1": b}, TypeError, "one W and one b"),
        ([(W.astype(int), b)], TypeError, "floating, of 16 to 64 bits, got int64"),
        ([(W.astype(np.longdouble), b)], TypeError, "of 16 to 64 bits"),
        ([(W.astype("float8_e4m3fn"), b)], TypeError, "of 16 to 64 bits, got float8_e4m3fn"),
        ([(W, b), (W, b)], ValueError, r"chain.*params\[0\]\[0\] \(3, 4\)"),
        ([(W, np.ones(5))], ValueError, "do not chain"),
        ([(W, np.ones((3, 1, 1)))], ValueError, "do not chain"),
        ([(np.ones((3, 4, 1)), b)], ValueError, "do not chain"),
    ],
)
def test_what_cannot_be_read_is_refused(params, error, words):
    with pytest.raises(error, match=words):
        layouts_of(params)


def test_changed_containers_are_not_read():
    params = LAYOUTS["names"].write(network())
    layout = only(params)
    with pytest.raises(ValueError, match=r"W1, b1, W2, b2 and no more, got .*A1"):
        layout.read(params | {"A1": np.ones(3)})
    same(layout.read(MappingProxyType(params)), layout.read(params))
