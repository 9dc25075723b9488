"""Slowdowns planted on purpose: of the size that was asked for, and nowhere else."""

from __future__ import annotations

import pytest
from gate_runs import CASES, scripted_gate
from hypothesis import given
from hypothesis import strategies as st

from benchctl.gate.noise import aa_gate, append_aa, load_aa, noise_floor
from benchctl.gate.plans import is_control, pair_plan, with_planted_slowdown
from benchctl.measure.arm import CaseContext
from benchctl.measure.clock import VirtualClock, WallClock
from benchctl.measure.planted import SLOWDOWN, SlowedClock, worker_clock
from benchctl.measure.sampler import SampleRule, take_samples
from benchctl.measure.settings import settings_of
from benchctl.measure.worker_client import ProcessWorker
from benchctl.plan.schedule import arms_of_case
from benchctl.plan.subjects import Subject
from benchctl.plan.suites import SuiteEntry
from benchctl.report.noise import noise_document, noise_lines


@given(
    step_ns=st.integers(200, 2_000_000),
    tick_ns=st.integers(0, 100),
    share=st.floats(0.01, 2.0),
)
def test_a_sample_takes_longer_by_the_share(step_ns, tick_ns, share):
    virtual = VirtualClock(read_ns=10, tick_ns=tick_ns)
    samples = take_samples(
        lambda: virtual.sleep(step_ns / 1e9),
        SlowedClock(share, virtual),
        SampleRule(min_sample_seconds=1e-4, max_samples=3),
        step_ns / 1e9,
    )
    expected = samples.loops * step_ns * (1 + share)
    # A few readings of the clock.
    assert samples.nanoseconds == pytest.approx([expected] * len(samples.nanoseconds), abs=60)


def test_the_turns_are_as_many_as_asked_for():
    assert sum(1 for _ in SlowedClock(0.5, WallClock()).ticks(1000)) == 1000


def test_only_a_worker_that_is_told_to_is_slow():
    assert isinstance(worker_clock({}), WallClock)
    slowed = worker_clock({SLOWDOWN: "0.05"})
    assert isinstance(slowed, SlowedClock) and slowed.share == 0.05


def gate_plan():
    entries = [SuiteEntry("xyz", {"size": ("3x4", "10x10")}, arms=("static", "numpy"))]
    return pair_plan(entries, (Subject("base"), Subject("head")), rounds=7, seed=1, threads=1)


def test_one_head_is_slower_in_one_case_and_all_have_their_turn():
    plain = gate_plan()
    seen = []
    for number in range(4):
        plan, (case_id, label) = with_planted_slowdown(plain, number, 0.05)
        slow = []
        for case in plan.cases:
            context = CaseContext(plan, case, settings_of(plan), ProcessWorker, WallClock())
            for arm in arms_of_case(plan, case.id):
                environment = context.environment(context.settings.cache_folder, arm)
                if SLOWDOWN in environment:
                    assert environment[SLOWDOWN] == "0.05" and not is_control(case)
                    slow.append((case.id, arm.id))
        assert slow == [(case_id, f"{label}~head")]
        seen += slow
    assert len(set(seen)) == 4
    assert with_planted_slowdown(plain, 4, 0.05)[1] == with_planted_slowdown(plain, 0, 0.05)[1]


def test_planted_slowdowns_are_no_false_alarms(tmp_path):
    clean, regressed = scripted_gate(), scripted_gate(ratios={CASES[0]: 1.2})
    slower = regressed.cases[0].key, 0.2
    for result, planted in ((clean, None), (regressed, slower), (clean, slower)):
        append_aa(tmp_path, aa_gate(result, "m", "2026-01-01", 60.0, planted))
    gates = load_aa(tmp_path)
    assert [gate.planted is None for gate in gates] == [True, False, False]
    assert gates[1].planted.found and not gates[2].planted.found
    floor = noise_floor(gates, "m")
    assert (floor.gates, floor.red, floor.seconds) == (1, 0, 60.0)
    (power,) = floor.powers
    assert (power.share, power.gates, power.found, power.seconds) == (0.2, 2, 1, 120.0)
    # One of two: the lower bound solves 1 - (1 - p)^2 = 0.05.
    assert power.found_bound == pytest.approx(1 - 0.95**0.5)
    assert "A slowdown of 20 % planted in one case was found by 1 of 2 gates" in "\n".join(
        noise_lines(floor)
    )
    assert noise_document(floor)["planted"][0]["found"] == 1
