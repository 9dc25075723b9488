"""How the time of a run is spread over its cases."""

from __future__ import annotations

from benchctl.measure.clock import NANOSECONDS, Clock, seconds_since


class Deadline:
    """When a case must end: its own share of the budget, and the end of the whole budget.

    A case may overdraw its share until it has its least number of rounds, but not the whole
    budget, except for the one round without which it would be nothing.
    """

    def __init__(
        self,
        clock: Clock,
        share_seconds: float | None,
        whole_seconds: float | None,
    ) -> None:
        self.round_seconds = 0.0
        self._clock = clock
        self._start_ns = clock.now_ns()
        self._share_seconds = share_seconds
        self._whole_seconds = whole_seconds

    def is_due(self, rounds_now: int, rounds_in_all: int, least_rounds: int) -> bool:
        """Whether another round would end too late; `rounds_in_all` counts those of before."""
        if self._share_seconds is None or self._whole_seconds is None or rounds_now == 0:
            return False
        end_seconds = seconds_since(self._clock, self._start_ns) + self.round_seconds
        if end_seconds > self._whole_seconds:
            return True
        return end_seconds > self._share_seconds and rounds_in_all >= least_rounds

    def at_most(self, seconds: float) -> float:
        """An estimate, cut at the end of the budget."""
        if self._whole_seconds is None:
            return seconds
        left_seconds = self._whole_seconds - seconds_since(self._clock, self._start_ns)
        return max(0.0, min(seconds, left_seconds))


class Budget:
    """Seconds for a whole run, None for no limit."""

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        self._clock = clock
        self._end_ns = None if seconds is None else clock.now_ns() + round(seconds * NANOSECONDS)

    @property
    def is_spent(self) -> bool:
        """Whether no time is left."""
        left_seconds = self._left_seconds()
        return left_seconds is not None and left_seconds <= 0.0

    def deadline(self, cases_left: int) -> Deadline:
        """The deadline of the next case, when `cases_left` share what is left."""
        left = self._left_seconds()
        share = None if left is None else left / cases_left
        return Deadline(self._clock, share, left)

    def _left_seconds(self) -> float | None:
        if self._end_ns is None:
            return None
        return (self._end_ns - self._clock.now_ns()) / NANOSECONDS
