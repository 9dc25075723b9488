"""Sums and maxima of a GPU: any axes, as exact as the result can be, the same on every card."""

from __future__ import annotations

import math
import shutil

import gpu_kernels as gpu
import numpy as np
import pytest
from emulator import EmulatedDriver
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchctl_engines.kernels.cuda_reductions import plan_folds
from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.primitives.specs import spec

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

DRIVER = EmulatedDriver(2**28)


def run(driver, name, x, axes, keepdims=False, offset=0):
    attributes = {"axes": axes, "keepdims": keepdims}
    outputs = PRIMITIVES[name].output_specs([spec(x.shape, str(x.dtype))], attributes)
    request = gpu.request_for(driver, [x], list(outputs), attributes)
    row = gpu.first_row(request, name)
    return gpu.run_row(driver, row, request, [x], offset=offset)[0]


@st.composite
def reductions(draw):
    """A shape and some of its axes."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 5, 33, 70]), max_size=4)))
    while math.prod(shape) > 60_000:
        shape = shape[1:]
    axes = tuple(axis for axis in range(len(shape)) if draw(st.booleans()))
    return shape, axes


@settings(max_examples=50, deadline=None)
@given(
    reductions(), st.sampled_from(["float32", "float64"]), st.booleans(), st.sampled_from([0, 8])
)
@example(((3, 0, 2), (1,)), "float32", False, 0)
@example(((0, 2), (1,)), "float32", True, 0)
@example(((20_000,), (0,)), "float32", False, 8)
@example(((2, 20_000), (1,)), "float64", False, 0)
@example(((20_000, 3), (0,)), "float32", False, 0)
@example(((5, 2000, 3), (1,)), "float32", False, 0)
@example(((2, 3, 2, 3, 2, 3), (0, 2, 4)), "float32", False, 0)
def test_sums_are_as_exact_as_the_result_can_be(reduction, dtype, keepdims, offset):
    shape, axes = reduction
    x = np.asarray(np.random.default_rng(1).standard_normal(shape) + 10, dtype)
    actual = run(DRIVER, "sum", x, axes, keepdims, offset)
    exact = x.astype(np.longdouble).sum(axis=axes, keepdims=keepdims)
    assert actual.shape == exact.shape
    # A double sum of n float64 may be off by a few roundings; one of float32 only by the last.
    ulps = 0.5001 if dtype == "float32" else 4.0
    assert np.all(np.abs(actual - exact) <= ulps * np.finfo(dtype).eps * np.abs(exact))


@settings(max_examples=50, deadline=None)
@given(reductions(), st.sampled_from(["float32", "float64"]), st.booleans(), st.integers(0, 9))
@example(((20_000,), (0,)), "float32", False, 0)
@example(((20_000, 3), (0,)), "float64", False, 0)
def test_maxima_keep_nan_and_infinities(reduction, dtype, keepdims, seed):
    shape, axes = reduction
    rng = np.random.default_rng(seed)
    x = np.asarray(rng.standard_normal(shape), dtype)
    spoiled = rng.choice([np.nan, np.inf, -np.inf], shape)
    x = np.asarray(np.where(rng.random(shape) < seed / 1000, spoiled, x), dtype)
    actual = run(DRIVER, "max", x, axes, keepdims)
    expected = x.max(axis=axes, keepdims=keepdims)
    assert np.array_equal(actual, expected, equal_nan=True)


def test_the_maximum_of_minus_infinity_is_that():
    x = np.full((3, 40), -np.inf, "float32")
    assert np.all(run(DRIVER, "max", x, (1,)) == -np.inf)


@pytest.mark.parametrize(
    ("shape", "axes"), [((30_000,), (0,)), ((30, 1000), (1,)), ((9000, 4), (0,))]
)
def test_sums_depend_neither_on_the_card_nor_on_the_order_of_its_threads(shape, axes):
    x = np.asarray(np.random.default_rng(0).standard_normal(shape))
    small, large = EmulatedDriver(2**26), EmulatedDriver(2**26, reverse=True)
    large.facts = type(large.facts)("large", 0, 90, 132, 2**36, 2**25, {})
    drawn = EmulatedDriver(2**26, seed=3)
    results = {run(each, "sum", x, axes).tobytes() for each in (small, large, drawn)}
    assert len(results) == 1


@given(reductions())
def test_a_plan_folds_every_element_once(reduction):
    shape, axes = reduction
    x = np.random.default_rng(0).integers(0, 9, shape)
    y = x
    for fold in plan_folds(shape, axes):
        assert (fold.pieces - 1) * fold.chunk < fold.rows <= fold.pieces * fold.chunk
        y = y.reshape(fold.outer, fold.rows, fold.columns)
        starts = np.arange(fold.pieces) * fold.chunk
        y = np.add.reduceat(y, starts, axis=1) if y.size else y
    assert np.array_equal(y.ravel(), x.sum(axis=axes).ravel())


def test_large_sums_are_shared_out_over_many_blocks():
    for shape, axes in (((2**28,), (0,)), ((2**22, 64), (0,)), ((64, 2**22), (1,))):
        first, *rest = plan_folds(shape, axes)
        tasks = first.outer * first.pieces * -(-first.columns // 32)
        assert 256 <= tasks <= 4096 and len(rest) == 1


def test_a_row_cut_short_is_caught(monkeypatch):
    from benchctl_engines.kernels import cuda_reductions

    plan = cuda_reductions.plan_folds

    def short(shape, axes):
        return tuple(
            type(each)(each.kind, each.outer, each.rows, each.columns, each.chunk - 1, each.pieces)
            for each in plan(shape, axes)
        )

    x = np.ones((4, 3000), "float32")
    assert np.all(run(DRIVER, "sum", x, (1,)) == 3000)
    monkeypatch.setattr(cuda_reductions, "plan_folds", short)
    assert not np.all(run(DRIVER, "sum", x, (1,)) == 3000)
