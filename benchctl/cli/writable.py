"""Refusing, before anything runs, files and folders that could not be written afterwards."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit


def require_writable(path: Path, hint: str) -> None:
    """Raise where a file could not be written later; nothing stays behind from trying."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists():
            with path.open("a", encoding="utf-8"):
                return
        folder = path.resolve().parent
        if not folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        _try_a_file(folder)
    except OSError as error:
        raise not_written(path, error, hint) from error


def require_writable_folder(folder: Path, hint: str) -> None:
    """Raise where files could not be written later into a folder that need not be there yet."""
    there = folder.resolve()
    try:
        while not there.exists():
            there = there.parent
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        _try_a_file(there)
    except OSError as error:
        raise not_written(folder, error, hint) from error


def not_written(path: Path, error: OSError, hint: str, exit_code: Exit = Exit.USAGE) -> CliError:
    """What to tell the user of a failure to write."""
    return CliError(f"{path} cannot be written: {error.strerror or error}", hint, exit_code)


def _try_a_file(folder: Path) -> None:
    """Make a nameless file: permissions say neither what root may nor what a file system can."""
    from tempfile import TemporaryFile

    with TemporaryFile(dir=folder):
        return
