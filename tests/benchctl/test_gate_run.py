"""A gate on a scripted machine: what it measures again, and what it says in the end."""

from __future__ import annotations

import pytest
from gate_runs import CASES, FakeMachine, screen_plan

from benchctl.gate.config import EXACT_COUNTS
from benchctl.gate.decide import GateRule
from benchctl.gate.outcomes import Ending, Outcome, unused_entries
from benchctl.gate.run import GateRequest, run_gate


def gate(machine: FakeMachine, **request):
    rule = request.pop("rule", GateRule())
    said: list[str] = []
    asked = GateRequest(rule, "base", "head", EXACT_COUNTS, **request)
    result, runs = run_gate(screen_plan(rule.screen_rounds), asked, machine, said.append)
    return result, runs, said


def outcomes(result) -> dict[str, Outcome]:
    return {case.key[0]: case.outcome for case in result.cases}


def test_unchanged_code_costs_one_screen():
    result, runs, said = gate(FakeMachine())
    assert result.ending is Ending.CLEAN and len(runs) == 1 and not said
    assert set(outcomes(result).values()) == {Outcome.SAME}
    assert [control.contaminated for control in result.controls] == [False, False]


def test_a_slowdown_is_measured_again_and_called_by_name():
    machine = FakeMachine({CASES[1]: 1.10})
    result, _, said = gate(machine)
    assert result.ending is Ending.REGRESSION
    assert outcomes(result) == {
        CASES[1]: Outcome.REGRESSED,
        CASES[0]: Outcome.SAME,
        CASES[2]: Outcome.SAME,
    }
    screen, confirm = machine.plans
    assert (screen.rounds, confirm.rounds) == (12, 30)
    assert confirm.seed != screen.seed
    measured = [case.id for case in confirm.cases]
    assert measured == [CASES[1], "control[kind=python]", "control[kind=matmul]"]
    assert CASES[1] in said[0]


def test_the_screen_alone_calls_nothing_a_regression():
    machine = FakeMachine({CASES[0]: 1.10}, confirm={"ratios": {}})
    result, _, _ = gate(machine)
    assert result.ending is Ending.CLEAN
    assert outcomes(result)[CASES[0]] is Outcome.UNCONFIRMED
    strict, _, _ = gate(FakeMachine({CASES[0]: 1.10}, confirm={"ratios": {}}), strict=True)
    assert strict.ending is Ending.INCONCLUSIVE


def test_faster_is_never_a_failure():
    result, runs, _ = gate(FakeMachine({CASES[0]: 0.5, CASES[1]: 0.9}))
    assert result.ending is Ending.CLEAN and len(runs) == 1
    assert outcomes(result)[CASES[0]] is Outcome.IMPROVED


def test_a_disturbed_machine_is_tried_once_more():
    machine = FakeMachine({CASES[0]: 1.2}, control=1.06, confirm={"control": 1.0, "ratios": {}})
    result, runs, said = gate(machine)
    assert result.ending is Ending.CLEAN and len(runs) == 2
    assert "once more" in said[0]


def test_a_machine_that_stays_disturbed_proves_nothing():
    result, runs, _ = gate(FakeMachine({CASES[0]: 1.2}, control=1.06))
    assert result.ending is Ending.CONTAMINATED and len(runs) == 2


@pytest.mark.parametrize("status", ["wrong", "crashed", "timeout"])
def test_a_head_that_cannot_be_measured_fails(status):
    result, _, _ = gate(FakeMachine(statuses={"numpy~head": status}))
    assert result.ending is Ending.FAILED
    assert set(outcomes(result).values()) == {Outcome.FAILED}
    assert status in result.cases[0].reason


def test_a_case_that_the_base_has_not_is_new():
    result, _, _ = gate(FakeMachine(statuses={"numpy~base": "unavailable"}))
    assert set(outcomes(result).values()) == {Outcome.NEW}
    assert result.ending is Ending.NOTHING_MEASURED


def test_a_candidate_that_cannot_be_measured_again_is_not_cleared():
    machine = FakeMachine({CASES[0]: 1.10}, confirm={"statuses": {"numpy~head": "crashed"}})
    result, _, _ = gate(machine)
    assert result.ending is Ending.FAILED
    assert outcomes(result)[CASES[0]] is Outcome.FAILED
    short = FakeMachine({CASES[0]: 1.10}, confirm={"lost_rounds": 3})
    assert outcomes(gate(short)[0])[CASES[0]] is Outcome.FAILED


def test_quarantine_reports_and_does_not_fail():
    for name in (CASES[0], f"{CASES[0]} numpy", "xyz[size=3x4]", "xyz[size=3x4] numpy"):
        result, _, _ = gate(FakeMachine({CASES[0]: 1.10}), quarantine=frozenset([name]))
        assert result.ending is Ending.CLEAN
        assert outcomes(result)[CASES[0]] is Outcome.QUARANTINED
        assert "regressed" in next(c.reason for c in result.cases if c.key[0] == CASES[0])


@pytest.mark.parametrize("name", ["xyz[size=10x10]", "xyz[size=3x4] static", "vgg16", "numpy"])
def test_quarantine_of_another_case_changes_nothing(name):
    result, _, _ = gate(FakeMachine({CASES[0]: 1.10}), quarantine=frozenset([name]))
    assert result.ending is Ending.REGRESSION
    assert unused_entries(result, [name]) == ([] if "10x10" in name else [name])


def test_counts_are_gated_exactly():
    grown = {"numpy~base": {"launches": 5, "arena_bytes": 1000}}
    for head, expected in (
        ({"launches": 5, "arena_bytes": 1000}, Ending.CLEAN),
        ({"launches": 6, "arena_bytes": 1000}, Ending.REGRESSION),
        ({"launches": 5, "arena_bytes": 1004}, Ending.CLEAN),
        ({"launches": 5, "arena_bytes": 1006}, Ending.REGRESSION),
        ({"launches": 4, "arena_bytes": 900}, Ending.CLEAN),
        ({"launches": 5}, Ending.CLEAN),
    ):
        result, runs, _ = gate(FakeMachine(counts={**grown, "numpy~head": head}))
        assert result.ending is expected, head
        assert len(runs) == 1


def test_removed_cases_are_named():
    result, _, _ = gate(FakeMachine(), removed=("./gone.py",))
    assert outcomes(result)["./gone.py"] is Outcome.REMOVED
    assert result.ending is Ending.CLEAN


def test_no_regression_hides_behind_another_cases_failure():
    machine = FakeMachine({CASES[0]: 1.10}, statuses={})
    result, _, _ = gate(machine, removed=("x",))
    assert result.ending is Ending.REGRESSION
