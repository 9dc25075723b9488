"""The four figures of a device, against a device in virtual time whose figures are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_device import VirtualDevice, VirtualRunner

from benchctl.compare.device_times import summarise_device
from benchctl.measure.clock import VirtualClock
from benchctl.measure.device_timing import (
    MOST_ATTEMPTS,
    NEVER_AHEAD,
    DeviceRule,
    Judgement,
    Watch,
    judge,
    measure_device,
    take_times,
    waits_words,
)
from benchctl.store.record import ArmResult, ArmRound, ArmSpec, DeviceTimes
from benchctl.store.schema import read_round, round_document
from benchctl_engines.contract import AsynchronousRunner, DeviceState, WaitingRunner

RULE = DeviceRule(samples=3)
close = pytest.approx


def virtual(launches=10, host=5e-6, work=2e-6, replays=False, **device):
    clock = VirtualClock()
    return VirtualRunner(VirtualDevice(clock, **device), launches, host, work, replays), clock


def test_the_virtual_runner_keeps_the_contract():
    assert isinstance(virtual()[0], AsynchronousRunner)


@settings(max_examples=40, deadline=None)
@given(
    launches=st.integers(1, 60),
    host=st.floats(1e-7, 1e-4),
    work=st.floats(1e-7, 1e-3),
    cold=st.floats(1.0, 3.0),
)
def test_each_figure_is_what_the_device_was_made_to_take(launches, host, work, cold):
    runner, clock = virtual(launches, host, work, cold_factor=cold)
    found = take_times(runner, clock, RULE)
    tolerance = {"rel": 1e-3, "abs": 2e-8 * launches}  # the clock counts whole nanoseconds
    assert found.warm == close((launches * work,) * 3, **tolerance)
    assert found.cold == close((launches * work * cold,) * 3, **tolerance)
    assert found.issue == close((launches * host,) * 6, **tolerance)
    # In turn: the first launch, then whichever of host and device is slower.
    pipeline = host + (launches - 1) * max(host, work) + work
    assert found.wall == close((pipeline,) * 3, **tolerance)
    assert found.replay == () and found.marks == ()


def test_a_spin_that_was_too_short_is_doubled_and_its_sample_thrown_away():
    runner, clock = virtual(launches=100, host=1e-5, work=1e-6)
    found = take_times(runner, clock, RULE)
    # 50 us are doubled from the issue time that was seen, and then 20 % above it will do.
    assert runner.device.spins[:3] == close([50e-6, 2e-3, 1.2e-3], rel=1e-3)
    assert found.warm == close((100e-6,) * 3, rel=1e-3)
    assert runner.issued == 3 + 1 + 6


def test_without_a_spin_the_figure_would_be_the_hosts():
    """Planted fault: a spin that does nothing gives the time of issuing instead."""
    runner, clock = virtual(launches=100, host=1e-5, work=1e-6)
    runner.device.spin = lambda seconds: None
    assert take_times(runner, clock, RULE).warm[0] > 0.9e-3


def test_a_full_queue_ends_in_a_mark_and_not_in_a_loop():
    runner, clock = virtual(launches=50, host=1e-6, work=1e-6, queue=20)
    found = take_times(runner, clock, replace(RULE, most_spin_seconds=0.01))
    assert found.marks == (NEVER_AHEAD,)
    assert len(found.warm) == 3


class ReadingRunner(VirtualRunner):
    """Waits for the device in the middle of a step, as where the host reads a condition."""

    def issue(self):
        super().issue()
        self.device.synchronize()
        super().issue()


class TellingRunner(ReadingRunner):
    """Knows it."""

    def waits(self):
        return "the host reads a number"


def test_a_step_that_waits_and_says_so_has_a_wall_time_alone():
    clock = VirtualClock()
    runner = TellingRunner(VirtualDevice(clock), 10, 5e-6, 2e-6)
    assert isinstance(runner, WaitingRunner) and not isinstance(virtual()[0], WaitingRunner)
    found = take_times(runner, clock, RULE)
    assert found == DeviceTimes(wall=found.wall, marks=(waits_words("the host reads a number"),))
    assert found.wall == close((2 * (10 * 5e-6 + 2e-6),) * 3, abs=1e-9)
    assert runner.device.spins == []


def test_a_step_that_waits_and_does_not_say_so_ends_in_a_mark_before_long():
    clock = VirtualClock()
    runner = ReadingRunner(VirtualDevice(clock), 10, 5e-6, 2e-6)
    found = take_times(runner, clock, RULE)
    assert found.marks == (NEVER_AHEAD,) and len(found.warm) == len(found.cold) == 3
    # Without a spin it is issued in 0.1 ms.
    assert max(runner.device.spins) < 10e-3


def test_replays_run_back_to_back_for_the_time_given():
    runner, clock = virtual(launches=1, host=3e-6, work=20e-6, replays=True)
    found = take_times(runner, clock, replace(RULE, replay_seconds=2e-3))
    assert found.replay == close((20e-6 + 3e-6 / 100,) * 3, rel=1e-3)
    assert take_times(virtual()[0], VirtualClock(), RULE).replay == ()


# ----- the watch ----------------------------------------------------------------------------------


COOL = DeviceState(1e9, 1e9)
HOT = DeviceState(1e9, 1e9, 90.0, ("thermal slowdown by hardware",))


def watched(*states: DeviceState):
    """The figures of one round under sensors that say this, the last of it for ever."""
    runner, clock = virtual()
    runner.device.states = list(states)
    before = clock.now_ns()
    found = measure_device(runner, clock, Watch(clock), RULE)
    return found, runner.issued, (clock.now_ns() - before) / 1e9


def test_a_hot_block_is_taken_again_after_a_pause():
    _, once, quick = watched(COOL)
    found, issued, seconds = watched(COOL, HOT, COOL)
    assert issued == 2 * once and found.marks == ()
    assert seconds >= quick + 0.05


def test_a_device_that_stays_hot_is_said_to_be():
    found, issued, _ = watched(HOT)
    assert issued == MOST_ATTEMPTS * watched(COOL)[1]
    assert found.marks == ("the device was held back: thermal slowdown by hardware",)


def slow(clock):
    return DeviceState(clock, 1e9)


def test_a_clock_that_idling_lowered_is_raised_before_the_block_and_not_held_against_it():
    found, issued, _ = watched(slow(0.345e9), slow(1e9))
    assert found.marks == () and issued == watched(COOL)[1]


def test_a_clock_that_stays_low_under_work_is_said_to_be():
    found, issued, _ = watched(slow(0.345e9))
    assert found.marks == ("the device ran at 34% of its default clock",)
    assert issued == MOST_ATTEMPTS * watched(COOL)[1]


@pytest.mark.parametrize(
    ("after", "usual", "expected"),
    [
        (slow(1e9), None, Judgement(True)),
        (slow(0.74e9), None, Judgement(False, ("the device ran at 74% of its default clock",))),
        (slow(0.76e9), None, Judgement(True)),
        (slow(0.8e9), 0.95e9, Judgement(True, ("the device ran at 84% of its usual clock",))),
        (DeviceState(), None, Judgement(True)),
        (
            DeviceState(1e9, 1e9, marking=("power cap",)),
            1e9,
            Judgement(True, ("the device was at its limit: power cap",)),
        ),
        (
            DeviceState(1e9, 1e9, spoiling=("power brake",), marking=("power cap",)),
            1e9,
            Judgement(False, ("the device was held back: power brake",)),
        ),
    ],
)
def test_what_the_sensors_say_of_a_block(after, usual, expected):
    assert judge(slow(1e9), after, usual) == expected


def test_a_slower_clock_than_the_runs_own_median_is_marked():
    runner, clock = virtual()
    runner.device.states = [slow(1e9)] * 4 + [slow(0.85e9)]
    watch = Watch(clock)
    marks = [measure_device(runner, clock, watch, RULE).marks for _ in range(3)]
    assert marks == [(), (), ("the device ran at 85% of its usual clock",)]


# ----- record and summary -------------------------------------------------------------------------


def arm_with(*times: DeviceTimes | None) -> ArmResult:
    rounds = tuple(ArmRound(i, (1e-3,), 1, device=each) for i, each in enumerate(times))
    return ArmResult(ArmSpec("static@gpu", "static", "gpu"), "ok", rounds=rounds)


def test_device_times_come_back_from_a_file_and_old_rounds_have_none():
    import json

    from benchctl.store.fields import Fields

    times = DeviceTimes((1e-6, 2e-6), (1e-6,), (5e-6,), (4e-6,), (), ("a mark",), copy_in=(3e-6,))
    rounds = {"a": ArmRound(0, (1e-3,), 1, device=times), "b": ArmRound(0, (1e-3,), 1)}
    document = json.loads(json.dumps(round_document("case", 0, rounds)))
    assert "device" not in document["arms"]["b"]
    assert read_round(Fields(document, "a line")) == rounds


def test_an_arm_whose_device_waits_for_the_host_is_launch_bound():
    slow = DeviceTimes(warm=(40e-6, 42e-6, 41e-6), wall=(100e-6,), marks=("hot",))
    found = summarise_device(arm_with(slow, None, slow))
    assert found.warm == 41e-6 and found.host_share == close(0.59)
    assert found.launch_bound and found.marks == ("hot",) and found.replay is None
    busy = DeviceTimes(warm=(51e-6,), wall=(100e-6,))
    assert not summarise_device(arm_with(busy)).launch_bound
    assert summarise_device(arm_with(None)) is None


# ----- what is shown ------------------------------------------------------------------------------


def run_on_a_gpu():
    """A run with one launch-bound arm on a GPU, one that is not, and one on the CPU."""
    from record_factory import FakeArm, make_run

    arms = (FakeArm("static@gpu", 2e-5), FakeArm("eager@gpu", 9e-5), FakeArm("numpy", 4e-5))
    times = {
        "static@gpu": DeviceTimes((18e-6,), (16e-6,), (20e-6,), (4e-6,), (17e-6,), copy_in=(7e-6,)),
        "eager@gpu": DeviceTimes((19e-6,), (17e-6,), (90e-6,), (80e-6,), (), ("it was hot",)),
    }
    run = make_run(arms=arms)
    (case,) = run.cases
    results = tuple(
        replace(
            arm,
            rounds=tuple(replace(each, device=times.get(arm.arm.id)) for each in arm.rounds),
        )
        for arm in case.arms
    )
    return replace(run, cases=(replace(case, arms=results),))


def test_a_run_on_a_gpu_has_a_table_of_its_own_and_says_what_is_launch_bound():
    from benchctl.compare.summary import summarise
    from benchctl.report.markdown import run_markdown
    from benchctl.report.text import run_lines

    summary = summarise(run_on_a_gpu())
    lines = [" ".join(line.split()) for line in run_lines(summary)]
    assert "static@gpu fp32 18 us 16 us 20 us 4.0 us 17 us 7.0 us 20% device" in lines
    assert "eager@gpu fp32 19 us 17 us 90 us 80 us - - 81% launching" in lines
    text = "\n".join(run_lines(summary))
    assert "eager@gpu is launch-bound" in text and "eager@gpu: it was hot." in text
    assert sum("numpy" in line and "device" in line for line in lines) == 0
    assert "| device, cold L2 |" in "\n".join(run_markdown(summary))


def test_the_page_and_the_document_have_the_figures_too():
    from benchctl.compare.summary import summarise
    from benchctl.report.html import render_page
    from benchctl.report.views import make_views
    from benchctl.store.export import run_document

    run = run_on_a_gpu()
    page = render_page([(view, []) for view in make_views([run])], embed_records=False)
    assert "On the GPU's own clock" in page or "On the GPU&#39;s own clock" in page
    entries = {each["arm"]: each for each in run_document(run, summarise(run))["cases"]}
    assert entries["numpy"]["device_seconds"] is None
    assert entries["eager@gpu"]["device_seconds"]["launch_bound"] is True
    assert entries["eager@gpu"]["device_seconds"]["wall"] == 90e-6
