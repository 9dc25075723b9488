"""What can go wrong with stored runs; every message says what to do next."""

from __future__ import annotations

from pathlib import Path

_OTHERS_LOAD = "move the file away or mend it; benchctl show --all lists the runs that load"


class StoreError(Exception):
    """The store cannot be written or read; nothing stored before is lost.

    `message` is one line, `hint` what to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class DiskFullError(StoreError):
    """No space, or no quota, is left for what is to be written."""


class NoSuchRunError(StoreError):
    """No run, or more than one, has the name that was asked for."""


class EmptyStoreError(NoSuchRunError):
    """The store holds no run at all."""


class RecordError(StoreError):
    """A file of the store does not hold a readable run; `line` counts from 1, 0 is the file.

    Without a hint of its own it says that other runs are not affected.
    """

    def __init__(self, path: Path, line: int, problem: str, hint: str = "") -> None:
        place = f"{path}, line {line}" if line else f"{path}"
        super().__init__(f"{place}: {problem}", hint or _OTHERS_LOAD)
        self.path = path
        self.line = line
        self.problem = problem
