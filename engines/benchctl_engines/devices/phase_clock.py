"""How long forward, backward and update of a step take: a mark at every change from one to another.

Between two marks a device works without a gap: few marks, and on a device that works on its own a
spin before the first, so that issuing is ahead of it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from ..contract import DeviceClock, DeviceMark

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"
PHASES = (FORWARD, BACKWARD, UPDATE)

_AHEAD = 1.3
"""A spin lasts this many times as long as a step took, issuing included."""


class Marks(Protocol):
    """Where the marks come from."""

    def before(self) -> None:
        """Called before each step."""

    def mark(self) -> DeviceMark:
        """A mark behind everything issued so far."""

    def after(self) -> None:
        """Wait until the last mark is reached."""


class _HostMark:
    """A moment on the host."""

    __slots__ = ("nanoseconds",)

    def __init__(self) -> None:
        self.nanoseconds = time.perf_counter_ns()

    def seconds_since(self, earlier: Any) -> float:
        seconds: float = (self.nanoseconds - earlier.nanoseconds) / 1e9
        return seconds


class HostMarks:
    """Marks of a step whose results are there when a call returns."""

    def before(self) -> None:
        """Nothing."""

    def mark(self) -> DeviceMark:
        """The moment at which it is called."""
        return _HostMark()

    def after(self) -> None:
        """Nothing."""


class DeviceMarks:
    """Marks in the stream of a device, `step_seconds` of spinning ahead."""

    def __init__(self, clock: DeviceClock, step_seconds: float) -> None:
        self._clock = clock
        self._spin_seconds = min(1.0, _AHEAD * step_seconds)

    def before(self) -> None:
        """Hold the device until the step has been issued."""
        self._clock.synchronize()
        self._clock.spin(self._spin_seconds)

    def mark(self) -> DeviceMark:
        """A mark behind everything issued so far."""
        return self._clock.mark()

    def after(self) -> None:
        """Wait for the device."""
        self._clock.synchronize()


class PhaseClock:
    """Told by a step which phase it enters, it keeps the seconds of each phase, step by step."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._entered: list[tuple[str, DeviceMark]] = []
        self._steps: list[dict[str, float]] = []

    def enter(self, phase: str) -> None:
        """From here on the work is that of this phase."""
        if not self._entered or self._entered[-1][0] != phase:
            self._entered.append((phase, self._marks.mark()))

    def run(self, step: Callable[[], None]) -> None:
        """Run one step whose phases are timed."""
        self._entered = []
        self._marks.before()
        step()
        end = self._marks.mark()
        self._marks.after()
        found: dict[str, float] = {}
        ends = [*(mark for _, mark in self._entered[1:]), end]
        for (phase, start), stop in zip(self._entered, ends, strict=True):
            found[phase] = found.get(phase, 0.0) + stop.seconds_since(start)
        self._steps.append(found)

    def seconds(self) -> dict[str, tuple[float, ...]]:
        """Of each phase, one figure a step; none where a step is all one phase."""
        phases = [each for each in PHASES if all(each in step for step in self._steps)]
        if len(phases) < 2:
            return {}
        return {phase: tuple(step[phase] for step in self._steps) for phase in phases}


def medians(seconds: Mapping[str, tuple[float, ...]]) -> dict[str, float]:
    """The median of each phase."""
    return {phase: statistics.median(each) for phase, each in seconds.items()}


@contextmanager
def replaced(target: Any, **attributes: Any) -> Iterator[None]:
    """Other attributes of an object for a while, its own or its class's again afterwards."""
    own = {name: vars(target)[name] for name in attributes if name in vars(target)}
    for name, value in attributes.items():
        setattr(target, name, value)
    try:
        yield
    finally:
        for name in attributes:
            if name in own:
                setattr(target, name, own[name])
            else:
                delattr(target, name)


def timed_seconds(issue: Callable[[], None], wait: Callable[[], None]) -> float:
    """The host's seconds of one issue and the wait for it."""
    start = time.perf_counter_ns()
    issue()
    wait()
    return (time.perf_counter_ns() - start) / 1e9
