"""What only a GPU can show. Run by tests/gpu/check.sh; skipped, with the reason, without one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from cuda_runs import OFF, assert_right, assert_same, drawn, prepared, stepped

from benchctl.measure.clock import WallClock
from benchctl.measure.device_timing import NEVER_AHEAD, DeviceRule, take_times
from benchctl.plan.registry import load_engine
from benchctl_engines.contract import EngineOptions
from benchctl_engines.devices.availability import device_availability
from benchctl_engines.devices.cuda.clock import CudaClock
from benchctl_engines.devices.cuda.opened import open_driver
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.xyz import Xyz

STATE = device_availability("gpu")
if not STATE.ok:
    pytest.skip(f"no GPU to test on: {STATE.reason}", allow_module_level=True)
pytestmark = pytest.mark.gpu

ENGINES = ("static", "eager", "numpy", "torch")
"""Frameworks that compile take longer than all others: `benchctl verify` has them too."""

VGG16 = {"width": 16, "image_size": 64, "batch": 3}
HEADS = {"width": 64, "channels": 16, "side": 3, "batch": 4}
CASES = [
    *((Xyz(), {"size": size, "expression": "multiply_add"}) for size in ("3x4", "1000x1000")),
    *(
        (workload, {**given, "layout": layout})
        for layout in ("NCHW", "NHWC")
        for workload, given in (
            *((Vgg16(), {**VGG16, "mode": mode}) for mode in ("inference", "training")),
            *((Vgg16(), {**VGG16, "mode": mode, "head": "conv"}) for mode in ("training",)),
            *((Heads(), {**HEADS, "mode": mode}) for mode in ("inference", "training")),
            *(
                (Layout(), {"layer": layer, "image_size": 64, "direction": direction, "batch": 2})
                for layer in ("conv1_1", "conv3_2")
                for direction in ("forward", "backward")
            ),
        )
    ),
]


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("workload", "given"), CASES, ids=str)
def test_every_engine_is_right(workload, given, engine, precision, tmp_path):
    found = load_engine(engine)
    state = found.availability("gpu")
    if not state.ok:
        pytest.skip(state.reason)
    case, parameters, inputs = drawn(workload, given)
    state = found.supports(workload, case)
    if not state.ok:
        pytest.skip(state.reason)
    copies = {name: each.copy() for name, each in parameters.items()}
    options = EngineOptions(device="gpu", seed=3, precision=precision)
    runner = found.prepare(workload, case, copies, inputs, options)
    runner.build()
    runner.compile()
    first = stepped(runner)
    assert_right(first, workload, case, parameters, inputs, tmp_path / "first", precision)
    between = {name: first.get(f"parameter/{name}", each) for name, each in parameters.items()}
    _, _, others = drawn(workload, given, seed=6)
    runner.load(others)
    second = stepped(runner)
    assert_right(second, workload, case, between, others, tmp_path / "second", precision)
    runner.close()


@pytest.mark.parametrize(("workload", "given"), CASES[:6], ids=str)
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


def test_a_hundred_replays_with_changed_inputs_use_no_more_memory():
    """Equal to launches one by one, and the device as full as before."""
    case, parameters, inputs = drawn(Heads(), {**HEADS, "mode": "training"})
    recorded = prepared("static", Heads(), case, parameters, inputs)
    plain = prepared("static", Heads(), case, parameters, inputs, {"capture": "off"})
    for _ in range(3):
        assert_same(stepped(recorded), stepped(plain))
    driver = open_driver(0)
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
    used, _ = open_driver(0).memory_in_use()
    for _ in range(20):
        runner.step()
    assert open_driver(0).memory_in_use()[0] == used


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


def test_the_device_is_described():
    """Kept beside the records where check.sh says so."""
    facts = open_driver(0).facts
    described = {name: getattr(facts, name) for name in facts.__slots__}
    assert facts.memory_bytes > 0 and facts.multiprocessors > 0 and facts.architecture >= 70
    if folder := os.environ.get("BENCHCTL_CHECK_FOLDER"):
        text = json.dumps(described, indent=1, default=str)
        (Path(folder) / "device.json").write_text(text, encoding="utf-8")
