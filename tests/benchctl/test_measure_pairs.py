"""Measuring two sides: round by round over all cases, subjects with their own code, commands."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from measure_plans import (
    QUICK,
    RecordingObserver,
    fake_arm,
    fake_case,
    fake_plan,
    local_launcher,
    new_journal,
    results_of,
    virtual_settings,
)

from benchctl.compare.pairs import compare_rounds
from benchctl.gate.plans import pair_plan
from benchctl.measure.clock import VirtualClock
from benchctl.measure.commands import command_arguments
from benchctl.measure.session import INTERLEAVED, measure
from benchctl.plan.subjects import Subject, pairs_of, subject_of, with_subjects
from benchctl.plan.suites import SuiteEntry
from benchctl.store.reader import load_run
from benchctl.store.record import Plan, Run

WORKLOAD = """
import time
import numpy as np
from benchctl_engines.contract import Outputs
from benchctl_workloads import Workload
import helper


class Mine(Workload):
    name = "mine"

    def inputs(self, case, rng):
        return {"x": rng.standard_normal((4, 4), dtype=np.float32)}

    def program(self, ops, parameters, inputs, case):
        return Outputs({"y": inputs["x"] * helper.FACTOR})

    def by_hand(self, case):
        def step(parameters, inputs):
            end = time.perf_counter() + helper.SECONDS
            while time.perf_counter() < end:
                pass
            return {"y": inputs["x"] * np.float32(helper.FACTOR)}

        return step
"""


def measured(tmp_path: Path, plan: Plan, **more) -> Run:
    journal = new_journal(tmp_path / "store", plan)
    measure(plan, journal, more.pop("observer", RecordingObserver()), **more)
    return load_run(journal.path)


def test_every_round_of_all_cases_comes_before_the_next(tmp_path):
    clock = VirtualClock(read_ns=70, tick_ns=9)
    cases = (fake_case(elements=4), fake_case(elements=8))
    plan = fake_plan(
        fake_arm("a"),
        fake_arm("b", step_us=1100),
        rounds=3,
        cases=cases,
        settings={INTERLEAVED: True},
    )
    observer = RecordingObserver()
    settings = virtual_settings(tmp_path / "cache", cold=False)
    run = measured(
        tmp_path,
        plan,
        observer=observer,
        settings=settings,
        launch=local_launcher(clock),
        clock=clock,
    )
    assert run.complete
    order = [(case_id, done) for case_id, done, _ in observer.rounds]
    first, second = (case.id for case in cases)
    # Every other round takes the cases in reverse.
    assert order == [(first, 1), (second, 1), (second, 2), (first, 2), (first, 3), (second, 3)]
    for number in range(2):
        for result in results_of(run, number).values():
            assert [each.process for each in result.rounds] == [0, 1, 2]
            assert result.verification is not None and result.verification.ok
            assert result.kernels == ("fake_sleep",)


def test_a_failing_arm_leaves_the_others_alone(tmp_path):
    clock = VirtualClock()
    plan = fake_plan(
        fake_arm("a"),
        fake_arm("b", fault="error", at="warm_up"),
        rounds=3,
        settings={INTERLEAVED: True},
    )
    settings = virtual_settings(tmp_path / "cache", cold=False)
    run = measured(tmp_path, plan, settings=settings, launch=local_launcher(clock), clock=clock)
    found = results_of(run)
    assert (found["a"].status, len(found["a"].rounds)) == ("ok", 3)
    assert (found["b"].status, len(found["b"].rounds)) == ("crashed", 0)


def test_arms_are_doubled_and_paired():
    plan = with_subjects(
        fake_plan(fake_arm("a"), fake_arm("b")),
        [Subject("base", "abc", "/there", ("/there/src",)), Subject("head")],
    )
    assert [arm.id for arm in plan.arms] == ["a~base", "a~head", "b~base", "b~head"]
    assert plan.reference_arm == "a~base"
    pairs = pairs_of(plan, plan.arms)
    assert [(pair.label, pair.base_id, pair.head_id) for pair in pairs] == [
        ("a", "a~base", "a~head"),
        ("b", "b~base", "b~head"),
    ]
    subject = subject_of(plan, plan.arms[0])
    assert subject == Subject("base", "abc", "/there", ("/there/src",))
    assert subject_of(fake_plan(fake_arm("a")), fake_arm("a")) is None


def test_subjects_survive_the_store(tmp_path):
    plan = with_subjects(
        fake_plan(fake_arm("a")), [Subject("base"), Subject("head", "r", "f", ("p",))]
    )
    with new_journal(tmp_path, plan) as journal:
        journal.finish()
    assert load_run(journal.path).plan == plan


@pytest.mark.slow
def test_two_revisions_run_their_own_code(tmp_path, monkeypatch):
    """The same workload file on two helpers; the second is slower, and wrong in the third."""
    for name, seconds, factor in (("old", 0.001, 2), ("new", 0.002, 2), ("wrong", 0.001, 3)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "mine.py").write_text(WORKLOAD)
        (folder / "helper.py").write_text(f"SECONDS, FACTOR = {seconds}, {factor}\n")

    def subject(side: str, name: str) -> Subject:
        folder = str(tmp_path / name)
        return Subject(side, name, folder, (folder,))

    monkeypatch.chdir(tmp_path / "old")
    monkeypatch.syspath_prepend(str(tmp_path / "old"))
    plan = pair_plan(
        [SuiteEntry("./mine.py")],
        (subject("base", "old"), subject("head", "new")),
        arms=("numpy",),
        rounds=3,
        seed=0,
        threads=1,
        controls=True,
        measure=QUICK,
    )
    run = measured(tmp_path, plan)
    comparison = compare_rounds(run, "old", "new")
    ratios = {pair.case.id: math.exp(pair.judgement.estimate) for pair in comparison.pairs}
    assert ratios["mine[]"] == pytest.approx(2, rel=0.3)
    controls = [arm for case in run.cases[1:] for arm in case.arms]
    assert [arm.status for arm in controls] == ["ok"] * 4
    assert all(arm.verification.ok for arm in controls)
    assert {arm.arm.subject for arm in controls} == {"base"}


@pytest.mark.slow
def test_commands_are_measured_as_whole_processes(tmp_path):
    def line(seconds: float) -> str:
        return f"{sys.executable} -S -c 'import time; time.sleep({seconds})'"

    plan = pair_plan(
        [],
        (Subject("base"), Subject("head")),
        commands={
            "nap": (line(0.02), line(0.06)),
            "broken": ("true", "sh -c 'echo why >&2; exit 3'"),
        },
        controls=False,
        rounds=3,
        seed=0,
        threads=1,
        measure=QUICK,
    )
    run = measured(tmp_path, plan)
    nap, broken = ({arm.arm.subject: arm for arm in case.arms} for case in run.cases)
    medians = {side: sorted(each.seconds[0] for each in arm.rounds)[1] for side, arm in nap.items()}
    assert 0.02 < medians["base"] < medians["head"]
    assert medians["head"] > 0.06
    assert broken["base"].status == "ok"
    assert broken["head"].status == "crashed"
    assert "exit code 3" in broken["head"].message and "why" in broken["head"].message


@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("python -m mine 'two words'", ["python", "-m", "mine", "two words"]),
        ("a | b", ["/bin/sh", "-c", "a | b"]),
        ("echo $HOME", ["/bin/sh", "-c", "echo $HOME"]),
    ],
)
def test_a_shell_is_used_only_where_one_is_needed(line, arguments):
    assert command_arguments(line) == arguments
