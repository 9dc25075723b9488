"""What can go wrong when results are taken in, given out or put together."""

from __future__ import annotations

from pathlib import Path

from benchctl.store.errors import RecordError, StoreError


class ForeignFileError(RecordError):
    """A file of another tool that cannot be imported; nothing of it was stored."""

    def __init__(self, path: Path, problem: str, hint: str = "") -> None:
        super().__init__(path, 0, problem, hint or "import a file as the tool has written it")


class ExportError(StoreError):
    """A run that a format cannot hold, or a file that cannot be written."""


class MergeError(StoreError):
    """Runs that do not make one run."""
