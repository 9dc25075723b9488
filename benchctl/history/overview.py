"""Everything that the history of a store shows: series, changes with their states, events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchctl.history.acknowledgements import Acknowledgement, decided
from benchctl.history.changes import Change, State, find_changes
from benchctl.history.machine_events import MachineEvent, find_machine_events, with_event
from benchctl.history.series import Series, make_series
from benchctl.store.record import Run


@dataclass(frozen=True, slots=True)
class Level:
    """The median of the points of a part, ln(seconds), and the ends of their middle half."""

    part: range
    log_seconds: float
    middle_half: tuple[float, float]


@dataclass(frozen=True, slots=True)
class SeriesHistory:
    """One series and its changes, oldest first, those of machine events among them."""

    series: Series
    changes: tuple[Change, ...]

    @property
    def own_changes(self) -> tuple[Change, ...]:
        """The changes that are not part of a machine event."""
        return tuple(change for change in self.changes if not change.event_id)

    @property
    def breaks(self) -> tuple[int, ...]:
        """Where the level may differ: the first indices after changes and events, and 0."""
        changed = {change.index for change in self.changes}
        return tuple(sorted({0} | changed | {event.index for event in self.series.events}))

    def levels(self) -> tuple[Level, ...]:
        """The level of each part between breaks, oldest first."""
        edges = (*self.breaks, len(self.series.points))
        parts = (range(start, stop) for start, stop in pairwise(edges))
        return tuple(_level(part, self.series.log_seconds(part)) for part in parts)


def _level(part: range, log_seconds: Sequence[float]) -> Level:
    lower, middle, upper = np.quantile(log_seconds, (0.25, 0.5, 0.75))
    return Level(part, float(middle), (float(lower), float(upper)))


@dataclass(frozen=True, slots=True)
class History:
    """All series, in the order in which they first appear, and the machine events."""

    series: tuple[SeriesHistory, ...]
    machine_events: tuple[MachineEvent, ...]

    def changes(self) -> tuple[Change | MachineEvent, ...]:
        """All that is reported once: machine events, and the changes outside of them."""
        own = (change for each in self.series for change in each.own_changes)
        return (*self.machine_events, *own)

    def open_slowdowns(self) -> tuple[Change | MachineEvent, ...]:
        """The slowdowns that are confirmed and that nobody has decided on."""
        return tuple(
            each for each in self.changes() if each.slower and each.state is State.CONFIRMED
        )

    def called(self, text: str) -> tuple[Change | MachineEvent, ...]:
        """What `text` may mean: an id, or the beginning of one."""
        exact = tuple(each for each in self.changes() if each.id == text)
        return exact or tuple(each for each in self.changes() if each.id.startswith(text))


def make_history(
    runs: Iterable[Run],
    acknowledgements: Sequence[Acknowledgement] = (),
    workloads: Sequence[str] = (),
) -> History:
    """The history of stored runs, limited to some workloads; all of them where none is named.

    Machine events are sought among all series: a share of a few says nothing of the machine.
    """
    series = make_series(runs)
    changes = {place: _changes(each, acknowledgements) for place, each in enumerate(series)}
    events = find_machine_events(series, changes)
    found = tuple(
        SeriesHistory(each, tuple(with_event(change, events) for change in changes[place]))
        for place, each in enumerate(series)
        if not workloads or each.case.workload in workloads
    )
    shown = {change.event_id for each in found for change in each.changes}
    return History(found, tuple(event for event in events if event.id in shown))


def _changes(series: Series, acknowledgements: Sequence[Acknowledgement]) -> tuple[Change, ...]:
    return decided(find_changes(series), acknowledgements)
