"""The writer of a run file: append a line, force it to disk, lose nothing that was finished.

A line is finished once its newline is written. The header is written under a temporary name and
renamed, so that every run file has one. A run without a footer is incomplete and can be resumed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from benchctl.store.errors import DiskFullError, StoreError
from benchctl.store.files import sync_folder
from benchctl.store.lines import RunLines
from benchctl.store.locations import new_run_id, run_path
from benchctl.store.record import ArmResult, ArmRound, Run
from benchctl.store.schema import (
    Footer,
    arm_document,
    encode_line,
    footer_document,
    header_document,
    round_document,
)

__all__ = ["Journal", "StoreError"]

_NEW_FILE_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TRIES = 8


class Journal:
    """The open file of one run; one writer at a time.

    Every failure to write is a `StoreError`, and takes away what was half written.
    """

    def __init__(self, path: Path, descriptor: int, lines: RunLines) -> None:
        self.path = path
        self.run_id = lines.header.run_id
        self._descriptor = descriptor
        self._lines = lines

    @classmethod
    def create(cls, store: Path, run: Run) -> Journal:
        """Write the header of a new run; `run.run_id` names the file, a new id where it is empty.

        The run's results are ignored: they are appended.
        """
        for _ in range(_TRIES):
            run_id = run.run_id or new_run_id(run.started_utc, str(run.machine.get("id", "")))
            path = run_path(store, run.started_utc, run_id)
            header = encode_line(header_document(replace(run, run_id=run_id)))
            lines = RunLines.parse(header, path)
            try:
                return cls(path, _create_file(path, header), lines)
            except FileExistsError:
                if run.run_id:
                    break
            except OSError as error:
                raise _store_error("create", path, error) from error
        raise StoreError(f"{path} is there already", "give the run another id")

    @classmethod
    def resume(cls, path: Path) -> Journal:
        """Open an incomplete run to append to it; a line torn by a crash is taken away."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except OSError as error:
            raise _store_error("resume", path, error) from error
        try:
            _lock(descriptor, path)
            lines = RunLines.parse(path.read_bytes(), path)
            if lines.complete:
                raise StoreError(f"{path} is complete: nothing to resume", "start a new run")
            _cut(descriptor, lines.size)
        except OSError as error:
            os.close(descriptor)
            raise _store_error("resume", path, error) from error
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, lines)

    def append_arm(self, case_id: str, result: ArmResult) -> None:
        """Store all of an arm but its rounds; a later call for the same arm replaces it."""
        self._append(arm_document(case_id, result))

    def append_rounds(self, case_id: str, rounds: Mapping[str, ArmRound]) -> None:
        """Store one finished round of a case: the samples of all its arms, by arm id.

        Raises ValueError for what the reader would refuse, such as a round stored before.
        """
        numbers = {taken.round for taken in rounds.values()}
        if len(numbers) != 1:
            raise ValueError(f"append_rounds expected one round, received {sorted(numbers)}")
        self._append(round_document(case_id, numbers.pop(), rounds))

    def finish(self) -> None:
        """Write the footer, which makes the run complete, and close the file."""
        self._require_open()
        try:
            _cut(self._descriptor, self._lines.size)
            # The checksum is that of the file, not of what was meant to be in it.
            self._lines = RunLines.parse(self.path.read_bytes(), self.path)
        except OSError as error:
            raise _store_error("finish", self.path, error) from error
        counts = (self._lines.arm_lines, self._lines.round_lines)
        self._append(footer_document(Footer(*counts, self._lines.sha256())))
        self.close()

    def close(self) -> None:
        """Close the file; without `finish` the run stays incomplete and can be resumed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._descriptor < 0:
            raise StoreError(f"{self.path} is closed", "resume the run to append to it")

    def _append(self, document: Mapping[str, Any]) -> None:
        self._require_open()
        line = encode_line(document)
        entry = self._lines.read(line)
        try:
            # An append that was interrupted may have left bytes behind.
            _cut(self._descriptor, self._lines.size)
            _write_line(self._descriptor, line)
        except OSError as error:
            with suppress(OSError):
                _cut(self._descriptor, self._lines.size)
            raise _store_error("append to", self.path, error) from error
        self._lines.take(line, entry)


def _create_file(path: Path, header: bytes) -> int:
    """Make a file that holds the header from the moment it has its name; returns it open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, _NEW_FILE_FLAGS, 0o644)
    try:
        _lock(descriptor, path)
        _write_line(descriptor, header)
        # Whoever holds the temporary name is alone in taking the final one.
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        partial.rename(path)
        sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _write_line(descriptor: int, line: bytes) -> None:
    """Append a line by one write and force it to disk."""
    written = os.write(descriptor, line)
    if written != len(line):
        reason = f"{os.strerror(errno.ENOSPC)} ({written} of {len(line)} bytes were written)"
        raise OSError(errno.ENOSPC, reason)
    os.fsync(descriptor)


def _cut(descriptor: int, size: int) -> None:
    if os.fstat(descriptor).st_size > size:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    """Keep a second writer away; the lock ends with the process, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(
            f"{path} is being written by another process", "wait for it, or end it first"
        ) from None
    except OSError:
        # Some network file systems have no locks; run ids alone keep writers apart there.
        return


def _store_error(action: str, path: Path, error: OSError) -> StoreError:
    """What to tell the user of a failure to write."""
    message = f"cannot {action} {path}: {error.strerror or error}"
    if error.errno in _FULL:
        free = _free_mebibytes(path)
        then = "try again" if action == "create" else "resume the run"
        hint = f"free space on its disk ({free} left), then {then}, or use another --store"
        return DiskFullError(message, hint)
    if error.errno == errno.EFBIG:
        hint = "raise the limit on file size (ulimit -f), then resume the run"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        hint = "choose a folder that you may write to with --store"
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        hint = "check the path, or choose another folder with --store"
    else:
        hint = "every round stored before is kept; check the disk, then resume the run"
    return StoreError(message, hint)


def _free_mebibytes(path: Path) -> str:
    try:
        return f"{shutil.disk_usage(path.parent).free / 2**20:.1f} MiB"
    except OSError:
        return "an unknown size"
