"""Counted work against loops over the definition, and clocks that see every kernel call."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchctl_engines.contract import EngineOptions, ProfiledRunner
from benchctl_engines.devices.launch_clock import Call, LaunchClock
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.manual.engine import make_engine as make_manual
from benchctl_engines.primitives.specs import spec
from benchctl_engines.primitives.work import Work, work_of
from benchctl_engines.static.engine import make_engine as make_static
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.xyz import Xyz

WINDOW = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "layout": "NCHW"}
X, W = (2, 3, 7, 6), (4, 3, 3, 2)


def products_by_enumeration() -> tuple[int, tuple[int, int, int, int]]:
    """How many products the direct sum has, padding included, and the result's shape."""
    (N, C, H, width), (K, _, R, S) = X, W
    rows = range(0, H + 1 - R + 1, 2)
    columns = range(width + 3 - S + 1)
    axes = (range(N), range(K), rows, columns, range(C), range(R), range(S))
    return sum(1 for _ in itertools.product(*axes)), (N, K, len(rows), len(columns))


def test_a_convolution_counts_two_for_every_product():
    products, y = products_by_enumeration()
    x, w, out = (spec(shape, "float32") for shape in (X, W, y))
    moved = 4 * (np.prod(X) + np.prod(W) + np.prod(y))
    assert work_of("conv2d", (x, w), (out,), WINDOW) == Work(2 * products, moved)
    own = {**WINDOW, "input_shape": X}
    assert work_of("conv2d_input_gradient", (out, w), (x,), own).flops == 2 * products
    own = {**WINDOW, "filter_shape": W}
    assert work_of("conv2d_filter_gradient", (x, out), (w,), own).flops == 2 * products


def test_pooling_does_not_hide_the_convolution_below_it():
    x, w, b = (spec(shape, "float32") for shape in ((1, 8, 6, 6), (4, 8, 3, 3), (4,)))
    window = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "layout": "NCHW", "relu": True}
    whole = work_of("conv2d_epilogue", (x, w, b), (spec((1, 4, 6, 6), "float32"),), window)
    pooled = {**window, "pool": True}
    half = work_of("conv2d_epilogue", (x, w, b), (spec((1, 4, 3, 3), "float32"),), pooled)
    assert whole.flops == half.flops == 2 * 36 * 4 * 8 * 9
    assert whole.bytes_moved - half.bytes_moved == 4 * 4 * (36 - 9)


@pytest.mark.parametrize("transpose_a", [False, True])
def test_a_matrix_product_counts_its_depth(transpose_a):
    a = spec((5, 3) if transpose_a else (3, 5), "float32")
    b, out = spec((5, 7), "float32"), spec((3, 7), "float32")
    flags = {"transpose_a": transpose_a, "transpose_b": False}
    assert work_of("matmul", (a, b), (out,), flags).flops == 2 * 3 * 5 * 7
    assert work_of("matmul_update", (out, a, b), (out,), flags).flops == 2 * 3 * 5 * 7


def runner_of(engine, workload, **axes):
    case = {axis.name: axis.default for axis in workload.axes} | axes
    rng = np.random.default_rng(0)
    parameters, inputs = workload.parameters(case, rng), workload.inputs(case, rng)
    runner = engine.prepare(workload, case, parameters, inputs, EngineOptions(threads=2))
    runner.build()
    runner.compile()
    runner.step()
    return runner


@pytest.mark.parametrize("make", [make_static, make_eager])
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_profile_has_every_call_in_order(make, mode):
    axes = {"image_size": 32, "width": 16, "mode": mode}
    runner = runner_of(make(), Vgg16(), **axes)
    before = runner.facts().kernels
    assert isinstance(runner, ProfiledRunner)
    found = runner.profile(3)
    starts = [each.start_seconds for each in found.launches]
    assert starts == sorted(starts)
    assert all(each.seconds > 0 and each.bytes_moved > 0 for each in found.launches)
    assert {each.kernel for each in found.launches} <= set(before) | set(runner.facts().kernels)
    # The convolutions and dense layers of the network, whichever engine runs them.
    products = sum(each.flops for each in found.launches if "conv2d" in each.kernel)
    products += sum(each.flops for each in found.launches if "matmul" in each.kernel)
    case = {axis.name: axis.default for axis in Vgg16().axes} | axes
    count = sum(each.size for each in Vgg16().parameters(case, np.random.default_rng(0)).values())
    updates = 2 * count if mode == "training" else 0
    assert products == Vgg16().cost(case).flops - updates


@pytest.mark.parametrize("switches", [{}, {"bind_early": "off"}, {"passes": "off"}])
def test_a_profiled_step_is_as_before(switches):
    workload = Xyz()
    case = {axis.name: axis.default for axis in workload.axes}
    inputs = workload.inputs(case, np.random.default_rng(1))
    options = EngineOptions(switches=switches)
    runner = make_static().prepare(workload, case, {}, inputs, options)
    runner.build()
    runner.compile()
    runner.step()
    before = {name: each.copy() for name, each in runner.outputs().items()}
    profile = runner.profile(2)
    assert len(profile.launches) == runner.facts().counts["launches"]
    runner.step()
    assert {name: each.tobytes() for name, each in runner.outputs().items()} == {
        name: each.tobytes() for name, each in before.items()
    }


def test_an_engine_without_kernels_of_its_own_cannot_be_profiled():
    assert not isinstance(runner_of(make_manual(), Xyz()), ProfiledRunner)


def test_steps_that_differ_are_refused():
    clock = LaunchClock()
    call = Call("add:loop", "3", Work(3, 36))
    timed = clock.timed(call, lambda: None)
    clock.run(timed)
    clock.run(lambda: (timed(), timed()))
    with pytest.raises(ValueError, match="2 different sequences"):
        clock.profile(1.0)
