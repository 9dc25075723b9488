"""The file of decisions: what is written is read, what cannot be read is never overwritten."""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl.history import acknowledgements, files
from benchctl.history.acknowledgements import (
    DECISIONS,
    FILE_NAME,
    Acknowledgement,
    load_acknowledgements,
    record_acknowledgements,
)
from benchctl.history.changes import State
from benchctl.history.files import HistoryFileError, read_document, write_document
from benchctl.history.series import SeriesKey
from benchctl.store.errors import StoreError

DECISION = Acknowledgement(
    id="0a1b2c3d",
    key=SeriesKey("xyz[size=3x4]", "static", "0123456789ab", 2),
    state=State.ACKNOWLEDGED,
    reason="more checks",
    recorded_utc="2026-02-01T00:00:00Z",
    first=("2026-01-17T03:00:00Z", "run12"),
    after=("2026-01-16T03:00:00Z", "run11"),
    until=("2026-01-18T03:00:00Z", "run13"),
    effect=0.18,
    largest=0.2,
)

words = st.text(max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
places = st.tuples(st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"), words)
decisions = st.builds(
    Acknowledgement,
    id=words,
    key=st.builds(SeriesKey, words, words, words, st.integers(1, 64)),
    state=st.sampled_from(DECISIONS),
    reason=words,
    recorded_utc=words,
    first=places,
    after=places,
    until=places,
    effect=finite,
    largest=finite,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(decisions, max_size=4, unique_by=lambda each: each.id))
def test_what_is_recorded_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, given_decisions: list[Acknowledgement]
) -> None:
    store = tmp_path_factory.mktemp("store")
    for decision in given_decisions:
        record_acknowledgements(store, [decision])
    assert load_acknowledgements(store) == tuple(given_decisions)


def test_a_decision_with_the_same_id_is_replaced_and_others_stay(tmp_path: Path) -> None:
    other = replace(DECISION, id="11111111")
    record_acknowledgements(tmp_path, [DECISION, other])
    fixed = replace(DECISION, state=State.FIXED, reason="undone")
    record_acknowledgements(tmp_path, [fixed])
    assert load_acknowledgements(tmp_path) == (other, fixed)


def test_a_store_without_decisions_has_none(tmp_path: Path) -> None:
    assert load_acknowledgements(tmp_path / "nowhere") == ()


def test_keys_of_a_later_version_are_kept(tmp_path: Path) -> None:
    path = record_acknowledgements(tmp_path, [DECISION])
    document = json.loads(path.read_text())
    document["colour"] = "blue"
    document["decisions"][0]["reviewer"] = "somebody"
    path.write_text(json.dumps(document))
    record_acknowledgements(tmp_path, [replace(DECISION, id="11111111")])
    again = json.loads(path.read_text())
    assert again["colour"] == "blue"
    assert again["decisions"][0]["reviewer"] == "somebody"


def changed(change: str) -> bytes:
    """The file of one decision with one thing wrong."""
    entry: dict[str, Any] = acknowledgements._entry(DECISION)
    document: dict[str, Any] = {"schema": acknowledgements.SCHEMA, "decisions": [entry]}
    match change:
        case "newer":
            document["schema"] = "benchctl.history/2"
        case "foreign":
            document["schema"] = "asv/1"
        case "no decisions":
            del document["decisions"]
        case "state":
            entry["state"] = "suspected"
        case "place":
            entry["first"] = ["2026-01-17T03:00:00Z"]
        case "time":
            entry["until"] = ["yesterday", "run13"]
        case "effect":
            entry["effect"] = "much"
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "expected JSON"),
        (b'{"schema": "benchctl.history/1", "decisions": [', "expected JSON"),
        (b"<<<<<<< HEAD\n", "expected JSON"),
        (b"\xff\xfe\x00", "expected JSON"),
        (b"[]", "expected a JSON object"),
        (b"{}", "'schema', which is missing"),
        (b'{"schema": NaN}', "expected JSON"),
        (changed("newer"), "the newer benchctl.history/2"),
        (changed("foreign"), "received 'asv/1'"),
        (changed("no decisions"), "'decisions', which is missing"),
        (changed("state"), "acknowledged or fixed, received 'suspected'"),
        (changed("place"), "a start time and a run id"),
        (changed("time"), "expected a start time"),
        (changed("effect"), "expected a number"),
    ],
)
def test_an_unreadable_file_is_named_and_never_overwritten(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(content)
    for action in (
        lambda: load_acknowledgements(tmp_path),
        lambda: record_acknowledgements(tmp_path, [DECISION]),
    ):
        with pytest.raises(HistoryFileError) as caught:
            action()
        assert str(path) in caught.value.message and expected in caught.value.message
        assert "nothing was changed" in caught.value.hint
        assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(HistoryFileError, match="cannot be read"):
        record_acknowledgements(tmp_path, [DECISION])


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = record_acknowledgements(tmp_path, [DECISION])
    before = path.read_bytes()

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    target = os if call == "fsync" else Path
    monkeypatch.setattr(target, call, fail)
    with pytest.raises(StoreError, match="No space left"):
        record_acknowledgements(tmp_path, [replace(DECISION, id="11111111")])
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_the_content_is_forced_to_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        done.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        real_fsync(descriptor)

    def replace_file(path: Path, target: Path) -> Path:
        done.append("name")
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace_file)
    write_document(tmp_path / "file.json", {"schema": "a/1"})
    assert done == ["file", "name", "folder"]


def record_many(store: str, name: str, count: int) -> None:
    for number in range(count):
        record_acknowledgements(Path(store), [replace(DECISION, id=f"{name}{number}")])


def test_two_writers_lose_no_decision(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=record_many, args=(str(tmp_path), name, 15)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    ids = {decision.id for decision in load_acknowledgements(tmp_path)}
    assert ids == {f"{name}{number}" for name in "ab" for number in range(15)}


def test_a_reader_meanwhile_finds_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_document(path, {"schema": "a/1", "number": 0})
    context = multiprocessing.get_context("fork")
    writer = context.Process(target=write_numbers, args=(str(path), 200))
    writer.start()
    seen = 0
    while writer.is_alive() or not seen:
        document = read_document(path, "a/1")
        assert document is not None
        assert document["number"] >= seen
        seen = document["number"]
    writer.join(60)
    assert writer.exitcode == 0
    assert read_document(path, "a/1") == {"schema": "a/1", "number": 200}


def write_numbers(path: str, count: int) -> None:
    for number in range(1, count + 1):
        write_document(Path(path), {"schema": "a/1", "number": number})


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open"), files.locked(tmp_path / "file" / "store"):
        pass
    with pytest.raises(StoreError, match="cannot write"):
        write_document(tmp_path / "file" / "a.json", {"schema": "a/1"})
