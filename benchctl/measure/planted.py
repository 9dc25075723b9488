"""A slowdown planted in a worker: a busy loop within each sample.

It is a slowdown of known size, whatever the step: what a gate makes of it tells how far the gate
can be trusted on the machine at hand.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping

from benchctl.measure.clock import Clock, WallClock

SLOWDOWN = "BENCHCTL_PLANTED_SLOWDOWN"
"""The variable with the share by which a worker's steps are to take longer."""


class SlowedClock:
    """A clock whose loops take longer by `share`: they end with a busy loop.

    A loop of empty turns takes longer by as much, so that taking its time off a sample leaves the
    steps' own time, longer by `share`.
    """

    def __init__(self, share: float, clock: Clock) -> None:
        self.share = share
        self._clock = clock

    def now_ns(self) -> int:
        """The clock's own time."""
        return self._clock.now_ns()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._clock.sleep(seconds)

    def ticks(self, count: int) -> Iterator[None]:
        """`count` turns, then the busy loop."""
        return itertools.chain(self._clock.ticks(count), self._busy(self.now_ns()))

    def _busy(self, start_ns: int) -> Iterator[None]:
        """No turn at all; it takes `share` of the time since `start_ns`."""
        now_ns = self.now_ns()
        end_ns = now_ns + (now_ns - start_ns) * self.share
        while self.now_ns() < end_ns:
            pass
        yield from ()


def worker_clock(environment: Mapping[str, str] | None = None) -> Clock:
    """The clock of a worker: the machine's own, but for a slowdown that is planted."""
    environment = os.environ if environment is None else environment
    share = float(environment.get(SLOWDOWN, "0"))
    return SlowedClock(share, WallClock()) if share else WallClock()
