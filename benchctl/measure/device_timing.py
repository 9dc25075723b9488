"""What a step takes on a device that works on its own: four figures, each with its own question.

*device*: how long the device works on a step. Two marks around the step's work; a spinning kernel
before the first holds the device until everything is issued, so that no gap in the issuing counts.
Where issuing took longer than the spin, the sample is thrown away and the spin doubled.
*wall*: what a user waits, issue and synchronisation on an idle device.
*issue*: the host's part alone, while the device is held.
*replay*: one of many recorded steps in a row.
Where the runner tells forward, backward and update apart, their device times come last.

Where the host reads a value within a step, a spin would only hold up the reading: such a step has
the figure *wall* alone, and a mark that says so.

Device time is taken cold, with the device's cache flushed before the first mark, and warm. Pure
functions of a runner and clocks; nothing here imports NumPy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchctl.measure.clock import Clock, seconds_since
from benchctl.store.record import DeviceTimes

if TYPE_CHECKING:
    from benchctl_engines.contract import AsynchronousRunner, DeviceClock, DeviceState


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """How many samples of each figure, and how far ahead of the device the host is to be.

    A spin is `spin_margin` times the issue time seen before, at most `most_spin_seconds`. Replays
    of one sample take about `replay_seconds` together, at most `most_replays`. A spin of
    `hopeless_margin` times the issue time without one that is still too short, twice in a row, is
    the last that is tried: the step waits for the device.
    """

    samples: int = 5
    spin_margin: float = 1.2
    hopeless_margin: float = 8.0
    least_spin_seconds: float = 50e-6
    most_spin_seconds: float = 1.0
    replay_seconds: float = 0.05
    most_replays: int = 500


NEVER_AHEAD = "issuing a step took longer than any spin: device times include gaps"
"""A mark of samples in which the device may have waited for the host."""


def waits_words(reason: str) -> str:
    """The mark of a step within which the host waits for the device."""
    return f"{reason} within a step: only its wall time can be told"


def measure_device(
    runner: AsynchronousRunner, host: Clock, watch: Watch, rule: DeviceRule | None = None
) -> DeviceTimes:
    """All figures of one round; taken again where the watch saw the device being slowed."""
    rule = rule or DeviceRule()
    return watch.watched(runner.device_clock(), lambda: take_times(runner, host, rule))


def take_times(runner: AsynchronousRunner, host: Clock, rule: DeviceRule) -> DeviceTimes:
    """All figures once, whatever happens to the device meanwhile."""
    device = runner.device_clock()
    device.synchronize()
    idle = [_idle_seconds(runner, device, host) for _ in range(rule.samples)]
    wall = tuple(whole for whole, _ in idle)
    if reason := _waits(runner):
        return DeviceTimes(wall=wall, marks=(waits_words(reason),))
    ahead = _Ahead(runner, device, host, rule, statistics.median(issue for _, issue in idle))
    # Cold samples come last in each pair: a warm one needs the cache that a step leaves.
    warm, cold = [], []
    for _ in range(rule.samples):
        warm.append(ahead.sample(flushed=False))
        cold.append(ahead.sample(flushed=True))
    replay = []
    if runner.replays():
        usual = statistics.median(warm)
        count = max(1, min(rule.most_replays, math.ceil(rule.replay_seconds / max(usual, 1e-9))))
        replay = [_replay_seconds(runner, device, host, count) for _ in range(rule.samples)]
    return DeviceTimes(
        cold=tuple(cold),
        warm=tuple(warm),
        wall=wall,
        issue=tuple(ahead.issue_seconds),
        replay=tuple(replay),
        marks=() if ahead.reached else (NEVER_AHEAD,),
        phases=_phases(runner, rule.samples),
    )


def _phases(runner: AsynchronousRunner, samples: int) -> Mapping[str, tuple[float, ...]]:
    """Forward, backward and update, of a runner that tells them apart."""
    phase_seconds = getattr(runner, "phase_seconds", None)
    found: Mapping[str, tuple[float, ...]] = phase_seconds(samples) if phase_seconds else {}
    return found


def _waits(runner: AsynchronousRunner) -> str:
    """What a step waits for before all of it is issued, of a runner that knows."""
    waits = getattr(runner, "waits", None)
    reason: str = waits() if waits else ""
    return reason


def _idle_seconds(
    runner: AsynchronousRunner, device: DeviceClock, host: Clock
) -> tuple[float, float]:
    """A step on an idle device: all of it, and its issue."""
    start = host.now_ns()
    runner.issue()
    issue_seconds = seconds_since(host, start)
    device.synchronize()
    return seconds_since(host, start), issue_seconds


def _replay_seconds(
    runner: AsynchronousRunner, device: DeviceClock, host: Clock, count: int
) -> float:
    start = host.now_ns()
    for _ in range(count):
        runner.issue()
    device.synchronize()
    return seconds_since(host, start) / count


class _Ahead:
    """Samples of device time in which the host was ahead; the spin grows until it is."""

    def __init__(
        self,
        runner: AsynchronousRunner,
        device: DeviceClock,
        host: Clock,
        rule: DeviceRule,
        idle_issue_seconds: float,
    ) -> None:
        self._hopeless_seconds = rule.hopeless_margin * idle_issue_seconds
        self._runner = runner
        self._device = device
        self._host = host
        self._rule = rule
        self._spin_seconds = rule.least_spin_seconds
        self.issue_seconds: list[float] = []
        self.reached = True

    def sample(self, flushed: bool) -> float:
        """Device seconds of one step; `flushed` begins with a cold cache."""
        hopeless = 0
        while True:
            device_seconds, issue_seconds = self._once(flushed)
            if issue_seconds <= self._spin_seconds:
                self._spin_seconds = self._limited(self._rule.spin_margin * issue_seconds)
                break
            hopeless += self._spin_seconds >= self._hopeless_seconds
            if not self.reached or hopeless > 1 or self._at_most():
                self.reached = False
                break
            self._spin_seconds = self._limited(2.0 * max(self._spin_seconds, issue_seconds))
        self.issue_seconds.append(issue_seconds)
        return device_seconds

    def _at_most(self) -> bool:
        return self._spin_seconds >= self._rule.most_spin_seconds

    def _limited(self, seconds: float) -> float:
        return min(self._rule.most_spin_seconds, max(self._rule.least_spin_seconds, seconds))

    def _once(self, flushed: bool) -> tuple[float, float]:
        device, host = self._device, self._host
        if flushed:
            device.flush()
        device.spin(self._spin_seconds)
        begin = host.now_ns()
        start = device.mark()
        self._runner.issue()
        end = device.mark()
        issue_seconds = seconds_since(host, begin)
        device.synchronize()
        return end.seconds_since(start), issue_seconds


# What slows a device down ---------------------------------------------------------------------

LEAST_OF_DEFAULT_CLOCK = 0.75
LEAST_OF_USUAL_CLOCK = 0.9
WAKING_SECONDS = 0.1
"""How long a card that lowered its clock while it was idle is kept busy before it is judged."""
PAUSE_SECONDS = 0.05
MOST_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether samples are kept, and what is said of them."""

    keep: bool
    words: tuple[str, ...] = ()


def judge(before: DeviceState, after: DeviceState, usual_hertz: float | None) -> Judgement:
    """What the sensors around a block say of its samples.

    `usual_hertz` is the median clock of the run so far.
    """
    spoiling = sorted({*before.spoiling, *after.spoiling})
    if spoiling:
        return Judgement(False, (f"the device was held back: {', '.join(spoiling)}",))
    lowest = min(clocks_of(before, after), default=None)
    default_hertz = after.default_clock_hertz
    if lowest is not None and default_hertz and lowest < LEAST_OF_DEFAULT_CLOCK * default_hertz:
        share = lowest / default_hertz
        return Judgement(False, (f"the device ran at {share:.0%} of its default clock",))
    marking = sorted({*before.marking, *after.marking})
    words = [f"the device was at its limit: {each}" for each in marking]
    if lowest is not None and usual_hertz and lowest < LEAST_OF_USUAL_CLOCK * usual_hertz:
        words.append(f"the device ran at {lowest / usual_hertz:.0%} of its usual clock")
    return Judgement(True, tuple(words))


def awake(device: DeviceClock) -> DeviceState:
    """What the sensors say before a block; a clock that idling has lowered is raised first."""
    state = device.state()
    if judge(state, state, None).keep or state.spoiling:
        return state
    device.spin(WAKING_SECONDS)
    device.synchronize()
    return device.state()


def clocks_of(*states: DeviceState) -> list[float]:
    """The clocks that are told."""
    return [each.clock_hertz for each in states if each.clock_hertz is not None]


class Watch:
    """Reads the sensors around a block of samples, and has it taken again where they say so."""

    def __init__(self, host: Clock) -> None:
        self._host = host
        self._clocks: list[float] = []

    def watched(self, device: DeviceClock, take: Callable[[], DeviceTimes]) -> DeviceTimes:
        """The block's samples, those of the last attempt where none could be kept."""
        pause_seconds = PAUSE_SECONDS
        for attempt in range(1, MOST_ATTEMPTS + 1):
            before = awake(device)
            times = take()
            after = device.state()
            usual = statistics.median(self._clocks) if self._clocks else None
            found = judge(before, after, usual)
            if found.keep:
                self._clocks += clocks_of(before, after)
                break
            if attempt < MOST_ATTEMPTS:
                self._host.sleep(pause_seconds)
                pause_seconds *= 2.0
        return replace(times, marks=(*times.marks, *found.words))
