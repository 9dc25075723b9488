"""Files that are there as a whole or not at all, whatever ends the process."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, content: str | bytes, *, replace: bool) -> None:
    """Write a file under another name, force it to disk, then give it its own.

    Whoever reads meanwhile, or after a crash, finds the old content or the new. Raises OSError:
    FileExistsError for a file that is there already, unless `replace`.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            partial.replace(path)
        else:
            _rename_to_new(partial, path)
        # The name is given; where the folder cannot be opened, only a power cut can take it back.
        with suppress(OSError):
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force a new name to disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename_to_new(partial: Path, path: Path) -> None:
    """Give a file its name unless another has it; a link is refused where a rename is not."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no links: there, a file made in between would be replaced.
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        partial.rename(path)
