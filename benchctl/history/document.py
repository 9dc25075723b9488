"""The history of a store as plain data, for programs."""

from __future__ import annotations

import math
from typing import Any

from benchctl.history.changes import Change
from benchctl.history.machine_events import MachineEvent
from benchctl.history.overview import History, SeriesHistory
from benchctl.history.series import Event, Point, Series

DOCUMENT_SCHEMA = "benchctl.history-document/1"


def history_document(history: History) -> dict[str, Any]:
    """Series with points, events and changes; times in seconds, changes as time / time before.

    `open` counts what `--strict` fails for.
    """
    return {
        "schema": DOCUMENT_SCHEMA,
        "series": [_series(each) for each in history.series],
        "machine_events": [_machine_event(each) for each in history.machine_events],
        "open": len(history.open_slowdowns()),
    }


def _series(history: SeriesHistory) -> dict[str, Any]:
    series = history.series
    return {
        "case": series.key.case_id,
        "workload": series.case.workload,
        "parameters": dict(series.case.parameters),
        "arm": series.key.arm_id,
        "machine": series.key.machine_id,
        "threads": series.key.threads,
        "points": [_point(point) for point in series.points],
        "events": [_event(series, event) for event in series.events],
        "changes": [_change(change) for change in history.changes],
    }


def _point(point: Point) -> dict[str, Any]:
    interval = point.interval
    return {
        "run_id": point.run_id,
        "started_utc": point.started_utc,
        "revision": point.revision,
        "dirty": point.dirty,
        "seconds": math.exp(point.log_seconds),
        "interval_seconds": None if interval is None else [math.exp(each) for each in interval],
        "rounds": point.rounds,
        "processes": point.processes,
        "versions": dict(point.versions),
    }


def _event(series: Series, event: Event) -> dict[str, Any]:
    return {
        "index": event.index,
        "run_id": series.points[event.index].run_id,
        "changes": [
            {"name": each.name, "before": each.before, "after": each.after}
            for each in event.changes
        ],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "id": change.id,
        "state": change.state.value,
        "reason": change.reason,
        "machine_event": change.event_id or None,
        "index": change.index,
        "last_before": _code(change.good),
        "first_after": _code(change.first),
        "surely_after": _code(change.bad),
        "before_seconds": math.exp(change.before),
        "after_seconds": math.exp(change.after),
        "ratio": math.exp(change.effect),
        "low": None if change.low is None else math.exp(change.low),
        "high": None if change.high is None else math.exp(change.high),
        "p_value": change.p_value,
    }


def _machine_event(event: MachineEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "state": event.state.value,
        "machine": event.machine_id,
        "first_after": _code(event.first),
        "ratio": math.exp(event.effect),
        "series_changed": len(event.changes),
        "series_measured": event.series_measured,
        "changes": [change.id for change in event.changes],
    }


def _code(point: Point) -> dict[str, Any]:
    return {
        "run_id": point.run_id,
        "started_utc": point.started_utc,
        "revision": point.revision,
        "dirty": point.dirty,
    }
