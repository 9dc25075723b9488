"""The workload dynamic_shapes: its batches, its step by hand, and what static compiles for it."""

import numpy as np
import pytest
from directional import assert_gradient
from numpy_vocabulary import run_program

from benchctl.measure.batches import BatchesRunner
from benchctl_engines.contract import EngineOptions, as_float64
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.static.engine import make_engine as make_static
from benchctl_workloads import make_case
from benchctl_workloads.dynamic_shapes import BATCHES, DynamicShapes
from benchctl_workloads.reference import reference_outputs

SHAPES = DynamicShapes()


def case_of(**axes):
    return make_case(SHAPES, {"width": 4, **axes})


def lengths_of(case, seed):
    batches = SHAPES.batches(case, np.random.default_rng(seed))
    return [len(each["x"]) for each in batches]


@pytest.mark.parametrize("varying", ["length", "batch"])
def test_gradients_by_hand_against_central_differences(varying):
    case = case_of(varying=varying, mode="gradient")
    rng = np.random.default_rng(2)
    parameters = as_float64(SHAPES.parameters(case, rng))
    inputs = as_float64(SHAPES.inputs(case, rng))
    outputs = SHAPES.by_hand(case)(parameters, inputs)
    for name in SHAPES.differentiate(case):

        def objective(value, name=name):
            changed = {**parameters, name: value}
            return float(run_program(SHAPES, case, changed, inputs).objective)

        assert_gradient(
            objective, parameters[name], outputs[f"grad_{name}"], rng=np.random.default_rng(1)
        )


@pytest.mark.parametrize("lengths", [1, 4, 16, 32])
def test_every_length_comes_in_turn(lengths):
    case = case_of(lengths=lengths)
    first, other = lengths_of(case, 1), lengths_of(case, 2)
    assert len(first) == BATCHES and len(set(first)) == lengths
    assert first == first[:lengths] * (BATCHES // lengths)
    assert sorted(first) == sorted(other), "the work of a round is that of every other"
    assert lengths < 16 or first != other


def prepared(make_engine, case, **switches):
    rng = np.random.default_rng(3)
    parameters, batches = SHAPES.parameters(case, rng), SHAPES.batches(case, rng)
    options = EngineOptions(switches=switches)
    runner = BatchesRunner(
        make_engine().prepare(SHAPES, case, parameters, batches[0], options), batches
    )
    runner.build()
    runner.compile()
    return runner, parameters, batches


@pytest.mark.parametrize("entry", ["run", "callable"])
def test_static_keeps_the_programs_of_few_lengths(entry):
    runner, *_ = prepared(make_static, case_of(lengths=4), passes="off", entry=entry)
    for _ in range(3):
        runner.step()
    facts = runner.facts()
    assert facts.counts["programs_compiled"] == 4
    assert any("4 programs compiled for 4 shapes" in note for note in facts.notes)


def test_static_compiles_many_lengths_at_every_step():
    runner, *_ = prepared(make_static, case_of(lengths=32), passes="off")
    compiled = []
    for _ in range(3):
        runner.step()
        compiled.append(runner.facts().counts["programs_compiled"])
    assert compiled == [32, 64, 96]


@pytest.mark.parametrize("make_engine", [make_static, make_eager])
@pytest.mark.parametrize("mode", ["forward", "gradient"])
def test_the_outputs_of_every_batch_are_right(make_engine, mode):
    case = case_of(lengths=4, varying="batch", mode=mode)
    runner, parameters, batches = prepared(make_engine, case)
    runner.step()
    outputs = runner.outputs()
    for place in (0, 1, 2, 3, 31):
        expected = reference_outputs(SHAPES, case, parameters, batches[place])
        for name, value in expected.items():
            found = outputs[f"{name} of batch {place + 1}"]
            np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5)
    runner.close()
