"""What the user has decided on changes: acknowledged or fixed, kept in `<store>/history.json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchctl.history.changes import Change, State
from benchctl.history.files import HistoryFileError, locked, read_document, write_document
from benchctl.history.series import Place, SeriesKey
from benchctl.stats.change_points import SMALLEST_CHANGE
from benchctl.store.fields import Fields, SchemaError
from benchctl.store.locations import parse_utc

SCHEMA = "benchctl.history/1"
FILE_NAME = "history.json"
DECISIONS = (State.ACKNOWLEDGED, State.FIXED)


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """A decision on one change, with where the change was located and how large it was then.

    `after` is the place of the last point before the change, `until` that of the first that is
    surely after it; `largest` is the end of the effect's interval farther from 0, in ln ratio.
    """

    id: str
    key: SeriesKey
    state: State
    reason: str
    recorded_utc: str
    first: Place
    after: Place
    until: Place
    effect: float
    largest: float

    def covers(self, change: Change) -> bool:
        """Whether the decision holds for a change that is found now.

        More points may move a change, so that its id is not enough: the ranges must overlap. What
        has grown beyond the interval it had is another change, and nobody has decided on that.
        """
        same = self.key == change.key and (self.effect > 0) == change.slower
        overlap = self.after < change.bad.place and change.good.place < self.until
        allowed = abs(self.largest) + math.log1p(SMALLEST_CHANGE)
        return same and overlap and abs(change.effect) <= allowed


def acknowledge(change: Change, state: State, reason: str, recorded_utc: str) -> Acknowledgement:
    """A decision on a confirmed change; raises ValueError for one that is only suspected."""
    if change.state is State.SUSPECTED:
        raise ValueError(f"acknowledge expected a confirmed change, received {change.id}")
    ends = [end for end in (change.low, change.high) if end is not None]
    return Acknowledgement(
        # A change that has moved keeps the decision that it had.
        id=change.decision_id or change.id,
        key=change.key,
        state=state,
        reason=reason,
        recorded_utc=recorded_utc,
        first=change.first.place,
        after=change.good.place,
        until=change.bad.place,
        effect=change.effect,
        largest=max([change.effect, *ends], key=abs),
    )


def decided(
    changes: Sequence[Change], acknowledgements: Sequence[Acknowledgement]
) -> tuple[Change, ...]:
    """The changes of one series with the decisions on them; one decision is on one change.

    Of several changes that a decision may be on, it is on the one with its id, or else on the one
    located nearest to where the change was.
    """
    found = list(changes)
    for decision in acknowledgements:
        fitting = [
            index
            for index, change in enumerate(found)
            if change.state is State.CONFIRMED and decision.covers(change)
        ]
        if fitting:
            index = min(fitting, key=lambda each: _distance(found[each], decision))
            found[index] = replace(
                found[index],
                state=decision.state,
                reason=decision.reason,
                decision_id=decision.id,
            )
    return tuple(found)


def _distance(change: Change, decision: Acknowledgement) -> tuple[bool, timedelta]:
    """How badly a change fits a decision: by id, then by the time between the two."""
    apart = parse_utc(change.first.started_utc) - parse_utc(decision.first[0])
    return change.id != decision.id, abs(apart)


def load_acknowledgements(store: Path) -> tuple[Acknowledgement, ...]:
    """All decisions of a store, in the order recorded; raises `HistoryFileError`."""
    path = store / FILE_NAME
    document = read_document(path, SCHEMA)
    return () if document is None else _read_all(document, path)


def record_acknowledgements(store: Path, decisions: Sequence[Acknowledgement]) -> Path:
    """Add decisions to the file of a store; one with the same id is replaced.

    Raises `HistoryFileError` where the file there cannot be read, and leaves it as it is.
    """
    path = store / FILE_NAME
    with locked(store):
        document = read_document(path, SCHEMA) or {"schema": SCHEMA, "decisions": []}
        _read_all(document, path)
        replaced = {decision.id for decision in decisions}
        # The objects as they are in the file: keys that a later version adds are kept.
        kept = [each for each in document["decisions"] if each["id"] not in replaced]
        document["decisions"] = [*kept, *map(_entry, decisions)]
        write_document(path, document)
    return path


def _read_all(document: dict[str, Any], path: Path) -> tuple[Acknowledgement, ...]:
    try:
        entries = Fields(document, "the file").children("decisions", "a decision")
        return tuple(_read_entry(entry) for entry in entries)
    except SchemaError as error:
        raise HistoryFileError(path, str(error)) from error


def _entry(decision: Acknowledgement) -> dict[str, Any]:
    return {
        "id": decision.id,
        "state": decision.state.value,
        "reason": decision.reason,
        "recorded_utc": decision.recorded_utc,
        "case": decision.key.case_id,
        "arm": decision.key.arm_id,
        "machine": decision.key.machine_id,
        "threads": decision.key.threads,
        "first": list(decision.first),
        "after": list(decision.after),
        "until": list(decision.until),
        "effect": decision.effect,
        "largest": decision.largest,
    }


def _read_entry(fields: Fields) -> Acknowledgement:
    state = fields.text("state")
    if state not in [each.value for each in DECISIONS]:
        expected = " or ".join(each.value for each in DECISIONS)
        raise SchemaError(f"'state' of a decision expected {expected}, received {state!r}")
    return Acknowledgement(
        id=fields.text("id"),
        key=SeriesKey(
            fields.text("case"),
            fields.text("arm"),
            fields.text("machine"),
            fields.whole("threads"),
        ),
        state=State(state),
        reason=fields.text("reason", ""),
        recorded_utc=fields.text("recorded_utc", ""),
        first=_read_place(fields, "first"),
        after=_read_place(fields, "after"),
        until=_read_place(fields, "until"),
        effect=fields.number("effect"),
        largest=fields.number("largest"),
    )


def _read_place(fields: Fields, key: str) -> Place:
    texts = fields.texts(key)
    if len(texts) != 2:
        raise SchemaError(f"{key!r} of a decision expected a start time and a run id")
    started_utc, run_id = texts
    try:
        parse_utc(started_utc)
    except ValueError as error:
        raise SchemaError(f"{key!r} of a decision expected a start time: {error}") from error
    return started_utc, run_id
