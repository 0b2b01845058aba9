"""One run on several devices or processes ends where it does on one device."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from support import mesh_run
from support.problems import assert_same_bits, relative_errors

from fcnet.train.fit import fit
from fcnet.train.mesh import as_mesh
from fcnet.train.sweep import sweep

pytestmark = pytest.mark.untyped  # whole programs, as users run them

ROOT = Path(__file__).parents[2]
LAUNCH = str(ROOT / "scripts" / "launch_local")


def start(folder, processes, devices, *cases):
    """The results of the cases in each of the processes, by case."""
    script = ROOT / "tests" / "support" / "mesh_run.py"
    command = [sys.executable, str(script), str(folder), str(devices), *cases]
    if processes > 1:
        command = [sys.executable, LAUNCH, str(processes), *command]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return {case: [load(folder, case, number) for number in range(processes)] for case in cases}


def load(folder, case, number):
    with np.load(Path(folder) / f"{case}-{number}.npz") as arrays:
        return list(arrays.values())


CASES = ("resident", "on_disk", "full", "iterable", "plain", "diverging")
ALONE = (*CASES, "line_search", "operations")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The result of a case on one CPU device; the processes of a mesh have CPU devices too."""
    outcomes = start(tmp_path_factory.mktemp("alone"), 1, 1, *ALONE)
    return lambda case: outcomes[case][0]


def distance(one, other):
    """The largest relative error of any array."""
    return max(relative_errors(one, other).values())


TOLERANCE = {
    "resident": 1e-6,  # in float32, of all parameters as one array; the others in float64
    "line_search": 1e-9,  # each step amplifies the rounding of those before it
}


def assert_as_alone(outcomes, case, alone):
    """Each process has what one device has."""
    for outcome in outcomes[case]:
        assert distance(outcome, alone(case)) < TOLERANCE.get(case, 1e-12), case


@pytest.mark.slow
def test_eight_devices(alone, tmp_path):
    cases = ("resident", "line_search", "indivisible", "operations", "descent")
    outcomes = start(tmp_path, 1, 8, *cases)
    for case in ("resident", "line_search"):
        assert_as_alone(outcomes, case, alone)
    assert [str(message) for message in outcomes["indivisible"][0]] == [
        f'{name} must be a multiple of the 4 places on the axis "data" of the mesh, got {number}'
        for name, number in (("batch_size", 17), ("n, the number of examples,", 99))
    ]
    assert [str(message).split(", expected one")[0] for message in outcomes["descent"][0]] == [
        f"{name} lies on 8 devices" for name in ("X", "Y", "params", "key")
    ]
    [here], [[there]] = alone("operations"), outcomes["operations"]
    assert there < here / 4, "four places of the axis data alone would not do"


@pytest.mark.slow
def test_two_processes(alone, tmp_path):
    cases = ("own_key", "full_disk", "signalled", "iterable", "wrong_rows", "halves")
    outcomes = start(tmp_path, 2, 2, *cases)
    assert_as_alone(outcomes, "iterable", alone)
    assert distance(outcomes["wrong_rows"][0], alone("iterable")) > 1e-3
    assert {str(*message) for message in outcomes["own_key"]} == {
        "the processes of the mesh differ in key: each must be given the same arguments, and a "
        "checkpoint folder that all of them see"
    }
    mine, other = (str(*message) for message in outcomes["full_disk"])
    assert mine == "no space left"
    assert other.startswith("process 0 could not write the checkpoint")
    assert [list(map(int, outcome)) for outcome in outcomes["signalled"]] == [[15, 50]] * 2
    assert_same_bits(*outcomes["halves"])
    folder = tmp_path / "kept"
    assert [int(path.stem[5:]) for path in sorted(folder.glob("step-*"))] == [0, 50, 100]
    assert distance(outcomes["halves"][0], alone("plain")) < 1e-12
    (folder / "step-0000000100.safetensors").unlink()
    goes_on_alone = mesh_run.train(checkpoint=folder, resume=True)
    assert distance(mesh_run.arrays(goes_on_alone), alone("plain")) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "devices"), [(1, 8), (2, 4), (4, 2)])
def test_every_case(processes, devices, alone, tmp_path):
    outcomes = start(tmp_path, processes, devices, *CASES)
    for case in CASES[:-1]:
        assert_as_alone(outcomes, case, alone)
    for step, finite in outcomes["diverging"]:
        assert (step, finite) == (alone("diverging")[0], True)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_layers_over_several_processes(processes, alone, tmp_path):
    for *across, message in start(tmp_path, processes, 8 // processes, "across")["across"]:
        assert distance(across, alone("plain")) < 1e-12
        assert 'the axis "model" of the mesh goes over several processes' in str(message)


@pytest.mark.slow
def test_a_run_of_several_processes_goes_on_to_the_same_bits(tmp_path):
    outcomes = start(tmp_path, 2, 2, "halves", "plain")
    assert_same_bits(outcomes["halves"], outcomes["plain"])


@pytest.mark.parametrize("names", [("data",), ("model",), ("data", "model"), ("model", "data"), ()])
def test_a_mesh_of_one_device_changes_no_bit(names):
    mesh = jax.make_mesh((1,) * len(names), names)
    assert as_mesh(mesh).axis_names == ("data", "model")
    assert_same_bits(mesh_run.CASES["plain"](None, mesh=mesh), mesh_run.CASES["plain"](None))


def explicitly(mesh, tree):
    """Copies whose rows are split over the axis "data", which is in the types of the arrays."""

    def put(leaf):
        return jax.device_put(leaf, jax.NamedSharding(mesh, jax.P(*["data"][: np.ndim(leaf)])))

    return jax.tree.map(put, tree)


@pytest.fixture
def explicit():
    return jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))


EXPLICIT = ("X", "Y", "X Y", "params", "weights", "validation", "opt_state", "X Y params weights")


@pytest.mark.parametrize("names", EXPLICIT)
@pytest.mark.parametrize("given", [False, True], ids=["without mesh", "with mesh"])
def test_arrays_that_are_split_explicitly_change_no_bit(names, given, explicit):
    with jax.enable_x64(True):
        X, Y = mesh_run.X, mesh_run.Y
        choices = {"key": jax.random.key(7), "batch_size": 16, "steps": 20}
        arrays = {"params": mesh_run.PARAMS, "X": X, "Y": Y, "weights": mesh_run.WEIGHTS}
        arrays["validation"] = X[:9], Y[:9]
        arrays["opt_state"] = fit(**arrays, **choices).opt_state
        split = arrays | {name: explicitly(explicit, arrays[name]) for name in names.split()}
        mesh = {"mesh": explicit} if given else {}
        one, other = fit(**arrays, **choices), fit(**split, **mesh, **choices)
    assert_same_bits(mesh_run.arrays(one), mesh_run.arrays(other))


@pytest.mark.parametrize("given", [False, True], ids=["without mesh", "with mesh"])
def test_a_mesh_with_explicit_axes_that_is_set_changes_no_bit(given, explicit):
    with jax.set_mesh(explicit):
        key, rate = jax.random.key(7), jax.numpy.float32(1e-2)
        assert jax.typeof(rate).sharding.mesh.axis_names == ("data",), "made on the mesh"
        choices = {"key": key, "hyperparameters": {"learning_rate": rate}}
        result = mesh_run.train(**choices, **({"mesh": explicit} if given else {}))
        assert jax.sharding.get_abstract_mesh().axis_names == ("data",), "as it was before"
    rates = {"hyperparameters": {"learning_rate": np.float32(1e-2)}}
    assert_same_bits(mesh_run.arrays(result), mesh_run.arrays(mesh_run.train(**rates)))


def test_a_sweep_of_arrays_that_are_split_explicitly(explicit):
    choices = {"key": jax.random.key(7), "batch_size": 16, "steps": 20}
    X, Y = (array.astype(np.float32) for array in (mesh_run.X, mesh_run.Y))
    params = jax.tree.map(np.float32, mesh_run.PARAMS)
    rates = np.array([1e-3, 1e-2])
    plain = sweep(params, X, Y, hyperparameters={"learning_rate": rates}, **choices)
    X, rates = explicitly(explicit, (X, rates))
    params = explicitly(explicit, params)
    split = sweep(params, X, Y, hyperparameters={"learning_rate": rates}, **choices)
    assert_same_bits(mesh_run.arrays(plain), mesh_run.arrays(split))


def launch(*words):
    """Start scripts/launch_local."""
    command = [sys.executable, LAUNCH, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def python(program):
    return sys.executable, "-c", program


def test_launched_processes_find_each_other():
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    words = f"' '.join(os.environ[name] for name in {names})"
    program = f"import os; os.write(1, ({words} + '\\n').encode())"  # a line in one piece
    with launch("3", *python(program)) as launched:
        out, _ = launched.communicate(timeout=60)
    address, counts, numbers = zip(*map(str.split, out.splitlines()), strict=True)
    assert launched.returncode == 0
    assert len({*address}) == 1
    assert address[0].startswith("127.0.0.1:")
    assert (set(counts), set(numbers)) == ({"3"}, {"0", "1", "2"})


@pytest.mark.parametrize("number", [0, 1])
def test_where_one_process_fails_the_others_are_killed(number):
    mine = f"os.environ['JAX_PROCESS_ID'] == '{number}'"
    program = f"import os, sys, time; {mine} and sys.exit(7); time.sleep(99)"
    with launch("2", *python(program)) as launched:
        assert launched.wait(timeout=60) == 7


def test_a_signal_is_passed_on():
    program = (
        "import os, signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
        "os.write(1, b'ready\\n'); time.sleep(99)"
    )
    with launch("2", *python(program)) as launched:
        assert {launched.stdout.readline() for _ in range(2)} == {"ready\n"}
        launched.terminate()
        assert launched.wait(timeout=60) == 0


@pytest.mark.parametrize("words", [("0", "true"), ("two", "true"), ("2",)])
def test_a_launch_that_cannot_be_says_how(words):
    with launch(*words) as launched:
        _, errors = launched.communicate(timeout=60)
    assert launched.returncode == 1
    assert "scripts/launch_local N COMMAND" in errors
