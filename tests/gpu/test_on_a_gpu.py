"""What only a GPU can show. Run by tests/gpu/check.sh; skipped, with the reason, without one."""

from __future__ import annotations

import gc
import json
import os
from pathlib import Path

import numpy as np
import pytest
from cuda_runs import OFF, assert_right, assert_same, drawn, prepared, stepped
from layer_workloads import SmallGan

from benchctl.measure.clock import WallClock
from benchctl.measure.device_timing import NEVER_AHEAD, DeviceRule, take_times
from benchctl.measure.energy import EnergyRule, measure_energy
from benchctl.measure.verification import load_reference, save_reference, verify_outputs
from benchctl.plan.registry import load_engine
from benchctl_engines.contract import EngineOptions, precision_availability
from benchctl_engines.devices.availability import device_availability
from benchctl_engines.devices.cuda.clock import CudaClock
from benchctl_engines.devices.cuda.limits import measure_device_limits
from benchctl_engines.devices.cuda.opened import open_driver
from benchctl_workloads.conditional import Conditional
from benchctl_workloads.debugging import Debugging
from benchctl_workloads.dynamic_shapes import DynamicShapes
from benchctl_workloads.gan.workload import Gan
from benchctl_workloads.heads import Heads
from benchctl_workloads.input_pipeline.workload import InputPipeline
from benchctl_workloads.intermediates import Intermediates
from benchctl_workloads.layer_api.workload import LayerApi
from benchctl_workloads.layout import Layout
from benchctl_workloads.memory import MemoryChain
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.xyz import Xyz

STATE = device_availability("gpu")
if not STATE.ok:
    pytest.skip(f"no GPU to test on: {STATE.reason}", allow_module_level=True)
pytestmark = pytest.mark.gpu

ENGINES = ("static", "eager", "numpy", "torch")
"""Frameworks that compile take longer than all others: `benchctl verify` has them too."""

VGG16 = {"width": 16, "image_size": 64, "batch": 3}
# Sums in float64 are what the CPU does in these minutes: half a side is a quarter of them.
TRAINED = {**VGG16, "image_size": 32, "mode": "training"}
HEADS = {"width": 64, "channels": 16, "side": 3, "batch": 4}
CASES = [
    *((Xyz(), {"size": size, "expression": "multiply_add"}) for size in ("3x4", "1000x1000")),
    *(
        (workload, {**given, "layout": layout})
        for layout in ("NCHW", "NHWC")
        for workload, given in (
            (Vgg16(), {**VGG16, "mode": "inference"}),
            (Vgg16(), TRAINED),
            (Vgg16(), {**TRAINED, "head": "conv"}),
            *((Heads(), {**HEADS, "mode": mode}) for mode in ("inference", "training")),
            *(
                (Layout(), {"layer": layer, "image_size": 64, "direction": direction, "batch": 2})
                for layer in ("conv1_1", "conv3_2")
                for direction in ("forward", "backward")
            ),
        )
    ),
    *(
        (Conditional(), {"form": form, "size": size, "steps": 5, "mode": "gradient"})
        for form in ("branch", "loop", "while")
        for size in (10, 1024)
    ),
]


GAN = {"batch": 4, "width": 8}
SMALL_LAYERS = {"image_size": 32, "width": 16}
OTHERS = [
    *((Conditional(), {"form": form, "size": 16, "steps": 4}) for form in ("branch", "loop")),
    (Conditional(), {"form": "loop", "size": 16, "steps": 4, "mode": "gradient"}),
    (Conditional(), {"form": "while", "size": 16, "steps": 4}),
    (Debugging(), {}),
    (DynamicShapes(), {"width": 8, "mode": "gradient"}),
    *((Gan(), {**GAN, "layout": layout}) for layout in ("NCHW", "NHWC")),
    (InputPipeline(), {"side": 28, "batch": 16, "width": 64, "prepare": "none", "prefetch": 0}),
    *(
        (Intermediates(), {**SMALL_LAYERS, "fetch": "every", "layout": layout})
        for layout in ("NCHW", "NHWC")
    ),
    *((LayerApi(), {"style": style, "batch": 8}) for style in ("layers", "plain")),
    (MemoryChain(), {"rows": 64, "depth": 8, "mode": "training"}),
]


def named(value):
    """A workload or its axes in the name of a test."""
    return "-".join(map(str, value.values())) or "plain" if isinstance(value, dict) else value.name


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Folders with float64 results, each computed once for all engines and precisions."""
    made = {}

    def folder_of(key, workload, case, parameters, inputs):
        if key not in made:
            made[key] = tmp_path_factory.mktemp("reference")
            exact = reference_outputs(workload, case, parameters, inputs, seed=3)
            save_reference(made[key], exact, parameters)
        return made[key]

    return folder_of


def assert_as(folder, outputs, workload, case, inputs, precision):
    """As the harness judges it before it times anything."""
    expected = load_reference(folder)
    found, problems = verify_outputs(outputs, expected, workload, case, inputs, precision)
    assert found.ok, problems


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("workload", "given"), CASES, ids=named)
def test_every_engine_is_right(workload, given, engine, precision, references):
    assert_right_twice(workload, given, engine, precision, references)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("workload", "given"), OTHERS, ids=named)
def test_every_engine_is_right_on_every_other_workload(workload, given, engine, references):
    """Their first step: later ones draw other random numbers than a reference that begins anew."""
    assert_right_first(workload, given, engine, "fp32", references)


def assert_right_twice(workload, given, engine, precision, references):
    """The first step, and one on other inputs; after training, where it went in strict float32."""
    runner, case, parameters, first, key = assert_right_first(
        workload, given, engine, precision, references
    )
    trains = workload.step(case) == "training"
    if not trains or precision == "fp32":
        between = {name: first.get(f"parameter/{name}", each) for name, each in parameters.items()}
        _, _, others = drawn(workload, given, seed=6)
        runner.load(others)
        second = stepped(runner)
        key = (*key, "second", engine if trains else "")
        folder = references(key, workload, case, between, others)
        assert_as(folder, second, workload, case, others, precision)
    runner.close()


def assert_right_first(workload, given, engine, precision, references):
    """The first step; (runner, case, parameters, its results, key of the references)."""
    found = load_engine(engine)
    for state in (found.availability("gpu"), precision_availability(found, precision)):
        if not state.ok:
            pytest.skip(state.reason)
    case, parameters, inputs = drawn(workload, given)
    state = found.supports(workload, case)
    if not state.ok:
        pytest.skip(state.reason)
    copies = {name: each.copy() for name, each in parameters.items()}
    options = EngineOptions(device="gpu", seed=3, precision=precision)
    try:
        runner = found.prepare(workload, case, copies, inputs, options)
        runner.build()
        runner.compile()
        first = stepped(runner)
    except Exception as error:
        # As the harness does: what an engine does not have is no fault of it.
        if getattr(error, "unavailable", False):
            pytest.skip(str(error))
        raise
    key = (workload.name, *case.items())
    folder = references((*key, "first"), workload, case, parameters, inputs)
    assert_as(folder, first, workload, case, inputs, precision)
    return runner, case, parameters, first, key


@pytest.mark.parametrize(("workload", "given"), CASES[:6], ids=named)
def test_both_engines_agree_in_every_bit(workload, given):
    case, parameters, inputs = drawn(workload, given)
    own = prepared("eager", workload, case, parameters, inputs)
    plain = prepared("static", workload, case, parameters, inputs, OFF)
    recorded = prepared("static", workload, case, parameters, inputs, {**OFF, "capture": "on"})
    for _ in range(4):
        first = stepped(own)
        assert_same(stepped(plain), first)
        assert_same(stepped(recorded), first)
    assert recorded.replays(), recorded.facts().notes


@pytest.mark.parametrize("form", ["branch", "loop", "while"])
def test_both_engines_agree_where_the_host_decides(form):
    given = {"form": form, "size": 10, "steps": 5, "mode": "gradient"}
    case, parameters, inputs = drawn(Conditional(), given)
    own = prepared("eager", Conditional(), case, parameters, inputs)
    plain = prepared("static", Conditional(), case, parameters, inputs, OFF)
    whole = prepared("static", Conditional(), case, parameters, inputs)
    for _ in range(4):
        # Where nothing arrives, engines may differ in the sign of a zero.
        first, second = (
            {name: each + 0.0 for name, each in stepped(r).items()} for r in (own, plain)
        )
        assert_same(second, first)
        whole.step()
    assert whole.replays() is (form == "loop"), whole.facts().notes
    assert bool(whole.waits()) is (form != "loop")
    found = take_times(whole, WallClock(), DeviceRule(samples=3))
    assert bool(found.warm) is (form == "loop") and len(found.wall) == 3


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_kernels_chosen_by_measuring_are_right_and_chosen_once(precision, tmp_path):
    given = {"layer": "conv3_2", "image_size": 64, "direction": "backward", "batch": 2}
    case, parameters, inputs = drawn(Layout(), given)
    kernels = []
    for _ in range(2):
        options = EngineOptions(
            device="gpu",
            seed=3,
            switches={"autotune": "on"},
            cache_directory=str(tmp_path / "cache"),
            precision=precision,
        )
        runner = load_engine("static").prepare(Layout(), case, dict(parameters), inputs, options)
        runner.build()
        runner.compile()
        found = stepped(runner)
        assert_right(found, Layout(), case, parameters, inputs, tmp_path / "found", precision)
        kernels.append(runner.facts().kernels)
        runner.close()
    assert any(", tuned" in each for each in kernels[0]) and kernels[0] == kernels[1]


def test_a_hundred_replays_with_changed_inputs_use_no_more_memory():
    """Equal to launches one by one, and the device as full as before."""
    case, parameters, inputs = drawn(Heads(), {**HEADS, "mode": "training"})
    recorded = prepared("static", Heads(), case, parameters, inputs)
    plain = prepared("static", Heads(), case, parameters, inputs, {"capture": "off"})
    for _ in range(3):
        assert_same(stepped(recorded), stepped(plain))
    driver = open_driver(0)
    gc.collect()
    used, _ = driver.memory_in_use()
    for seed in range(100):
        _, _, others = drawn(Heads(), {**HEADS, "mode": "training"}, seed)
        recorded.load(others)
        plain.load(others)
        recorded.step()
        plain.step()
    assert_same(stepped(recorded), stepped(plain))
    assert driver.memory_in_use()[0] <= used + 2**20


def test_eager_memory_is_flat_from_step_to_step():
    case, parameters, inputs = drawn(Vgg16(), {**VGG16, "mode": "training"})
    runner = prepared("eager", Vgg16(), case, parameters, inputs)
    for _ in range(3):
        runner.step()
    gc.collect()
    used, _ = open_driver(0).memory_in_use()
    for _ in range(20):
        runner.step()
    # What earlier tests left may go meanwhile.
    assert open_driver(0).memory_in_use()[0] <= used


def test_the_spin_holds_the_device_for_about_as_long_as_asked():
    clock = CudaClock(open_driver(0))
    for seconds in (1e-4, 1e-3, 1e-2):
        clock.spin(seconds)
        start = clock.mark()
        clock.spin(seconds)
        end = clock.mark()
        clock.synchronize()
        assert 0.9 * seconds < end.seconds_since(start) < 1.5 * seconds + 1e-4


def test_issuing_does_not_wait_and_the_figures_fit_together():
    """No time of its own is asserted: only that the parts are not more than the whole."""
    case, parameters, inputs = drawn(Vgg16(), {**VGG16, "mode": "inference", "batch": 32})
    runner = prepared("static", Vgg16(), case, parameters, inputs)
    for _ in range(5):
        runner.step()
    found = take_times(runner, WallClock(), DeviceRule())
    assert NEVER_AHEAD not in found.marks
    assert np.median(found.issue) < np.median(found.wall)
    assert np.median(found.warm) < 1.1 * np.median(found.wall)
    assert np.median(found.replay) < 1.2 * np.median(found.wall)


@pytest.mark.parametrize("which", ["sgd", "adam"])
def test_many_parameters_are_updated_by_one_launch(which):
    """The bits of updates one by one, in both engines, and of a recorded step."""
    workload = Heads() if which == "sgd" else SmallGan()
    case, parameters, inputs = drawn(
        workload, {**HEADS, "mode": "training"} if which == "sgd" else {}
    )
    many = prepared("eager", workload, case, parameters, inputs)
    each = prepared("eager", workload, case, parameters, inputs, {"multi_tensor": "off"})
    gathered = prepared("static", workload, case, parameters, inputs)
    apart = prepared("static", workload, case, parameters, inputs, {"gather_updates": "off"})
    for _ in range(4):
        assert_same(stepped(many), stepped(each))
        assert_same(stepped(gathered), stepped(apart))
    assert gathered.replays(), gathered.facts().notes
    assert any(kernel.endswith(":multi_tensor") for kernel in many.facts().kernels)


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_the_phases_of_a_training_step_are_about_the_step(engine):
    case, parameters, inputs = drawn(Vgg16(), {**VGG16, "mode": "training", "batch": 32})
    runner = prepared(engine, Vgg16(), case, parameters, inputs)
    for _ in range(4):
        runner.step()
    phases = runner.phase_seconds(5)
    assert list(phases) == ["forward", "backward", "update"]
    found = take_times(runner, WallClock(), DeviceRule())
    whole = sum(np.median(each) for each in phases.values())
    # One by one behind a spin against one replay or one issue: never a multiple of it.
    assert 0.5 * np.median(found.warm) < whole < 3.0 * np.median(found.warm)
    assert np.median(phases["backward"]) > np.median(phases["forward"])


def test_the_card_has_limits_and_kernels_stay_near_or_below_them():
    limits = measure_device_limits(open_driver(0))
    rates = limits.gemm_flops_per_second
    assert rates["fp32"] > 1e11 and limits.copy_bytes_per_second > 1e10
    if open_driver(0).facts.architecture >= 80:
        # Tensor cores, or the precision does not arrive.
        assert rates["tf32"] > 1.5 * rates["fp32"]
    if folder := os.environ.get("BENCHCTL_CHECK_FOLDER"):
        text = json.dumps({"gemm": dict(rates), "copy": limits.copy_bytes_per_second}, indent=1)
        (Path(folder) / "limits.json").write_text(text, encoding="utf-8")


def test_energy_comes_from_the_counter_or_says_why_not():
    case, parameters, inputs = drawn(Vgg16(), {**VGG16, "mode": "inference", "batch": 32})
    runner = prepared("static", Vgg16(), case, parameters, inputs)
    for _ in range(3):
        runner.step()
    rule = EnergyRule(blocks=1, block_seconds=2.0, idle_seconds=1.0)
    found = measure_energy(runner, WallClock(), rule)
    if found.problem:
        pytest.skip(found.problem)
    (joules,), (steps,), (seconds,) = found.joules_per_step, found.steps, found.seconds
    # A card takes between a few and a few thousand watts.
    assert 5.0 < joules * steps / seconds < 5000.0
    assert found.idle_watts > 0.0


def test_the_device_is_described():
    """Kept beside the records where check.sh says so."""
    facts = open_driver(0).facts
    described = {name: getattr(facts, name) for name in facts.__slots__}
    assert facts.memory_bytes > 0 and facts.multiprocessors > 0 and facts.architecture >= 70
    if folder := os.environ.get("BENCHCTL_CHECK_FOLDER"):
        text = json.dumps(described, indent=1, default=str)
        (Path(folder) / "device.json").write_text(text, encoding="utf-8")
