"""How much of one task hides behind another that runs at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Timing:
    """A time in seconds, with the interval of its median where there is one."""

    seconds: float
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class HiddenShare:
    """The share of the second task's time that is not waited for: 1 all, 0 none, less in the way.

    The interval is the widest that those of the three times allow, None where one has none.
    """

    share: float
    interval: Interval | None


def hidden_share(alone: Timing, one_by_one: Timing, together: Timing) -> HiddenShare | None:
    """(one_by_one - together) / (one_by_one - alone).

    `alone` is the first task without the second. None where the second is not shown to take time:
    the intervals of `alone` and `one_by_one` have to lie apart.
    """
    times = (alone, one_by_one, together)
    ends = [each.interval or (each.seconds, each.seconds) for each in times]
    if ends[1][0] <= ends[0][1]:
        return None
    share = _share(*(each.seconds for each in times))
    if any(each.interval is None for each in times):
        return HiddenShare(share, None)
    # In each of the times the share rises or falls throughout: its extremes lie at corners.
    corners = [_share(*corner) for corner in product(*ends)]
    return HiddenShare(share, (min(corners), max(corners)))


def _share(alone: float, one_by_one: float, together: float) -> float:
    return (one_by_one - together) / (one_by_one - alone)
