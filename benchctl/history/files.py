"""Small JSON files beside the runs: replaced as a whole, never overwritten when unreadable."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchctl.store.errors import RecordError, StoreError
from benchctl.store.fields import Fields, SchemaError, shown
from benchctl.store.files import write_whole

_NOTHING_CHANGED = "nothing was changed; mend the file, or move it away to begin anew"


class HistoryFileError(RecordError):
    """A file of decisions or of a search cannot be read; it is left as it is."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, 0, problem, _NOTHING_CHANGED)


def read_document(path: Path, schema: str) -> dict[str, Any] | None:
    """The JSON object of a file, None where there is none; raises `HistoryFileError`."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HistoryFileError(path, f"cannot be read: {error.strerror or error}") from error
    try:
        document = json.loads(content, parse_constant=_refuse)
        found = Fields(document, "the file").text("schema")
    except SchemaError as error:
        raise HistoryFileError(path, str(error)) from error
    except (ValueError, RecursionError) as error:
        text = content.decode("utf-8", "backslashreplace")
        raise HistoryFileError(path, f"expected JSON, received {shown(text)}") from error
    if found != schema:
        raise HistoryFileError(path, _schema_problem(schema, found))
    object_found: dict[str, Any] = document
    return object_found


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a file by a new one with that content; raises `StoreError`."""
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text + "\n", replace=True)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}",
            "the file is as it was before; check the disk and who may write to the folder",
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time read, change and replace a file of the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(
            f"cannot open {folder}: {error.strerror or error}",
            "choose a folder that you may write to with --store",
        ) from error
    try:
        # Some network file systems have no locks; the file is still replaced as a whole there.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse(constant: str) -> float:
    raise ValueError(f"JSON has no {constant}")


def _schema_problem(expected: str, found: str) -> str:
    family, _, version = found.partition("/")
    own_family, _, own_version = expected.partition("/")
    is_newer = family == own_family and version.isdecimal() and int(version) > int(own_version)
    if is_newer:
        return (
            f"expected schema {expected}, received the newer {found}: "
            "upgrade with pip install --upgrade benchctl"
        )
    return f"expected schema {expected}, received {shown(found)}"
