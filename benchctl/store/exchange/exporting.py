"""A run as the text of one format, and that text in a file."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from benchctl.store.exchange.errors import ExportError
from benchctl.store.record import Run


def export_text(run: Run, format_name: str) -> str:
    """The whole document; raises `ExportError` where the format cannot hold the run.

    `format_name` is one of `EXPORT_FORMATS`.
    """
    match format_name:
        case "pyperf":
            from benchctl.store.exchange.pyperf import pyperf_json

            return pyperf_json(run)
        case "csv":
            from benchctl.store.exchange.csv import samples_csv

            return samples_csv(run)
        case "github":
            from benchctl.compare.summary import summarise
            from benchctl.store.exchange.github import github_json

            return github_json(summarise(run))
        case "bencher":
            from benchctl.compare.summary import summarise
            from benchctl.store.exchange.bencher import bencher_json

            return bencher_json(summarise(run))
    raise ValueError(f"export_text expected a format of EXPORT_FORMATS, received {format_name!r}")


def write_file(path: Path, text: str, *, force: bool = False) -> None:
    """Write a file as a whole or not at all; one that is there is replaced only by `force`.

    The text is on disk under another name before the file gets its own. Raises `ExportError`.
    """
    partial: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o666 & ~_umask())
        if force:
            partial.replace(path)
        else:
            _rename_to_new(partial, path)
    except FileExistsError as error:
        raise ExportError(
            f"{path} is there already", "choose another file, or replace it with --force"
        ) from error
    except OSError as error:
        raise ExportError(
            f"{path} cannot be written: {error.strerror or error}", "choose another path with -o"
        ) from error
    finally:
        if partial is not None:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


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


def _umask() -> int:
    """The process's mask; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
