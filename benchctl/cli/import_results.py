"""`benchctl import`: results of other tools as runs of the store."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.exits import Exit
from benchctl.cli.options import store_option
from benchctl.cli.screen import note, write
from benchctl.store.exchange.formats import AUTO, IMPORT_FORMATS

if TYPE_CHECKING:
    from benchctl.store.exchange.importing import Imported


@click.command("import")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE...",
    type=click.Path(path_type=Path),
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice((AUTO, *IMPORT_FORMATS)),
    default=AUTO,
    show_default=True,
    help="What has written the files; auto tells by their keys.",
)
@store_option
def import_results(files: tuple[Path, ...], format_name: str, store: Path) -> int:
    """Take results of other tools into the store, one run a file.

    Reads the JSON of pyperf, pytest-benchmark, asv, Google Benchmark and hyperfine. Nothing is
    stored where one of the files cannot be read; a file that was imported before is left alone.

    \b
    benchctl import bench.json                        then: benchctl show
    benchctl import .asv/results/*/*-*.json           every result of asv
    """
    from benchctl.store.exchange.importing import import_file
    from benchctl.store.exchange.writing import store_run
    from benchctl.store.locations import run_path

    imported = [(file, import_file(file, format_name)) for file in files]
    for file, each in imported:
        path = run_path(store, each.run.started_utc, each.run.run_id)
        if path.exists():
            note(f"note: {file} is there already, as {path}")
            continue
        path = store_run(store, each.run)
        write(_told(file, each, path))
        note(f"note: {line}" for line in each.notes())
    return int(Exit.OK)


def _told(file: Path, imported: Imported, path: Path) -> list[str]:
    """What was taken, where it lies, and how to see it."""
    run = imported.run
    count = sum(len(case.arms) for case in run.cases)
    rounds = sum(len(arm.rounds) for case in run.cases for arm in case.arms)
    return [
        f"Imported {count} benchmark{'' if count == 1 else 's'} with {rounds} "
        f"round{'' if rounds == 1 else 's'} of {imported.tool} from {file}",
        f"  Saved {path}",
        f"  tables: benchctl show {shlex.quote(str(path))}",
    ]
