"""Warm-up and samples of one step, free of what the measuring itself costs.

Pure functions of a step and a clock; nothing here imports NumPy.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchctl.measure.clock import NANOSECONDS, Clock, seconds_since

Step = Callable[[], object]

_LOOP_COST_TRIALS = 3
_CLOCK_RETRIES = 5


class ClockError(RuntimeError):
    """The clock gave a time that cannot be: it stood still or went back."""


@dataclass(frozen=True, slots=True)
class WarmUpRule:
    """When a step counts as warmed up.

    At least `min_steps` and `min_seconds` have passed, and the median of the last `window` steps
    is within `tolerance` of that of the `window` before. While fewer steps than two windows were
    done, each half of them is a window: a long step would take minutes otherwise. `limit_seconds`
    ends a warm-up that never settles, after two steps at least. `settle` off asks for no agreement
    of windows: the process has been steady before, and only its caches are to be filled again.
    """

    min_steps: int = 3
    min_seconds: float = 0.5
    limit_seconds: float = 10.0
    window: int = 5
    tolerance: float = 0.05
    settle: bool = True


@dataclass(frozen=True, slots=True)
class SampleRule:
    """How many samples a round takes, and how long each is.

    A sample lasts at least `min_sample_seconds`; a round of one arm takes about `round_seconds`
    where the step is short. A step above `long_step_seconds` is sampled once a round.
    """

    min_sample_seconds: float = 0.01
    round_seconds: float = 0.08
    min_samples: int = 3
    max_samples: int = 8
    long_step_seconds: float = 0.3
    max_loops: int = 4_000_000

    def samples_for(self, step_seconds: float) -> int:
        """The number of samples of a round."""
        if step_seconds > self.long_step_seconds:
            return 1
        each = max(self.min_sample_seconds, step_seconds)
        return max(self.min_samples, min(self.max_samples, int(self.round_seconds / each)))


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What a warm-up took, and whether it ended steady; `step_seconds` is its last median."""

    steps: int
    seconds: float
    steady: bool
    step_seconds: float


@dataclass(frozen=True, slots=True)
class Samples:
    """Nanoseconds of each whole inner loop of `loops` steps, the loop's own cost removed."""

    nanoseconds: tuple[int, ...]
    loops: int


def warm_up(step: Step, clock: Clock, rule: WarmUpRule) -> WarmUp:
    """Run `step` until it is as fast as it gets; raises `ClockError` where time goes back."""
    recent: deque[int] = deque(maxlen=2 * rule.window)
    steps = steps_back = 0
    begin = clock.now_ns()
    while True:
        start = clock.now_ns()
        step()
        elapsed = clock.now_ns() - start
        if elapsed < 0:
            # Such a step tells nothing, and the moment of the beginning went back with the clock.
            begin += elapsed
            steps_back += 1
            if steps_back == _CLOCK_RETRIES:
                raise ClockError(
                    f"a step expected a time of 0 or more, received {elapsed} ns after others "
                    f"below 0, {_CLOCK_RETRIES} in a row: the clock goes back"
                )
            continue
        steps_back = 0
        recent.append(elapsed)
        steps += 1
        seconds = seconds_since(clock, begin)
        enough = steps >= rule.min_steps and seconds >= rule.min_seconds
        over = steps >= 2 and seconds >= rule.limit_seconds
        if not (enough or over):
            continue
        steady = _is_steady(list(recent), rule)
        if steady or over or not rule.settle:
            median = statistics.median(list(recent)[-rule.window :])
            return WarmUp(steps, seconds, steady, median / NANOSECONDS)


def _is_steady(recent_ns: list[int], rule: WarmUpRule) -> bool:
    """Whether the last window differs little from the one before."""
    window = min(rule.window, len(recent_ns) // 2)
    if window == 0:
        return False
    last = statistics.median(recent_ns[-window:])
    before = statistics.median(recent_ns[-2 * window : -window])
    return abs(last - before) <= rule.tolerance * before


def measure_round(
    step: Step, clock: Clock, warm_up_rule: WarmUpRule, rule: SampleRule
) -> tuple[WarmUp, Samples]:
    """One round: a warm-up on its inputs, then its samples.

    The garbage collector runs before the warm-up, since it empties the caches, and rests until the
    last sample. Raises `ClockError` where time stands still or goes back.
    """
    with garbage_collector_paused():
        done = warm_up(step, clock, warm_up_rule)
        return done, take_samples(step, clock, rule, done.step_seconds)


def take_samples(step: Step, clock: Clock, rule: SampleRule, step_seconds: float) -> Samples:
    """The samples of one round of a warm step that takes about `step_seconds`.

    Raises `ClockError` where time stands still.
    """
    loops = calibrate_loops(step, clock, rule, step_seconds)
    cost = loop_cost_ns(clock, loops)
    count = rule.samples_for(step_seconds)
    return Samples(tuple(_sample_ns(step, clock, loops, cost) for _ in range(count)), loops)


def calibrate_loops(step: Step, clock: Clock, rule: SampleRule, step_seconds: float) -> int:
    """Steps in a sample, so that it lasts at least `min_sample_seconds`."""
    target = rule.min_sample_seconds * NANOSECONDS
    # A step of clearly that length is not done once more to find out.
    if step_seconds >= 2 * rule.min_sample_seconds:
        return 1
    # A single step is timed together with the clock, so this guess is low rather than high.
    guess = target / max(1.0, step_seconds * NANOSECONDS)
    loops = max(1, min(rule.max_loops, math.ceil(guess)))
    while loops < rule.max_loops:
        elapsed = _loop_ns(step, clock, loops) - loop_cost_ns(clock, loops)
        if elapsed >= target:
            break
        growth = min(10.0, 1.1 * target / max(1, elapsed))
        loops = min(rule.max_loops, max(loops + 1, math.ceil(loops * growth)))
    return loops


def loop_cost_ns(clock: Clock, loops: int) -> int:
    """Nanoseconds that a sample of `loops` steps would take if a step took none."""
    return min(_empty_loop_ns(clock, loops) for _ in range(_LOOP_COST_TRIALS))


def _empty_loop_ns(clock: Clock, loops: int) -> int:
    ticks = clock.ticks(loops)
    start = clock.now_ns()
    for _ in ticks:
        pass
    return clock.now_ns() - start


def _loop_ns(step: Step, clock: Clock, loops: int) -> int:
    ticks = clock.ticks(loops)
    start = clock.now_ns()
    for _ in ticks:
        step()
    return clock.now_ns() - start


def _sample_ns(step: Step, clock: Clock, loops: int, cost_ns: int) -> int:
    """One sample; a time that cannot be is taken again."""
    elapsed = 0
    for _ in range(_CLOCK_RETRIES):
        elapsed = _loop_ns(step, clock, loops) - cost_ns
        if elapsed > 0:
            return elapsed
    raise ClockError(
        f"a sample of {loops} steps expected a time above 0, received {elapsed} ns "
        f"{_CLOCK_RETRIES} times: the clock stands still or goes back"
    )


@contextmanager
def garbage_collector_paused() -> Iterator[None]:
    """Collect now and not within the block."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
