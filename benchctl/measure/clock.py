"""Clocks: the machine's own, and a virtual one under which a measurement is exact.

Nothing here imports NumPy: the worker reads its clock before it imports the engine.
"""

from __future__ import annotations

import builtins
import itertools
import sys
import time
from collections.abc import Iterator
from types import ModuleType, TracebackType
from typing import Any, Protocol

NANOSECONDS = 1_000_000_000


class Clock(Protocol):
    """What the sampler needs of time."""

    def now_ns(self) -> int:
        """Nanoseconds since some fixed moment; only differences mean anything."""

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""

    def ticks(self, count: int) -> Iterator[None]:
        """The loop of a sample: `count` turns."""


class WallClock:
    """The monotonic clock of the highest resolution that the machine has."""

    def now_ns(self) -> int:
        """`time.perf_counter_ns`."""
        return time.perf_counter_ns()

    def sleep(self, seconds: float) -> None:
        """`time.sleep`."""
        time.sleep(seconds)

    def ticks(self, count: int) -> Iterator[None]:
        """The cheapest loop that Python has."""
        return itertools.repeat(None, count)


class VirtualClock:
    """A clock that moves only when told to.

    `read_ns` passes at every reading and `tick_ns` at every turn of a sample's loop: the costs of
    the harness itself, which must not show in a result.
    """

    def __init__(self, read_ns: int = 0, tick_ns: int = 0, start_ns: int = 0) -> None:
        self.read_ns = read_ns
        self.tick_ns = tick_ns
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """The time, before the cost of reading it."""
        now = self._now_ns
        self._now_ns += self.read_ns
        return now

    def sleep(self, seconds: float) -> None:
        """Move on by `seconds`, back where negative."""
        self._now_ns += round(seconds * NANOSECONDS)

    def ticks(self, count: int) -> Iterator[None]:
        """A loop whose every turn takes `tick_ns`."""
        for _ in range(count):
            self._now_ns += self.tick_ns
            yield None


def seconds_since(clock: Clock, start_ns: int) -> float:
    """Seconds that have passed since `start_ns`."""
    return (clock.now_ns() - start_ns) / NANOSECONDS


class ImportTimer:
    """Adds up the time that a block of code spends importing modules for the first time.

    An engine may import its framework only when it prepares a case; that time belongs to the
    import phase, whenever it falls. Used as a context manager.
    """

    def __init__(self, clock: Clock) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._depth = 0
        self._original = builtins.__import__

    def __enter__(self) -> ImportTimer:
        self._original = builtins.__import__
        builtins.__import__ = self._timed_import
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        builtins.__import__ = self._original

    def _timed_import(self, *arguments: Any, **keywords: Any) -> ModuleType:
        if self._depth:
            return self._original(*arguments, **keywords)
        self._depth = 1
        known = len(sys.modules)
        start = self._clock.now_ns()
        try:
            return self._original(*arguments, **keywords)
        finally:
            self._depth = 0
            if len(sys.modules) != known:
                self.seconds += seconds_since(self._clock, start)
