"""The workloads that serve single claims: right on our engines and by hand, wrong where meant."""

from __future__ import annotations

import numpy as np
import pytest

from benchctl.claims.lines_of_code import lines_of_module
from benchctl.measure.verification import load_reference, save_reference, verify_outputs
from benchctl.plan.registry import load_engine
from benchctl_engines.contract import EngineOptions, as_float64
from benchctl_engines.primitives.nan_check import NanError
from benchctl_engines.primitives.specs import ShapeError
from benchctl_workloads import make_case
from benchctl_workloads.debugging import Debugging
from benchctl_workloads.intermediates import INNER, Intermediates, fetched_names
from benchctl_workloads.layer_api import plain, with_layers
from benchctl_workloads.layer_api.workload import LayerApi
from benchctl_workloads.memory import MemoryChain
from benchctl_workloads.reference import reference_outputs

VGG = {"width": 16, "image_size": 32}
CHAIN = {"rows": 24, "width": 6, "depth": 3}
CASES = {
    "logits alone": (Intermediates(), {**VGG, "fetch": "none"}),
    "an activation": (Intermediates(), {**VGG, "fetch": "inner", "layout": "NCHW"}),
    "every activation": (Intermediates(), {**VGG, "fetch": "every", "layout": "NHWC"}),
    "chain": (MemoryChain(), {**CHAIN, "mode": "inference"}),
    "chain, training": (MemoryChain(), {**CHAIN, "mode": "training"}),
    "no mistake": (Debugging(), {"rows": 12}),
    "layers": (LayerApi(), {"style": "layers", "batch": 3}),
    "plain": (LayerApi(), {"style": "plain", "batch": 3}),
}


def drawn(workload, case, seed=3):
    rng = np.random.default_rng(seed)
    return workload.parameters(case, rng), workload.inputs(case, rng)


def outputs_of(engine, workload, case, parameters, inputs, **switches):
    copies = {name: array.copy() for name, array in parameters.items()}
    options = EngineOptions(threads=2, switches=switches)
    runner = load_engine(engine).prepare(workload, case, copies, inputs, options)
    runner.build()
    runner.compile()
    runner.load(inputs)
    runner.step()
    found = {name: np.array(array) for name, array in runner.outputs().items()}
    runner.close()
    return found


@pytest.mark.parametrize("which", CASES)
def test_our_engines_and_the_step_by_hand_agree_with_float64(which, tmp_path):
    workload, given = CASES[which]
    case = make_case(workload, given)
    parameters, inputs = drawn(workload, case)
    expected = reference_outputs(workload, case, parameters, inputs)
    save_reference(tmp_path, expected, parameters)
    reference = load_reference(tmp_path)
    for engine in ("static", "eager", "numpy"):
        found = outputs_of(engine, workload, case, parameters, inputs)
        verification, problems = verify_outputs(found, reference, workload, case, inputs)
        assert verification.ok, (engine, problems)
        assert {check.output for check in verification.checks} == set(expected)


@pytest.mark.parametrize("which", CASES)
def test_by_hand_computes_the_program_to_the_last_digits(which):
    """In float64 nothing hides behind a tolerance: not a bias, not a factor of the gradient."""
    workload, given = CASES[which]
    case = make_case(workload, given)
    parameters, inputs = (as_float64(each) for each in drawn(workload, case))
    program = type("Bare", (type(workload),), {"reference": None})()
    expected = reference_outputs(program, case, parameters, inputs)
    after = {name: array.copy() for name, array in parameters.items()}
    found = dict(workload.by_hand(case)(after, inputs))
    for name, array in expected.items():
        own = found.get(name, after.get(name.removeprefix("parameter/")))
        np.testing.assert_allclose(own, array, rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_activations_fetched_are_those_of_the_network():
    workload = Intermediates()
    every = make_case(workload, {**VGG, "fetch": "every"})
    inner = make_case(workload, {**VGG, "fetch": "inner"})
    assert fetched_names(make_case(workload, {**VGG, "fetch": "none"})) == ()
    assert fetched_names(inner) == (INNER,)
    assert len(fetched_names(every)) == 13
    parameters, inputs = drawn(workload, every)
    all_of_them = reference_outputs(workload, every, parameters, inputs)
    one = reference_outputs(workload, inner, parameters, inputs)
    np.testing.assert_array_equal(one[INNER], all_of_them[INNER])
    np.testing.assert_array_equal(one["logits"], all_of_them["logits"])
    assert all(all_of_them[name].min() >= 0 for name in fetched_names(every)), "after the ReLU"


@pytest.mark.parametrize("layers", [2, 5])
def test_a_deeper_chain_costs_arithmetic_but_no_more_input(layers):
    workload = MemoryChain()
    case = make_case(workload, {**CHAIN, "depth": layers})
    deeper = make_case(workload, {**CHAIN, "depth": 2 * layers})
    assert workload.cost(deeper).flops == 2 * workload.cost(case).flops
    assert len(workload.parameters(deeper, np.random.default_rng(0))) == 4 * layers


def test_both_styles_are_the_same_network():
    rng = np.random.default_rng(1)
    layered = with_layers.initial_parameters(rng)
    written = plain.initial_parameters(rng)
    assert {name: array.shape for name, array in layered.items()} == {
        name: array.shape for name, array in written.items()
    }
    workload, losses = LayerApi(), []
    for style in ("layers", "plain"):
        case = make_case(workload, {"style": style, "batch": 2})
        inputs = workload.inputs(case, np.random.default_rng(2))
        losses.append(reference_outputs(workload, case, layered, inputs)["loss"])
    assert losses[0] == losses[1]


def test_layers_take_fewer_lines_than_plain_operations():
    layered, written = (lines_of_module(module.__name__) for module in (with_layers, plain))
    by_hand = lines_of_module("benchctl_workloads.by_hand.digit_classifier")
    assert layered < written < by_hand


# Mistakes ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    ("fault", "engine", "error"),
    [
        ("wrong_shape", "static", ShapeError),
        ("wrong_shape", "eager", ShapeError),
        ("wrong_shape", "numpy", ValueError),
        ("nan", "static", NanError),
        ("nan", "eager", NanError),
        ("missing_input", "static", KeyError),
        ("missing_input", "eager", KeyError),
        ("missing_input", "numpy", KeyError),
    ],
)
def test_a_mistake_is_found_on_each_engine(fault, engine, error):
    workload = Debugging()
    case = make_case(workload, {"fault": fault, "rows": 6})
    parameters, inputs = drawn(workload, case)
    switches = {"check_nan": "on"} if fault == "nan" else {}
    with pytest.raises(error) as caught:
        outputs_of(engine, workload, case, parameters, inputs, **switches)
    frames = [frame.path.name for frame in caught.traceback if hasattr(frame.path, "name")]
    assert "debugging.py:" in str(caught.value) or "debugging.py" in frames


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("engine", ["static", "eager", "numpy"])
def test_a_nan_that_nobody_looks_for_is_a_wrong_result(engine, tmp_path):
    workload = Debugging()
    case = make_case(workload, {"fault": "nan", "rows": 6})
    parameters, inputs = drawn(workload, case)
    found = outputs_of(engine, workload, case, parameters, inputs)
    assert np.isnan(found["loss"])
    save_reference(tmp_path, reference_outputs(workload, case, parameters, inputs), parameters)
    reference = load_reference(tmp_path)
    assert not verify_outputs(found, reference, workload, case, inputs)[0].ok
