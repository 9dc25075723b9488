"""From stored runs to series: one point a run for each case, arm and machine, in time order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchctl.compare.summary import CONFIDENCE, round_medians
from benchctl.history.conditions import (
    ConditionChange,
    condition_changes,
    conditions_of,
    versions_of,
)
from benchctl.measure.session import INTERLEAVED
from benchctl.stats.signed_rank import confidence_interval
from benchctl.store.record import ArmResult, CaseSpec, Run

Place = tuple[str, str]
"""Start time and id of a run: what orders points, also over series."""


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """What may be compared over time: one case on one arm, on one machine with so many threads."""

    case_id: str
    arm_id: str
    machine_id: str
    threads: int


@dataclass(frozen=True, slots=True)
class Point:
    """One arm of one run: ln(seconds) of a step, with its 95 % interval where rounds suffice.

    `revision` is empty where the run was measured outside a repository.
    """

    run_id: str
    started_utc: str
    revision: str
    dirty: bool
    log_seconds: float
    interval: tuple[float, float] | None
    rounds: int
    processes: int
    versions: Mapping[str, str]

    @property
    def place(self) -> Place:
        """Where the point stands in time."""
        return self.started_utc, self.run_id


@dataclass(frozen=True, slots=True)
class Event:
    """Conditions changed before the point at `index`: times on either side do not compare."""

    index: int
    changes: tuple[ConditionChange, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one key, oldest first; `case` is as the newest run planned it."""

    key: SeriesKey
    case: CaseSpec
    points: tuple[Point, ...]
    events: tuple[Event, ...]

    def segments(self) -> tuple[range, ...]:
        """Indices of the points between events: only these compare with each other."""
        edges = [0, *(event.index for event in self.events), len(self.points)]
        return tuple(range(start, stop) for start, stop in pairwise(edges))

    def log_seconds(self, part: range) -> list[float]:
        """ln(seconds) of the points of a part."""
        return [self.points[index].log_seconds for index in part]


def make_series(runs: Iterable[Run]) -> tuple[Series, ...]:
    """Every series of the complete runs, in the order in which they first appear.

    Incomplete runs never count, of several copies of a run one does, and of merged runs the whole.
    Nor do runs that compare two sides in new processes, as gates do: their times are those of other
    revisions and of shorter warm-ups.
    """
    points: dict[SeriesKey, list[Point]] = {}
    conditions: dict[SeriesKey, list[dict[str, str]]] = {}
    cases: dict[SeriesKey, CaseSpec] = {}
    for run in countable_runs(runs):
        for case in run.cases:
            for result in case.arms:
                point = make_point(run, result)
                if point is None:
                    continue
                key = series_key(run, case.case, result)
                points.setdefault(key, []).append(point)
                conditions.setdefault(key, []).append(conditions_of(run, case.case, result))
                cases[key] = case.case
    return tuple(
        Series(key, cases[key], tuple(found), find_events(conditions[key]))
        for key, found in points.items()
    )


def countable_runs(runs: Iterable[Run]) -> list[Run]:
    """The complete runs that are points of a history, each once, oldest first."""
    by_id = {run.run_id: run for run in runs if run.complete and not is_comparison(run)}
    # What was merged counts within the merged run.
    merged = {part for run in by_id.values() for part in merged_run_ids(run)}
    counted = (run for run_id, run in by_id.items() if run_id not in merged)
    return sorted(counted, key=lambda run: (run.started_utc, run.run_id))


def is_comparison(run: Run) -> bool:
    """Whether a run measured two sides of a comparison."""
    return bool(run.plan.settings.get(INTERLEAVED)) or any(arm.subject for arm in run.plan.arms)


def merged_run_ids(run: Run) -> tuple[str, ...]:
    """The runs that `run` was merged from, as `benchctl merge` records them."""
    parts = run.environment.get("parts")
    if not isinstance(parts, list | tuple):
        return ()
    return tuple(str(part.get("run_id", "")) for part in parts if isinstance(part, Mapping))


def series_key(run: Run, case: CaseSpec, result: ArmResult) -> SeriesKey:
    """The series that an arm of a run belongs to."""
    return SeriesKey(case.id, result.arm.id, str(run.machine.get("id", "")), run.plan.threads)


def make_point(run: Run, result: ArmResult) -> Point | None:
    """The point of one arm; None where it was not measured rightly."""
    seconds = {number: each for number, each in round_medians(result).items() if each > 0}
    if result.status != "ok" or not seconds:
        return None
    by_process: dict[int, list[float]] = {}
    for taken in result.rounds:
        if taken.round in seconds:
            by_process.setdefault(taken.process, []).append(seconds[taken.round])
    # Rounds of one process share its luck, so that each process has one voice.
    median = float(np.median([np.median(each) for each in by_process.values()]))
    return Point(
        run_id=run.run_id,
        started_utc=run.started_utc,
        revision=str(run.git.get("revision") or ""),
        dirty=bool(run.git.get("dirty")),
        log_seconds=math.log(median),
        interval=confidence_interval([math.log(each) for each in seconds.values()], CONFIDENCE),
        rounds=len(seconds),
        processes=len(by_process),
        versions=versions_of(run, result),
    )


def find_events(conditions: Sequence[Mapping[str, str]]) -> tuple[Event, ...]:
    """Where a condition differs from its last known value; `conditions` by point."""
    known: dict[str, str] = {}
    events = []
    for index, here in enumerate(conditions):
        changes = condition_changes(known, here)
        if changes:
            events.append(Event(index, changes))
        known.update(here)
    return tuple(events)
