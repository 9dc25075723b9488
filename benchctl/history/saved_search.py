"""The evidence of a search in the store, so that a second call continues the first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchctl.history.bisect import Evidence
from benchctl.history.changes import short_id
from benchctl.history.files import HistoryFileError, read_document, write_document
from benchctl.store.fields import Fields, SchemaError

SCHEMA = "benchctl.bisect/1"
FOLDER = "bisects"


@dataclass(frozen=True, slots=True)
class SearchKey:
    """What a search is about: evidence for one is worth nothing for another."""

    good: str
    bad: str
    case_id: str
    arm_id: str
    machine_id: str
    threads: int
    seed: int


class SavedSearch:
    """The file of one search; every piece of evidence is on disk before the next is measured."""

    def __init__(self, path: Path, key: SearchKey, evidence: dict[str, Evidence]) -> None:
        self.path = path
        self._key = key
        self._evidence = evidence

    @classmethod
    def open(cls, store: Path, key: SearchKey, *, fresh: bool = False) -> SavedSearch:
        """The search of a key as far as it came; `fresh` begins anew.

        Raises `HistoryFileError` where the file there cannot be read, and leaves it as it is.
        """
        path = store / FOLDER / f"{short_id(*asdict(key).values())}.json"
        document = read_document(path, SCHEMA)
        if document is None:
            return cls(path, key, {})
        try:
            found = _read(document, key)
        except SchemaError as error:
            raise HistoryFileError(path, str(error)) from error
        return cls(path, key, {} if fresh else found)

    @property
    def known(self) -> tuple[Evidence, ...]:
        """The evidence so far, in the order in which it was first measured."""
        return tuple(self._evidence.values())

    def save(self, evidence: Evidence) -> None:
        """Keep the evidence on a revision in place of what was known of it."""
        self._evidence[evidence.revision] = evidence
        document = {
            "schema": SCHEMA,
            "key": asdict(self._key),
            "evidence": [asdict(each) for each in self._evidence.values()],
        }
        write_document(self.path, document)


def _read(document: dict[str, Any], key: SearchKey) -> dict[str, Evidence]:
    fields = Fields(document, "the file")
    found = fields.mapping("key")
    if found != asdict(key):
        raise SchemaError(f"expected the search {asdict(key)}, received {found}")
    entries = [_read_evidence(each) for each in fields.children("evidence", "evidence")]
    return {each.revision: each for each in entries}


def _read_evidence(fields: Fields) -> Evidence:
    values = fields.items("log_ratios")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SchemaError(f"'log_ratios' of evidence expected numbers, received {value!r}")
    return Evidence(
        revision=fields.text("revision"),
        rounds=fields.whole("rounds", least=0),
        log_ratios=tuple(map(float, values)),
        failure=fields.text("failure", ""),
    )
