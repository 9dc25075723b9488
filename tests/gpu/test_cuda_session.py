"""Sessions on an emulated GPU: host arrays in and out, state on the device."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from benchctl_engines import static
from benchctl_engines.primitives import operations
from benchctl_engines.primitives.nan_check import NanError
from benchctl_engines.primitives.randomness import random
from benchctl_engines.static import Graph, PassSwitches, Session
from benchctl_engines.static.graph import step_counter
from benchctl_engines.static.session import group

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

SWITCHES = {
    "all": PassSwitches(),
    "none": PassSwitches.none(),
    "recorded alone": PassSwitches.only("capture"),
    "poisoned": PassSwitches(poison=True),
}


@pytest.fixture
def graph():
    with Graph().as_default() as made:
        yield made


def session(graph, switches="all", **named):
    return Session(graph, switches=SWITCHES[switches], device="gpu", threads=1, **named)


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_run_sees_its_own_feeds(switches, driver, graph):
    x = static.placeholder("float32", (2, 3), "x")
    y = operations.tanh(x * 2.0) + x
    with session(graph, switches) as running:
        for seed in range(5):
            fed = np.random.default_rng(seed).standard_normal((2, 3), dtype=np.float32)
            found = running.run([y, x], {x: fed})
            np.testing.assert_allclose(found[0], np.tanh(2 * fed) + fed, rtol=1e-6)
            np.testing.assert_array_equal(found[1], fed)
            assert all(type(each) is np.ndarray for each in found)


def test_feeds_are_converted_or_refused_as_on_the_cpu(driver, graph):
    x = static.placeholder("float32", (2,), "x")
    running = session(graph)
    assert running.run(x * 2.0, {x: [1, 2]}).tolist() == [2.0, 4.0]
    with pytest.raises(ValueError, match=r"expected float32\[2\]"):
        running.run(x * 2.0, {x: np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="expected 1 feed"):
        running.make_callable(x * 2.0, [x])()


@pytest.mark.parametrize("switches", SWITCHES)
def test_variables_live_on_the_device_and_are_fetched_before_or_after(switches, driver, graph):
    given = np.arange(4, dtype=np.float32)
    w = static.variable(given, name="w")
    updated = operations.assign_sub(w, 0.5 * operations.multiply(w, w))
    running = session(graph, switches)
    expected = given.copy()
    for _ in range(5):
        before, after, _ = running.run([w, updated, group(updated)])
        np.testing.assert_array_equal(before, expected)
        expected = expected - np.float32(0.5) * expected * expected
        np.testing.assert_allclose(after, expected, rtol=1e-6)
        expected = after
        np.testing.assert_array_equal(running.value_of(w), after)
    np.testing.assert_array_equal(given, np.arange(4))


def test_programs_of_a_session_share_their_state(driver, graph):
    w = static.variable(np.ones(3, np.float32), name="w")
    x = static.placeholder("float32", (3,), "x")
    step = operations.assign_sub(w, x)
    running = session(graph)
    for count in range(1, 5):
        running.run(group(step), {x: np.ones(3, np.float32)})
        assert running.run(w + 0.0).tolist() == [1.0 - count] * 3


@pytest.mark.parametrize("switches", SWITCHES)
def test_random_numbers_are_new_at_every_step_and_those_of_the_cpu(switches, driver, graph):
    drawn = random(
        step_counter(graph), shape=(64,), dtype="float32", seed=7, site=0, distribution="uniform"
    )
    running = session(graph, switches)
    found = [running.run(drawn) for _ in range(5)]
    on_the_cpu = Session(graph, threads=1)
    for each in found:
        np.testing.assert_array_equal(each, on_the_cpu.run(drawn))
    assert len({each.tobytes() for each in found}) == 5


def test_a_value_fetched_twice_is_two_arrays(driver, graph):
    x = static.placeholder("float32", (3,), "x")
    y = x * 3.0
    first, second = session(graph).run([y, y], {x: np.ones(3, np.float32)})
    assert first is not second and first.tolist() == second.tolist() == [3.0] * 3


def test_empty_arrays_are_nothing_to_copy(driver, graph):
    x = static.placeholder("float32", (0, 3), "x")
    found = session(graph).run([x + 1.0, x], {x: np.ones((0, 3), np.float32)})
    assert [each.shape for each in found] == [(0, 3)] * 2


def test_a_nan_is_found_at_the_line_that_made_it(driver, graph):
    x = static.placeholder("float32", (2,), "x")
    y = operations.exp(operations.log(x))
    running = Session(graph, switches=PassSwitches(check_nan=True), device="gpu", threads=1)
    running.run(y, {x: np.ones(2, np.float32)})
    with pytest.raises(NanError, match="log made a NaN"):
        running.run(y, {x: -np.ones(2, np.float32)})
    assert "check_nan looks at every result" in str(running.explain(y))


def test_a_failing_launch_names_the_users_line(driver, graph):
    x = static.placeholder("float32", (2,), "x")
    y = operations.exp(x)
    running = Session(graph, switches=PassSwitches(capture=False), device="gpu", threads=1)
    program = running.compiled(y)

    def failing(*arrays):
        raise RuntimeError("the device is gone")

    program.bound["k0"] = failing
    with pytest.raises(RuntimeError, match="the device is gone") as caught:
        running.run(y, {x: np.ones(2, np.float32)})
    note = caught.value.__notes__[0]
    assert "while running exp" in note and "test_cuda_session.py" in note


def test_explain_says_what_was_recorded(driver, graph):
    x = static.placeholder("float32", (2,), "x")
    y = operations.exp(x)
    running = session(graph)
    assert "not yet run often enough" in str(running.explain(y))
    for _ in range(3):
        running.run(y, {x: np.ones(2, np.float32)})
    report = running.explain(y).passes[-1]
    assert (report.name, report.enabled, report.after) == ("capture", True, 1)


def test_a_closed_session_holds_no_memory(driver, graph):
    w = static.variable(np.ones(1000, np.float32), name="w")
    running = session(graph)
    for _ in range(3):
        running.run(w * 2.0)
    running.close()
    assert driver.memory.used == 0
