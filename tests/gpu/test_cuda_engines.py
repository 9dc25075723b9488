"""The engines on an emulated GPU: right, alike in every bit, and doing nothing unseen."""

from __future__ import annotations

import gc
import shutil

import numpy as np
import pytest
from case_names import given_name
from cuda_runs import OFF, PLAIN, assert_right, assert_same, drawn, emulated, prepared, stepped
from emulator import EmulatedDriver
from test_every_engine import CASES, SMALL_HEADS

from benchctl_engines import eager
from benchctl_engines.contract import (
    AsynchronousRunner,
    EngineOptions,
    GraphRunner,
    ProfiledRunner,
)
from benchctl_engines.devices.availability import device_availability
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.gpu.driver import CaptureError
from benchctl_engines.static.engine import make_engine as make_static
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.xyz import Xyz

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

WAYS = {
    "eager": ("eager", {}),
    "static": ("static", {}),
    "static, nothing recorded": ("static", PLAIN),
    "static, passes off": ("static", OFF),
    "static, passes off, recorded": ("static", {**OFF, "capture": "on"}),
}
TINY_VGG16 = {"width": 8, "image_size": 32, "batch": 2}
TRAINING = {**SMALL_HEADS, "mode": "training", "layout": "NHWC"}
XYZ = {"size": "3x4"}


# ----- right results ------------------------------------------------------------------------------


@pytest.mark.parametrize("which", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_a_step_is_right_and_so_is_the_next_on_other_inputs(way, which, driver, tmp_path):
    engine, switches = WAYS[way]
    workload, given = CASES[which]
    case, parameters, inputs = drawn(workload, given)
    runner = prepared(engine, workload, case, parameters, inputs, switches)
    first = stepped(runner)
    assert_right(first, workload, case, parameters, inputs, tmp_path / "first")
    between = {each: first.get(f"parameter/{each}", array) for each, array in parameters.items()}
    _, _, others = drawn(workload, given, seed=6)
    runner.load(others)
    assert_right(stepped(runner), workload, case, between, others, tmp_path / "second")
    assert all(kernel.partition(":")[2] for kernel in runner.facts().kernels)
    runner.close()


@pytest.mark.parametrize("way", WAYS)
def test_losses_of_five_training_steps_are_those_of_float64(way, driver):
    engine, switches = WAYS[way]
    case, parameters, inputs = drawn(Heads(), TRAINING)
    runner = prepared(engine, Heads(), case, parameters, inputs, switches)
    exact = {each: array.astype(np.float64) for each, array in parameters.items()}
    for _ in range(5):
        expected = reference_outputs(Heads(), case, exact, inputs)
        assert float(stepped(runner)["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-4)
        exact = {each: expected[f"parameter/{each}"] for each in exact}
    if engine == "static":
        # Two runs as they are, and from the third on one launch.
        assert runner.replays() is (switches.get("capture", switches.get("passes")) != "off")
    runner.close()


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_tf32_is_right_as_such_and_not_as_float32(engine, driver, tmp_path):
    given = {"layer": "conv5_1", "image_size": 32, "layout": "NHWC"}
    case, parameters, inputs = drawn(Layout(), given)
    strict = stepped(prepared(engine, Layout(), case, parameters, inputs))
    runner = prepared(engine, Layout(), case, parameters, inputs, precision="tf32")
    found = stepped(runner)
    assert_right(found, Layout(), case, parameters, inputs, tmp_path / "tf32", "tf32")
    assert (found["y"] != strict["y"]).any()
    assert any("TF32" in note for note in runner.facts().notes)


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_a_network_written_in_nchw_moves_only_where_that_pays(precision, driver, tmp_path):
    case, parameters, inputs = drawn(Vgg16(), {**TINY_VGG16, "layout": "NCHW"})
    runner = prepared("static", Vgg16(), case, parameters, inputs, precision=precision)
    assert_right(stepped(runner), Vgg16(), case, parameters, inputs, tmp_path / "a", precision)
    facts = runner.facts()
    if precision == "fp32":
        assert any("assign_layouts is off: in strict float32" in note for note in facts.notes)
    else:
        assert facts.counts["assign_layouts.moved"] > 0


def test_the_second_gpu_is_another(tmp_path):
    with emulated(index=1) as driver:
        case, parameters, inputs = drawn(Xyz(), XYZ)
        for engine in ("eager", "static"):
            runner = prepared(engine, Xyz(), case, parameters, inputs, device="gpu:1")
            assert_right(stepped(runner), Xyz(), case, parameters, inputs, tmp_path / engine)
            assert any("gpu:1" in note for note in runner.facts().notes)
        assert driver.issued


# ----- the same bits ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "given"),
    [
        *((Xyz(), {"size": size, "expression": "multiply_add"}) for size in ("3x4", "200x200")),
        *(
            (Vgg16(), {**TINY_VGG16, "mode": "training", "layout": layout, "head": head})
            for layout, head in (("NCHW", "fc"), ("NHWC", "conv"))
        ),
    ],
    ids=given_name,
)
def test_both_engines_agree_in_every_bit(workload, given, driver):
    case, parameters, inputs = drawn(workload, given)
    exact = {**OFF, **dict.fromkeys(("merge_common", "schedule", "plan_memory"), "on")}
    runners = [
        prepared("eager", workload, case, parameters, inputs),
        *(
            prepared("static", workload, case, parameters, inputs, switches)
            for switches in (OFF, {**exact, "bind_early": "on", "capture": "on"})
        ),
    ]
    for _ in range(3):
        first, *others = [stepped(runner) for runner in runners]
        for each in others:
            assert_same(each, first)


def test_both_engines_choose_the_same_kernels(driver):
    given = {**TINY_VGG16, "mode": "training", "layout": "NHWC"}
    case, parameters, inputs = drawn(Vgg16(), given)
    chosen = []
    for engine in ("eager", "static"):
        runner = prepared(engine, Vgg16(), case, parameters, inputs, OFF if chosen else {})
        runner.step()
        chosen.append(set(runner.facts().kernels))
    eager_only, static_only = chosen[0] - chosen[1], chosen[1] - chosen[0]
    # Eager updates a parameter in one pass; static, with all passes off, as it is written.
    assert {name.split(":")[0] for name in eager_only} == {"assign_sub_scaled"}
    assert {name.split(":")[0] for name in static_only} == {"assign_sub", "multiply"}


def test_memory_that_died_is_not_read_again(driver):
    """Poisoned after its last reading, it would show as NaN."""
    given = {**TINY_VGG16, "mode": "training", "layout": "NHWC"}
    case, parameters, inputs = drawn(Vgg16(), given)
    found = [
        stepped(prepared("static", Vgg16(), case, parameters, inputs, switches))
        for switches in ({}, {"poison": "on"}, {"poison": "on", "bind_early": "off"})
    ]
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])


# ----- nothing hidden -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("workload", "given"), [(Xyz(), XYZ), (Heads(), TRAINING)], ids=given_name)
def test_a_step_allocates_nothing_copies_nothing_and_waits_once(way, workload, given, driver):
    engine, switches = WAYS[way]
    case, parameters, inputs = drawn(workload, given)
    runner = prepared(engine, workload, case, parameters, inputs, switches)
    for _ in range(4):
        runner.step()
    before = driver.counts()
    runner.issue()
    assert driver.since(before) == {}
    runner.step()
    assert driver.since(before) == {"waits": 1}
    runner.outputs()
    runner.close()


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_a_closed_runner_gives_all_memory_back(engine, driver):
    case, parameters, inputs = drawn(Heads(), TRAINING)
    runner = prepared(engine, Heads(), case, parameters, inputs)
    runner.step()
    runner.device_clock()
    assert driver.memory.used > 0
    runner.close()
    del runner
    gc.collect()
    assert driver.memory.used == 0


def test_the_callers_parameters_are_not_changed_by_training(driver):
    case, parameters, inputs = drawn(Heads(), TRAINING)
    for engine in (make_eager(), make_static()):
        given = {name: each.copy() for name, each in parameters.items()}
        runner = engine.prepare(Heads(), case, given, inputs, EngineOptions(device="gpu"))
        runner.build()
        runner.compile()
        runner.step()
        assert_same(given, parameters)


def test_runners_offer_what_the_harness_asks_for(driver):
    case, parameters, inputs = drawn(Xyz(), XYZ)
    for engine in ("eager", "static"):
        runner = prepared(engine, Xyz(), case, parameters, inputs)
        assert isinstance(runner, AsynchronousRunner) and isinstance(runner, ProfiledRunner)
        on_the_cpu = prepared(engine, Xyz(), case, parameters, inputs, device="cpu")
        assert not isinstance(on_the_cpu, AsynchronousRunner)
    assert device_availability("gpu").ok and not device_availability("gpu:1").ok


# ----- recording ----------------------------------------------------------------------------------


def test_a_steps_graph_is_that_of_the_program_on_the_device(driver):
    case, parameters, inputs = drawn(Heads(), TRAINING)
    runner = prepared("static", Heads(), case, parameters, inputs)
    after, facts = runner.graphs().after, runner.facts()
    # One launch updates several parameters: it is the kernel of each of these operations.
    kernels = [each.kernel for each in after.operations]
    assert list(dict.fromkeys(kernels)) == list(dict.fromkeys(facts.kernels))
    shared = facts.counts["gather_updates.tensors"] - facts.counts["gather_updates.launches"]
    assert len(kernels) == len(facts.kernels) + shared
    assert after.arena_bytes == facts.counts["arena_bytes"]
    assert all(each.offset_bytes % 256 == 0 for each in after.buffers)
    assert isinstance(runner, GraphRunner)
    runner.close()


def test_a_step_without_state_is_recorded_before_its_first_run(driver):
    case, parameters, inputs = drawn(Xyz(), XYZ)
    runner = prepared("static", Xyz(), case, parameters, inputs)
    driver.issued.clear()
    runner.step()
    assert driver.issued == ["graph"] and runner.replays()
    facts = runner.facts()
    assert any("recorded as a CUDA graph" in note for note in facts.notes)
    assert facts.counts["capture.recorded"] >= facts.counts["launches"] > 0


class RefusingDriver(EmulatedDriver):
    """A library that cannot be recorded, as CuPy's products cannot."""

    def matmul(self, request):
        plan = super().matmul(request)
        run = plan.run

        def refusing(pointers, workspace):
            if self.capturing:
                raise NotImplementedError("products cannot be recorded")
            run(pointers, workspace)

        plan.run = refusing
        return plan


def test_what_cannot_be_recorded_is_launched_and_why_is_said(tmp_path):
    with emulated(make=RefusingDriver):
        case, parameters, inputs = drawn(Heads(), TRAINING)
        runner = prepared("static", Heads(), case, parameters, inputs)
        recorded = [stepped(runner) for _ in range(5)]
        assert not runner.replays()
        assert any("one by one: products cannot be recorded" in n for n in runner.facts().notes)
        plain = prepared("static", Heads(), case, parameters, inputs, PLAIN)
        for each in recorded:
            assert_same(each, stepped(plain))


def test_an_allocation_while_recording_ends_in_launches(driver):
    case, parameters, inputs = drawn(Xyz(), XYZ)
    runner = prepared("static", Xyz(), case, parameters, inputs, PLAIN)
    captured = runner._compiled().captured
    plain = captured.launch

    def allocating():
        driver.allocate(256)
        plain()

    captured.launch, captured.reason, captured.run = allocating, "", captured._run_or_record
    for _ in range(4):
        runner.step()
    assert "allocation" in captured.reason and not driver.capturing
    with pytest.raises(CaptureError):
        driver.end_capture()


# ----- tensors ------------------------------------------------------------------------------------


def test_tensors_come_back_as_arrays_of_the_host(driver):
    from benchctl_engines.devices.cuda.device import CudaDevice

    device = CudaDevice(driver)
    x = eager.tensor(
        np.arange(6, dtype=np.float32).reshape(2, 3), requires_grad=True, device=device
    )
    y = eager.sum(x * x * 2.0)
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 4 * np.arange(6).reshape(2, 3))
    assert float(y) == y.item() == 110.0 and "110" in repr(y)
    # One array is handed to both: each owns what it gets.
    a, b = (eager.tensor(np.ones(3, np.float32), requires_grad=True, device=device) for _ in "ab")
    first, second = eager.gradients(eager.sum(a + b), [a, b])
    assert first.array is not second.array
    assert first.array.pointer != second.array.pointer


def test_tensors_of_two_devices_do_not_mix(driver):
    from benchctl_engines.devices.cuda.device import CudaDevice
    from benchctl_engines.primitives.primitive import OperandError

    there = eager.tensor(np.ones(3, np.float32), device=CudaDevice(driver))
    with pytest.raises(OperandError, match="tensors of one device"):
        there + eager.tensor(np.ones(3, np.float32))


def test_a_value_that_was_assigned_to_is_missed_by_backward(driver):
    from benchctl_engines.devices.cuda.device import CudaDevice

    device = CudaDevice(driver)
    x = eager.tensor(np.ones(3, np.float32), requires_grad=True, device=device)
    y = eager.sum(x * x)
    eager.assign(x, eager.tensor(np.zeros(3, np.float32), device=device))
    with pytest.raises(RuntimeError, match="assignment has changed since"):
        y.backward()
