"""The workload conditional: by hand and as a program, with control flow and without."""

import numpy as np
import pytest
from directional import assert_gradient
from numpy_vocabulary import run_program

from benchctl_engines.contract import as_float64
from benchctl_workloads import make_case
from benchctl_workloads.conditional import Conditional

CONDITIONAL = Conditional()
FORMS = ("branch", "loop", "while")
WRITTEN = ("control_flow", "branchless")
each_form = pytest.mark.parametrize("form", FORMS)
each_writing = pytest.mark.parametrize("written", WRITTEN)


def case_of(form, written, **axes):
    return make_case(CONDITIONAL, {"form": form, "written": written, "size": 7, "steps": 5, **axes})


def drawn(case, seed=2):
    rng = np.random.default_rng(seed)
    parameters = as_float64(CONDITIONAL.parameters(case, rng))
    return parameters, as_float64(CONDITIONAL.inputs(case, rng))


@each_form
@each_writing
def test_gradients_by_hand_against_central_differences(form, written):
    case = case_of(form, written, mode="gradient")
    parameters, inputs = drawn(case)
    outputs = CONDITIONAL.by_hand(case)(parameters, inputs)
    for name in CONDITIONAL.differentiate(case):
        given = parameters if name in parameters else inputs

        def objective(value, name=name, given=given):
            changed = {**given, name: value}
            arrays = (changed, inputs) if given is parameters else (parameters, changed)
            return float(run_program(CONDITIONAL, case, *arrays).objective)

        assert_gradient(
            objective, given[name], outputs[f"grad_{name}"], rng=np.random.default_rng(1)
        )


@each_form
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_both_writings_and_the_program_agree(form, steps):
    found = []
    for written in WRITTEN:
        case = case_of(form, written, mode="gradient", steps=steps)
        parameters, inputs = drawn(case)
        found.append(CONDITIONAL.by_hand(case)(parameters, inputs))
        program = run_program(CONDITIONAL, case, parameters, inputs)
        for name, value in program.values.items():
            np.testing.assert_allclose(found[-1][name], value, rtol=1e-12)
    first, second = found
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-12, atol=1e-14)


def test_what_depends_on_data_differs_from_round_to_round():
    gates = {tuple(drawn(case_of("branch", "control_flow"), seed)[1]["gates"]) for seed in range(9)}
    assert len(gates) > 1
    assert {sum(gate > 0 for gate in each) for each in gates} == {3}, "but half of them always"
    case = case_of("while", "control_flow", steps=16)
    counts = {float(drawn(case, seed)[1]["count"]) for seed in range(20)}
    assert counts == {7.0, 8.0, 9.0}


@each_form
def test_the_cost_grows_with_steps_and_gradients(form):
    cost = CONDITIONAL.cost(case_of(form, "control_flow"))
    more = CONDITIONAL.cost(case_of(form, "control_flow", steps=10, mode="gradient"))
    assert more.flops > 3 * cost.flops > 0 and more.bytes_moved > cost.bytes_moved
    assert cost == CONDITIONAL.cost(case_of(form, "branchless")), "what is needless is not counted"
