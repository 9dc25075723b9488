"""Compiling before the first run: nothing is written, and the first run compiles nothing."""

from __future__ import annotations

import kernel_cases as cases
import numpy as np
import pytest

from benchctl_engines.kernels import rehearsal
from benchctl_engines.kernels.code_cache import use_directory
from benchctl_engines.kernels.compile_tally import TALLY, Tally
from benchctl_engines.kernels.compiled import compiled_loop
from benchctl_engines.kernels.loops_state import subtract
from benchctl_engines.primitives.operations import assign_sub, matmul
from benchctl_engines.primitives.specs import spec
from benchctl_engines.static import Graph, Session, placeholder, variable


def fresh():
    """out = a - b, not compiled yet."""
    return compiled_loop()(subtract.py_func)


@pytest.fixture
def fresh_loop(tmp_path):
    use_directory(tmp_path)
    yield fresh()
    use_directory(None)


def test_a_rehearsed_loop_is_compiled_and_not_run(fresh_loop):
    seen = []

    def run(out, a, b):
        fresh_loop(out, a + 1, b)
        seen.append(out.copy())

    rehearsal.rehearse(run, [spec((3,), "float64")], [spec((3,), "float64")] * 2)
    assert len(fresh_loop.signatures) == 1
    assert np.array_equal(seen[0], np.zeros(3))
    before = TALLY.compiled, TALLY.loaded
    out = np.empty(3)
    fresh_loop(out, np.arange(3.0), np.ones(3))
    assert np.array_equal(out, [-1, 0, 1])
    assert (TALLY.compiled, TALLY.loaded) == before


def test_code_is_compiled_once_and_loaded_afterwards(fresh_loop):
    start = TALLY.compiled, TALLY.loaded
    for loop in (fresh_loop, fresh()):
        loop(np.empty(1), np.ones(1), np.ones(1))
    assert (TALLY.compiled, TALLY.loaded) == (start[0] + 1, start[1] + 1)


def test_a_failed_rehearsal_leaves_loops_as_they_were(fresh_loop):
    def run(out, x):
        raise RuntimeError("planned")

    with pytest.raises(RuntimeError, match="planned"):
        rehearsal.rehearse(run, [spec((1,), "float64")], [spec((1,), "float64")])
    out = np.empty(2)
    fresh_loop(out, np.ones(2), np.zeros(2))
    assert np.array_equal(out, [1, 1])


def test_compiling_a_step_changes_no_variable():
    graph = Graph()
    start = cases.draw(600, 512).astype("float32")
    with graph.as_default():
        w = variable(start, name="w")
        x, g = placeholder("float32", (8, 600), "x"), placeholder("float32", (8, 512), "g")
        update = assign_sub(w, 0.5 * matmul(x, g, transpose_a=True))
    session = Session(graph, threads=2)
    call = session.make_callable([update], [x, g])
    assert np.array_equal(session.value_of(w), start)
    a, b = cases.draw(8, 600).astype("float32"), cases.draw(8, 512).astype("float32")
    before = TALLY.compiled, TALLY.loaded
    (updated,) = call(a, b)
    assert (TALLY.compiled, TALLY.loaded) == before
    wanted = start - 0.5 * a.astype(float).T @ b.astype(float)
    assert np.allclose(updated, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("tally", "word"), [(Tally(2, 0), "cold"), (Tally(1, 9), "cold"), (Tally(0, 3), "warm")]
)
def test_one_compiled_loop_makes_a_cold_start(tally, word):
    assert str(tally).startswith(word)
