"""The contract, for every engine that is registered: what all of them promise the harness."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from benchctl.measure.verification import load_reference, save_reference, verify_outputs
from benchctl.plan.registry import engine_names, load_engine
from benchctl_engines.contract import Engine, EngineOptions, RunnerFacts
from benchctl_workloads.conditional import Conditional
from benchctl_workloads.dynamic_shapes import DynamicShapes
from benchctl_workloads.heads import Heads
from benchctl_workloads.layout import Layout
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.vgg16 import Vgg16
from benchctl_workloads.workload import make_case
from benchctl_workloads.xyz import Xyz

SMALL_VGG16 = {"width": 16, "image_size": 32, "batch": 2}
SMALL_HEADS = {"width": 24, "channels": 6, "side": 3, "batch": 3}
SMALL_CONDITIONAL = {"size": 8, "steps": 4, "mode": "gradient"}
CASES = {
    "xyz": (Xyz(), {"size": "30x40"}),
    "vgg16": (Vgg16(), {**SMALL_VGG16, "mode": "inference", "layout": "NCHW"}),
    "vgg16 NHWC": (Vgg16(), {**SMALL_VGG16, "mode": "inference", "layout": "NHWC"}),
    "training": (Vgg16(), {**SMALL_VGG16, "mode": "training", "layout": "NHWC"}),
    "layout": (Layout(), {"layer": "conv4_1", "image_size": 32, "direction": "backward"}),
    "heads": (Heads(), {**SMALL_HEADS, "mode": "inference"}),
    "branch": (Conditional(), {**SMALL_CONDITIONAL, "form": "branch"}),
    "loop": (Conditional(), {**SMALL_CONDITIONAL, "form": "loop"}),
    "while": (Conditional(), {**SMALL_CONDITIONAL, "form": "while"}),
    "shapes": (DynamicShapes(), {"lengths": 16, "width": 8}),
}
STEPS = 5

each_engine = pytest.mark.parametrize("name", engine_names())
each_case = pytest.mark.parametrize("which", CASES)


def available(name):
    engine = load_engine(name)
    state = engine.availability("cpu")
    if not state.ok:
        assert state.reason and state.hint, "what is missing and how to get it"
        pytest.skip(state.reason)
    return engine


def supported(engine, workload, case):
    state = engine.supports(workload, case)
    if not state.ok:
        assert state.reason and state.hint, "why not, and what to do instead"
        pytest.skip(state.reason)


def drawn(workload, case, seed=5):
    rng = np.random.default_rng(seed)
    return workload.parameters(case, rng), workload.inputs(case, rng)


def prepared(engine, workload, case, parameters, inputs):
    copies = {name: array.copy() for name, array in parameters.items()}
    options = EngineOptions(threads=2)
    runner = engine.prepare(workload, case, copies, inputs, options)
    runner.build()
    runner.compile()
    return runner


def assert_right(outputs, workload, case, parameters, inputs, tmp_path):
    """As the harness judges it before it times anything."""
    folder = tmp_path / "reference"
    folder.mkdir(exist_ok=True)
    expected = reference_outputs(workload, case, parameters, inputs)
    save_reference(folder, expected, parameters)
    verification, problems = verify_outputs(outputs, load_reference(folder), workload, case, inputs)
    assert verification.ok, problems


@each_engine
def test_an_engine_says_who_it_is(name):
    engine = load_engine(name)
    assert isinstance(engine, Engine)
    assert engine.name == name
    assert engine.paradigm in ("static", "eager", "manual", "peer")
    for switch in engine.switches().values():
        assert switch.description and (not switch.values or switch.default in switch.values)


@each_engine
def test_a_device_that_nobody_has_is_refused_with_a_way_out(name):
    state = load_engine(name).availability("quantum")
    assert not state.ok and state.reason and state.hint


@each_engine
def test_versions_name_what_decides_the_speed(name):
    versions = available(name).versions()
    assert versions and all(isinstance(each, str) and each for each in versions.values())


@each_engine
@each_case
def test_a_step_is_right_and_so_is_the_next_on_other_inputs(name, which, tmp_path):
    engine, (workload, given) = available(name), CASES[which]
    case = make_case(workload, given)
    supported(engine, workload, case)
    parameters, inputs = drawn(workload, case)
    runner = prepared(engine, workload, case, parameters, inputs)
    runner.step()
    first = {each: np.array(array) for each, array in runner.outputs().items()}
    assert all(isinstance(each, np.ndarray | np.generic) for each in runner.outputs().values())
    assert_right(first, workload, case, parameters, inputs, tmp_path)
    between = {each: first.get(f"parameter/{each}", array) for each, array in parameters.items()}
    _, others = drawn(workload, case, seed=6)
    runner.load(others)
    runner.step()
    assert_right(runner.outputs(), workload, case, between, others, tmp_path)
    facts = runner.facts()
    assert isinstance(facts, RunnerFacts) and facts.kernels
    assert all(isinstance(count, int | np.integer) for count in facts.counts.values())
    runner.close()


@each_engine
def test_losses_of_several_steps_are_those_of_float64(name):
    engine, workload = available(name), Heads()
    case = make_case(workload, {**SMALL_HEADS, "mode": "training", "layout": "NHWC"})
    supported(engine, workload, case)
    parameters, inputs = drawn(workload, case)
    runner = prepared(engine, workload, case, parameters, inputs)
    exact = {each: array.astype(np.float64) for each, array in parameters.items()}
    for _ in range(STEPS):
        expected = reference_outputs(workload, case, exact, inputs)
        runner.step()
        found = float(runner.outputs()["loss"])
        assert found == pytest.approx(float(expected["loss"]), rel=1e-4)
        exact = {each: expected[f"parameter/{each}"] for each in exact}
    runner.close()


@each_engine
def test_a_runner_that_is_closed_leaves_room_for_the_next(name, tmp_path):
    engine, (workload, given) = available(name), CASES["heads"]
    case = make_case(workload, given)
    supported(engine, workload, case)
    parameters, inputs = drawn(workload, case)
    for _ in range(2):
        runner = prepared(engine, workload, case, parameters, inputs)
        runner.step()
        kept = {each: np.array(array) for each, array in runner.outputs().items()}
        runner.close()
        del runner
        gc.collect()
        assert_right(kept, workload, case, parameters, inputs, tmp_path)
