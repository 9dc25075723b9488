"""Changes that most series of a machine share: one event of the machine, not many regressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchctl.history.changes import Change, State, short_id
from benchctl.history.series import Place, Point, Series
from benchctl.stats.change_points import FEWEST_POINTS

SHARE = 0.5
"""From this share of a machine's series on, changes at one revision are one event."""
LEAST_SERIES = 3
"""Fewer series are no majority: one of two engines that slows down is not the machine."""


@dataclass(frozen=True, slots=True)
class MachineEvent:
    """The changes that series of one machine have in common, of `series_measured` at that time.

    The machine, its toolchain, or code that all of them run: times alone cannot tell these apart.
    `first` is the first point after it.
    """

    id: str
    machine_id: str
    first: Point
    changes: tuple[Change, ...]
    series_measured: int

    @property
    def effect(self) -> float:
        """The median of the changes, ln(time / time before)."""
        return median(change.effect for change in self.changes)

    @property
    def slower(self) -> bool:
        """Whether any of the series is slower since."""
        return any(change.slower for change in self.changes)

    @property
    def state(self) -> State:
        """Confirmed until every slowdown in it, or else every change, was decided on."""
        counted = [change for change in self.changes if change.slower] or list(self.changes)
        states = {change.state for change in counted}
        if State.CONFIRMED in states:
            return State.CONFIRMED
        return State.ACKNOWLEDGED if State.ACKNOWLEDGED in states else State.FIXED


Changes = Mapping[int, Sequence[Change]]
"""The changes of each series, by its place among the series."""


def find_machine_events(series: Sequence[Series], changes: Changes) -> tuple[MachineEvent, ...]:
    """The events of all machines, oldest first.

    A change is located between two points only, and suites are measured one after another, so that
    changes belong together where the times between which they lie overlap.
    """
    events: list[MachineEvent] = []
    for machine_id in dict.fromkeys(each.key.machine_id for each in series):
        left = {
            place: [each for each in changes[place] if each.state is not State.SUSPECTED]
            for place, own in enumerate(series)
            if own.key.machine_id == machine_id
        }
        while (event := _most_shared(machine_id, series, left)) is not None:
            events.append(event)
            taken = {change.id for change in event.changes}
            left = {p: [each for each in own if each.id not in taken] for p, own in left.items()}
    return tuple(sorted(events, key=lambda event: event.first.place))


def with_event(change: Change, events: Sequence[MachineEvent]) -> Change:
    """The change with the id of the event that it is part of, if any."""
    for event in events:
        if any(change.id == each.id for each in event.changes):
            return replace(change, event_id=event.id)
    return change


def _most_shared(machine_id: str, series: Sequence[Series], left: Changes) -> MachineEvent | None:
    """The event at the time at which most series change, if these are enough."""
    firsts = {change.first.place: change.first for own in left.values() for change in own}
    sharing = {place: _changes_around(place, left) for place in sorted(firsts)}
    # Of times that as many changes allow, the one at which most of them are located.
    ranked = sorted(
        sharing.items(),
        key=lambda each: (len(each[1]), sum(c.first.place == each[0] for c in each[1])),
        reverse=True,
    )
    for place, members in ranked:
        measured = sum(_could_change(series[each], place) for each in left)
        if len(members) >= max(LEAST_SERIES, SHARE * measured):
            return MachineEvent(
                id=short_id("machine event", machine_id, *place),
                machine_id=machine_id,
                first=firsts[place],
                changes=tuple(members),
                series_measured=max(measured, len(members)),
            )
    return None


def _changes_around(place: Place, left: Changes) -> list[Change]:
    """Of every series the change that may lie there; of two such, the one located nearer."""
    found = []
    for own in left.values():
        around = [change for change in own if change.good.place < place <= change.bad.place]
        if around:
            found.append(max(around, key=lambda change: change.first.place == place))
    return found


def _could_change(series: Series, place: Place) -> bool:
    """Whether a change at that time could have been confirmed in the series."""
    return any(
        len(segment) >= 2 * FEWEST_POINTS
        and series.points[segment.start].place <= place <= series.points[segment.stop - 1].place
        for segment in series.segments()
    )
