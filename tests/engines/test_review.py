"""Regression tests of faults found by reading the engines against their claims."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import weakref
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import benchctl_engines
from benchctl_engines import eager, static
from benchctl_engines.contract import EngineOptions, Outputs
from benchctl_engines.devices.cpu import POOLED_BYTES, Device
from benchctl_engines.eager.engine import EagerRunner
from benchctl_engines.kernels import code_cache
from benchctl_engines.static import Graph, PassSwitches, Session
from benchctl_engines.static.engine import StaticRunner

SWITCHES = {
    "all": PassSwitches(),
    "none": PassSwitches.none(),
    "interpreted": PassSwitches(bind_early=False),
}
LARGE = POOLED_BYTES // 4 + 7232


@pytest.fixture
def graph():
    with Graph().as_default() as graph:
        yield graph


@pytest.fixture(params=list(SWITCHES))
def session(graph, request):
    return Session(graph, switches=SWITCHES[request.param], threads=1)


@contextmanager
def without_cycle_collection():
    """What is freed inside is freed by reference counts alone."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ----- gradients belong to who asked for them ---------------------------------------------------


def test_a_gradient_changed_in_place_does_not_spoil_later_gradients():
    x = eager.tensor(np.array(2.0, "float64"), requires_grad=True)
    try:
        eager.gradients(x + 1.0, [x])[0].numpy()[...] = 5.0
        assert eager.gradients(x * 3.0, [x])[0].item() == 3.0
    finally:
        if x.kind.one is not None:
            x.kind.one.array[...] = 1.0  # shared by every test of this process


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_of_two_inputs_share_no_memory(create_graph):
    a, b = (eager.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    output = eager.sum(a + b)
    first, second = eager.gradients(output, [a, b], create_graph=create_graph)
    assert not np.shares_memory(first.array, second.array)


def test_a_gradient_is_not_the_seed_itself():
    a = eager.tensor([1.0, 2.0], requires_grad=True)
    seed = np.ones(2, "float32")
    (gradient,) = eager.gradients(a + 1.0, [a], [seed])
    assert not np.shares_memory(gradient.array, seed)


def test_a_seed_given_while_building_counts_as_it_was_then(graph, session):
    seed = np.ones(3, "float32")
    x = static.placeholder("float32", (3,))
    (gradient,) = static.gradients(x * 2.0, [x], [seed])
    seed[:] = 100.0
    assert session.run(gradient, {x: np.ones(3)}).tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("change", ["leaf", "result"])
def test_changing_a_value_that_backward_needs_is_no_silent_fault(change):
    # d(x*x)/dx at 3 is 6; after y = 0 * x + 0 nothing of x is left in y.
    x = eager.tensor([3.0], requires_grad=True)
    try:
        if change == "leaf":
            y, expected = x * x, 6.0
            with eager.no_grad():
                eager.assign_sub(x, 1.0)
        else:
            y, expected = x * 2.0, 0.0
            eager.assign(y, eager.tensor([0.0]))
        found = eager.gradients(y.sum(), [x])[0]
    except (RuntimeError, ValueError):
        return  # refusing is as good
    assert (0.0 if found is None else found.item()) == expected


# ----- axes of size zero ------------------------------------------------------------------------


@pytest.mark.parametrize("filter_size", [1, 3])
@pytest.mark.parametrize(("N", "C", "K"), [(0, 3, 4), (2, 0, 4), (2, 3, 0), (0, 0, 0)])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_convolutions_of_nothing(layout, N, C, K, filter_size):
    R = filter_size
    shapes = [(N, C, 6, 6), (K, C, R, R)] if layout == "NCHW" else [(N, 6, 6, C), (R, R, C, K)]
    x, w = (eager.tensor(np.ones(shape, "float32"), requires_grad=True) for shape in shapes)
    y = eager.conv2d(x, w, layout=layout)
    y.sum().backward()
    P = 7 - R
    assert y.shape == ((N, K, P, P) if layout == "NCHW" else (N, P, P, K))
    assert not y.array.any()
    # No output channel, no image or no element: nothing pulls on the inputs.
    if K == 0 or y.spec.size == 0:
        assert not x.grad.array.any()
        assert not w.grad.array.any()


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0)])
def test_updates_of_empty_variables(graph, session, rows, columns):
    a, b = static.placeholder(shape=(7, rows)), static.placeholder(shape=(7, columns))
    w = static.variable(np.ones((rows, columns), "float32"))
    update = static.assign_sub(w, 0.1 * static.matmul(a, b, transpose_a=True))
    result = session.run(update, {a: np.ones((7, rows)), b: np.ones((7, columns))})
    assert result.shape == (rows, columns)


# ----- masks ------------------------------------------------------------------------------------


def _masks(ops, x, z):
    positive, large = ops.greater(x, 0.0), ops.greater(z, 0.0)
    return [
        ops.multiply(positive, large),
        ops.add(positive, large),
        ops.maximum(positive, large),
        ops.where(positive, large, ops.greater(x, -1.5)),
        # True + True is True: the sum of two masks is a mask again.
        ops.equal(ops.add(positive, large), ops.greater(x, -100.0)),
    ]


@pytest.mark.parametrize("place", range(5))
def test_arithmetic_of_masks_is_that_of_numpy(graph, session, place):
    x, z = static.placeholder(shape=(4,)), static.placeholder(shape=(4,))
    a, b = np.array([1, -1, 2, -2], "float32"), np.array([1, 1, -1, -1], "float32")
    p, q = a > 0, b > 0
    expected = [p & q, p | q, p | q, np.where(p, q, a > -1.5), (p | q) == (a > -100)][place]
    got = session.run(_masks(static, x, z)[place], {x: a, z: b})
    assert got.dtype == np.bool_
    assert got.tolist() == expected.tolist()


# ----- floats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, LARGE])
def test_relu_of_negative_zero_has_one_sign_everywhere(graph, session, size):
    x = static.placeholder(shape=(size,))
    zeros = np.full(size, -0.0, "float32")
    small = eager.tensor(zeros[:4])
    with np.errstate(divide="ignore"):
        expected = (1.0 / eager.relu(small)).array[0]
        got = session.run(1.0 / static.relu(x), {x: zeros})
        also = (1.0 / eager.relu(eager.tensor(zeros))).array
    assert set(got.tolist()) == set(also.tolist()) == {float(expected)}


@pytest.mark.parametrize("size", [4, LARGE])
def test_foreign_byte_order_is_converted(size):
    numbers = np.arange(size, dtype=">f4")
    x = eager.tensor(numbers)
    assert x.array.dtype.isnative
    np.testing.assert_array_equal((x * x).array, numbers * numbers)
    np.testing.assert_array_equal((x + numbers).array, numbers + numbers)


# ----- memory -----------------------------------------------------------------------------------


def test_a_leaf_goes_with_its_last_reference():
    with without_cycle_collection():
        x = eager.tensor(np.ones(LARGE, "float32"), requires_grad=True)
        (x * x).sum().backward()
        alive = weakref.ref(x)
        del x
        assert alive() is None


def test_the_pool_does_not_keep_a_block_for_every_size_it_has_seen():
    device = Device()
    device.pool.idle_limit_bytes = 4 * LARGE * 4
    for extra in range(200):
        x = eager.tensor(np.ones(LARGE + extra, "float32"), device=device)
        y = x * x
        del x, y
    assert device.pool.held_bytes <= 8 * (LARGE + 200) * 4


def test_a_closed_session_frees_its_memory_at_once(graph):
    x = static.placeholder(shape=(64, 64))
    y = static.matmul(static.matmul(x, x), x)
    session = Session(graph)
    with without_cycle_collection():
        session.run([y], {x: np.ones((64, 64), "float32")})
        call = weakref.ref(session.program([y], [True], (x,)).call)
        assert call() is not None
        session.close()
        assert call() is None


def test_a_program_in_use_is_not_compiled_again(graph):
    x = static.placeholder(shape=(3,))
    hot = static.exp(x) * 2.0
    others = [x + float(number) for number in range(24)]
    session = Session(graph, switches=PassSwitches.none())
    feed = {x: np.ones(3, "float32")}
    session.run([hot], feed)
    for other in others:
        session.run([other], feed)
        before = session.compile_seconds
        session.run([hot], feed)
        assert session.compile_seconds == before


# ----- runners ----------------------------------------------------------------------------------


class Difference:
    """x - z; p is not used."""

    name = "difference"

    def __init__(self, step="forward", differentiate=()):
        self._step, self._differentiate = step, differentiate

    def step(self, case):
        return self._step

    def differentiate(self, case):
        return self._differentiate

    def learning_rate(self, case):
        return 0.1

    def by_hand(self, case):
        return None

    def program(self, ops, parameters, inputs, case):
        y = ops.subtract(inputs["x"], inputs["z"])
        return Outputs({"y": y}, ops.sum(y))


@pytest.mark.parametrize("entry", ["run", "callable"])
def test_inputs_are_loaded_by_name(entry):
    x, z = np.full(3, 5.0, "float32"), np.ones(3, "float32")
    options = EngineOptions(switches={"entry": entry})
    runner = StaticRunner(Difference(), {}, {}, {"x": x, "z": z}, options)
    runner.build()
    runner.compile()
    runner.load({"z": z, "x": x})
    runner.step()
    assert runner.outputs()["y"].tolist() == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("make", [EagerRunner, StaticRunner])
def test_a_gradient_that_nothing_depends_on_is_zero_or_named(make):
    x, p = np.ones(3, "float32"), np.ones(2, "float32")
    workload = Difference("gradient", ("x", "p"))
    try:
        runner = make(workload, {}, {"p": p}, {"x": x, "z": x}, EngineOptions())
        runner.build()
        runner.compile()
        runner.step()
        found = runner.outputs()
    except (ValueError, RuntimeError) as error:
        assert "'p'" in str(error) or " p " in str(error)
    else:
        assert found["grad_p"].tolist() == [0.0, 0.0]


# ----- the cache of generated code --------------------------------------------------------------

_REFUSES_READ_ONLY = """
import numpy as np
from benchctl_engines import static
from benchctl_engines.kernels import code_cache

code_cache.use_directory({cache!r})
with static.Graph().as_default() as graph:
    x = static.placeholder(shape=(3,))
    y = x * x + x
launch = static.Session(graph).program([y], [True], (x,)).launches[0]
fed = np.ones(3, "float32")
fed.flags.writeable = False
try:
    print(launch.prepared.raw()(np.empty(3, "float32"), fed))
except TypeError:
    print("refused")
"""


def test_cached_code_of_another_version_is_not_used(tmp_path):
    package = Path(benchctl_engines.__file__).parent
    changed = tmp_path / "changed"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, changed / "benchctl_engines", ignore=ignored)
    place = changed / "benchctl_engines" / "kernels" / "raw_arrays.py"
    text = place.read_text()
    assert "0x0101" in text, "this test widens the flags that an argument must have"
    place.write_text(text.replace("0x0101", "0x0501"))
    script = _REFUSES_READ_ONLY.format(cache=str(tmp_path / "cache"))

    def run(*first: Path) -> str:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, first)))
        command = [sys.executable, "-c", script]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert run(package.parent) == "0"
    assert run(changed) == "refused"


def test_a_cache_that_cannot_be_written_costs_no_result(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    before = list(code_cache._DIRECTORY)
    code_cache.use_directory(tmp_path / "file" / "cache")
    try:
        x = eager.tensor(np.full(LARGE, 3.0, "float32"), device=Device())
        assert set((x * x).array.tolist()) == {9.0}
    finally:
        code_cache._DIRECTORY[:] = before
