"""The sampler under a virtual clock: every figure is known before it is measured."""

from __future__ import annotations

import gc
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.measure.clock import ImportTimer, VirtualClock, WallClock
from benchctl.measure.sampler import (
    ClockError,
    SampleRule,
    WarmUpRule,
    calibrate_loops,
    measure_round,
    take_samples,
    warm_up,
)

SMALL = SampleRule(min_sample_seconds=0.0001, round_seconds=0.0008)


def stepping(clock: VirtualClock, step_ns: int):
    def step() -> None:
        clock.sleep(step_ns * 1e-9)

    return step


def steps_of(clock: VirtualClock, seconds):
    series = iter(seconds)

    def step() -> None:
        clock.sleep(next(series))

    return step


@given(
    step_ns=st.integers(50, 1_000_000),
    read_ns=st.integers(0, 500),
    tick_ns=st.integers(0, 100),
)
def test_harness_cost_is_removed_exactly(step_ns, read_ns, tick_ns):
    clock = VirtualClock(read_ns, tick_ns)
    samples = take_samples(stepping(clock, step_ns), clock, SMALL, step_ns * 1e-9)
    assert [each / samples.loops for each in samples.nanoseconds] == [step_ns] * len(
        samples.nanoseconds
    )


def test_a_loop_cost_left_in_would_show():
    clock = VirtualClock(tick_ns=100)
    step = stepping(clock, 1000)
    loops = calibrate_loops(step, clock, SMALL, 1e-6)
    start = clock.now_ns()
    for _ in clock.ticks(loops):
        step()
    assert (clock.now_ns() - start) / loops == 1100
    assert take_samples(step, clock, SMALL, 1e-6).nanoseconds[0] / loops == 1000


@given(step_ns=st.integers(1_000, 50_000_000), guess=st.floats(0.9, 1.9))
def test_a_sample_is_long_enough_whatever_the_first_guess(step_ns, guess):
    clock = VirtualClock()
    rule = SampleRule(min_sample_seconds=0.001)
    guessed_seconds = step_ns * 1e-9 * guess
    loops = calibrate_loops(stepping(clock, step_ns), clock, rule, guessed_seconds)
    assert loops * step_ns >= 1_000_000
    # Long enough, and not needlessly longer than that.
    assert loops == 1 or (loops - 1) * step_ns < 1_300_000


def test_number_of_samples_follows_the_length_of_a_step():
    rule = SampleRule()
    assert rule.samples_for(2e-6) == 8
    assert rule.samples_for(0.02) == 4
    assert rule.samples_for(0.1) == 3
    assert rule.samples_for(0.31) == 1


def test_warm_up_takes_the_least_steps_and_seconds():
    clock = VirtualClock()
    done = warm_up(stepping(clock, 1_000_000), clock, WarmUpRule())
    assert done.steady
    assert done.steps == 500
    assert done.step_seconds == pytest.approx(0.001)
    clock = VirtualClock()
    done = warm_up(stepping(clock, 400_000_000), clock, WarmUpRule())
    assert (done.steps, done.steady) == (3, True)


def test_warm_up_goes_on_while_steps_get_faster():
    clock = VirtualClock()
    falling = [0.1 * 0.9**n for n in range(20)] + [0.01] * 200
    done = warm_up(steps_of(clock, falling), clock, WarmUpRule(min_seconds=0.1))
    assert done.steady
    # Ten steps of one length must have been seen, but for the median's own five.
    assert 25 <= done.steps <= 30


def test_a_step_that_never_settles_is_flagged_at_the_limit():
    clock = VirtualClock()
    growing = (0.01 * 1.2**n for n in range(1000))
    done = warm_up(steps_of(clock, growing), clock, WarmUpRule(limit_seconds=2.0))
    assert not done.steady
    assert 2.0 <= done.seconds < 3.0


def test_a_step_longer_than_the_limit_is_done_twice_and_judged():
    clock = VirtualClock()
    assert warm_up(steps_of(clock, [30.0, 30.5]), clock, WarmUpRule()).steady
    assert not warm_up(steps_of(clock, [30.0, 20.0]), clock, WarmUpRule()).steady


def test_a_clock_that_stands_still_is_an_error_and_ends():
    clock = VirtualClock()
    with pytest.raises(ClockError, match="stands still or goes back"):
        take_samples(lambda: None, clock, SampleRule(max_loops=1000), 1e-6)


def test_one_step_back_of_the_clock_is_measured_again():
    clock = VirtualClock()
    lengths = iter([0.02, -0.5, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02])
    samples = take_samples(steps_of(clock, lengths), clock, SampleRule(), 0.02)
    assert samples.nanoseconds == (20_000_000,) * 4


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_rests_during_samples(enabled):
    seen = set()
    clock = VirtualClock()

    def step() -> None:
        seen.add(gc.isenabled())
        clock.sleep(0.02)

    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        measure_round(step, clock, WarmUpRule(), SampleRule())
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()
    assert seen == {False}


def test_the_wall_clock_counts_turns_and_moves_forward():
    clock = WallClock()
    start = clock.now_ns()
    assert sum(1 for _ in clock.ticks(1000)) == 1000
    clock.sleep(0.001)
    assert clock.now_ns() - start >= 1_000_000


def test_import_time_is_that_of_new_modules_alone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "slow_module_for_test.py").write_text("import clock_for_test_module\n")
    (tmp_path / "clock_for_test_module.py").write_text("import builtins\nbuiltins.advance()\n")
    clock = VirtualClock()
    monkeypatch.setattr("builtins.advance", lambda: clock.sleep(2.0), raising=False)
    with ImportTimer(clock) as timer:
        clock.sleep(1.0)
        import slow_module_for_test

        clock.sleep(1.0)
        import slow_module_for_test as again

    assert again is slow_module_for_test
    assert math.isclose(timer.seconds, 2.0)
    assert __import__ is not timer._timed_import
