"""Pairs of a run and of two stored runs: ratios the right way round, errors under control."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from gate_runs import CASES, FakeMachine, screen_plan
from record_factory import EAGER, NUMPY, STATIC, FakeArm, make_case, make_run

from benchctl.compare.pairs import compare_rounds, compare_stored
from benchctl.report.comparison import (
    comparison_document,
    comparison_lines,
    comparison_markdown,
    comparison_sentence,
    comparison_table,
)
from benchctl.stats.verdict import Verdict


def test_pairs_come_with_verdicts_the_largest_difference_first():
    run = FakeMachine({CASES[0]: 0.8, CASES[1]: 1.5})(screen_plan())
    found = compare_rounds(run, "main", "mine")
    by_case = {pair.case.id: pair for pair in found.pairs}
    assert [pair.case.id for pair in found.pairs[:2]] == [CASES[1], CASES[0]]
    assert by_case[CASES[0]].verdict is Verdict.FASTER
    assert by_case[CASES[1]].verdict is Verdict.SLOWER
    assert by_case[CASES[2]].verdict is Verdict.SAME
    assert math.exp(by_case[CASES[1]].judgement.estimate) == pytest.approx(1.5, rel=0.01)
    assert found.count(Verdict.SLOWER) == 1
    expected = (0.8 * 1.5 * 1 * 1 * 1) ** (1 / 5)
    assert found.mean.ratio == pytest.approx(expected, rel=0.01)
    assert found.mean.low < expected < found.mean.high


def test_swapping_the_sides_turns_every_ratio_over():
    machine = FakeMachine({CASES[0]: 0.8, CASES[1]: 1.5})
    run = machine(screen_plan())
    found = compare_rounds(run, "a", "b")
    swapped = replace(
        run,
        cases=tuple(
            replace(
                case,
                arms=tuple(
                    replace(arm, arm=other.arm)
                    for arm, other in zip(case.arms, reversed(case.arms), strict=True)
                ),
            )
            for case in run.cases
        ),
    )
    turned = {pair.case.id: pair.judgement for pair in compare_rounds(swapped, "b", "a").pairs}
    for pair in found.pairs:
        other = turned[pair.case.id]
        assert other.estimate == pytest.approx(-pair.judgement.estimate)
        assert (other.low, other.high) == pytest.approx((-pair.judgement.high, -pair.judgement.low))


def test_numbers_are_sorted_as_numbers():
    run = FakeMachine({CASES[0]: 10.5, CASES[1]: 2.0, CASES[2]: 1 / 3})(screen_plan())
    rows = comparison_table(compare_rounds(run, "a", "b")).rows
    assert [row[0] for row in rows[:3]] == [
        f"xyz[size={size}]" for size in ("3x4", "32x32", "10x10")
    ]


def test_a_side_that_was_not_measured_is_not_compared_and_not_hidden():
    run = FakeMachine({}, statuses={"numpy~head": "crashed"})(screen_plan())
    found = compare_rounds(run, "a", "b")
    missing = [pair for pair in found.pairs if pair.judgement is None]
    assert len(missing) == 3
    assert all("head was not measured: numpy~head crashed" in pair.reason for pair in missing)
    text = "\n".join(comparison_lines(found))
    assert "not compared" in text and "numpy~head crashed" in text


def test_stored_runs_are_compared_by_process():
    case = make_case()
    base = make_run((case,), (STATIC, NUMPY), rounds=40, seed=1)
    head = make_run((case,), (replace(STATIC, step_seconds=3e-6), NUMPY, EAGER), rounds=40, seed=2)
    found = compare_stored(base, head)
    assert not found.paired and found.mean is None
    verdicts = {pair.label: pair.verdict for pair in found.pairs}
    assert verdicts["static"] is Verdict.SLOWER
    assert verdicts["numpy"] in (Verdict.SAME, Verdict.INCONCLUSIVE)
    assert found.only_head == (f"{case.id} eager",)
    ratio = math.exp(found.pairs[0].judgement.estimate)
    assert ratio == pytest.approx(3 / 1.9, rel=0.03)
    assert "no round in common" in "\n".join(comparison_lines(found))


def test_sample_counts_may_differ():
    base = make_run(arms=(STATIC,), rounds=25, seed=1)
    head = make_run(arms=(STATIC,), rounds=40, seed=2)
    found = compare_stored(base, head).pairs[0]
    assert found.judgement is not None and found.verdict is not Verdict.SLOWER


def test_two_machines_are_not_judged_unless_asked():
    base = make_run(arms=(STATIC,), rounds=30)
    head = replace(make_run(arms=(STATIC,), rounds=30, seed=3), machine={"id": "another"})
    (pair,) = compare_stored(base, head).pairs
    assert pair.judgement is None and "another machine" in pair.reason
    (pair,) = compare_stored(base, head, across_machines=True).pairs
    assert pair.judgement is not None


def test_many_unchanged_pairs_raise_no_alarm():
    """Holm over the pairs: a run of twelve unchanged cases rarely calls one of them changed."""
    case_count, runs = 12, 60
    alarms = 0
    for seed in range(runs):
        arms = (FakeArm("numpy"), FakeArm("static"))
        cases = [make_case(size=f"{n + 1}x4") for n in range(case_count)]
        run = make_run(cases, arms, rounds=12, spread=0.03, seed=seed)
        found = compare_rounds(run, "numpy", "static", margin=0.0)
        alarms += any(pair.verdict in (Verdict.SLOWER, Verdict.FASTER) for pair in found.pairs)
    assert alarms <= 8  # 5 % of 60 are 3; 9 or more would be a chance of 1 in 300


def test_documents_say_the_same_in_every_format():
    run = FakeMachine({CASES[0]: 0.8})(screen_plan())
    found = compare_rounds(run, "main", "mine")
    sentence = comparison_sentence(found)
    assert "mine against main: 0 slower, 1 faster, 4 same, 0 inconclusive." in sentence
    assert comparison_markdown(found)[0] == sentence
    document = comparison_document(found)
    assert document["pairs"][0]["verdict"] == "faster"
    assert document["pairs"][0]["ratio"] == pytest.approx(0.8, rel=0.01)
    assert "▼ faster" in "\n".join(comparison_lines(found))
