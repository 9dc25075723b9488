"""Where a series became slower or faster: change points within segments, and what is suspected."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from statistics import median

from benchctl.history.series import Point, Series, SeriesKey
from benchctl.stats.change_points import (
    FEWEST_POINTS,
    ChangePoint,
    find_change_points,
    newest_suspected,
)

# The fast path looks at so many of the newest points.
_SUSPECTED_POINTS = 2
_ID_DIGITS = 8


class State(Enum):
    """How far a change is settled: found by the data, or decided by the user."""

    SUSPECTED = "suspected"
    CONFIRMED = "confirmed"
    ACKNOWLEDGED = "acknowledged"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one series.

    `index` is that of the first point after it. The change lies after the point `good` and not
    after the point `bad`. `before` and `after` are levels in ln(seconds), `effect` their
    difference, ln(time / time before). `low`, `high` and `p_value` are None while it is only
    suspected. `decision_id` names the decision that gave it its state, `event_id` the machine event
    that it is part of.
    """

    id: str
    key: SeriesKey
    index: int
    good: Point
    first: Point
    bad: Point
    before: float
    after: float
    effect: float
    low: float | None
    high: float | None
    p_value: float | None
    state: State
    reason: str = ""
    decision_id: str = ""
    event_id: str = ""

    @property
    def slower(self) -> bool:
        """Whether steps take longer since."""
        return self.effect > 0


def find_changes(series: Series) -> tuple[Change, ...]:
    """The changes of a series, oldest first: those confirmed, and one that is suspected."""
    found: list[Change] = []
    for segment in series.segments():
        points = find_change_points(series.log_seconds(segment))
        found += [_confirmed(series, segment, point) for point in points]
    found += _suspected(series, max((change.index for change in found), default=0))
    return tuple(sorted(found, key=lambda change: change.index))


def can_confirm(series: Series) -> bool:
    """Whether the newest segment has the points that confirming a change takes."""
    return len(series.segments()[-1]) >= 2 * FEWEST_POINTS


def short_id(*words: object) -> str:
    """A name for what these words tell apart, short enough to type."""
    text = "\0".join(map(str, words))
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]


def change_id(key: SeriesKey, first: Point) -> str:
    """The id of the change of a series whose first point after it is `first`."""
    return short_id(key.case_id, key.arm_id, key.machine_id, key.threads, first.run_id)


def _confirmed(series: Series, segment: range, point: ChangePoint) -> Change:
    index = segment.start + point.index
    # The point before the earliest place must belong to the segment.
    earliest = max(segment.start + 1, min(index, segment.start + point.earliest))
    latest = min(segment.stop - 1, max(index, segment.start + point.latest))
    first = series.points[index]
    return Change(
        id=change_id(series.key, first),
        key=series.key,
        index=index,
        good=series.points[earliest - 1],
        first=first,
        bad=series.points[latest],
        before=point.before,
        after=point.after,
        effect=point.effect,
        low=point.low,
        high=point.high,
        p_value=point.p_value,
        state=State.CONFIRMED,
    )


def _suspected(series: Series, level_start: int) -> Iterator[Change]:
    """The newest points against the level that holds since the newest confirmed change."""
    start = max(series.segments()[-1].start, level_start)
    values = series.log_seconds(range(start, len(series.points)))
    if newest_suspected(values) is None:
        return
    found = len(values) - _SUSPECTED_POINTS
    before, after = median(values[:found]), median(values[found:])
    first = series.points[start + found]
    yield Change(
        id=change_id(series.key, first),
        key=series.key,
        index=start + found,
        good=series.points[start + found - 1],
        first=first,
        bad=first,
        before=before,
        after=after,
        effect=after - before,
        low=None,
        high=None,
        p_value=None,
        state=State.SUSPECTED,
    )
