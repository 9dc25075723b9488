"""A run as the text of one format, and that text in a file."""

from __future__ import annotations

from pathlib import Path

from benchctl.store.exchange.errors import ExportError
from benchctl.store.files import write_whole
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

    Raises `ExportError`.
    """
    try:
        write_whole(path, text, replace=force)
    except FileExistsError as error:
        raise ExportError(
            f"{path} is there already", "choose another file, or replace it with --force"
        ) from error
    except OSError as error:
        raise ExportError(
            f"{path} cannot be written: {error.strerror or error}", "choose another path with -o"
        ) from error
