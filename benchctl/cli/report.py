"""`benchctl report`: the HTML page and the charts of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import store_option
from benchctl.cli.screen import note, write
from benchctl.cli.writable import not_written, require_writable_folder

if TYPE_CHECKING:
    from benchctl.history.acknowledgements import Acknowledgement
    from benchctl.report.build import ReportFiles
    from benchctl.store.record import Run

FOLDER = "report"
OTHER_FOLDER = "choose another folder with --out"


@click.command()
@click.argument("run_names", nargs=-1, metavar="[RUN]...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the page and the pictures.  [default: report in the store]",
)
@store_option
def report(run_names: tuple[str, ...], out: Path | None, store: Path) -> int:
    """Make the HTML page and the charts of the stored runs.

    The page needs no network and no JavaScript; every chart lies beside it as PNG and SVG. RUN
    limits it to some runs: "last", files, ids or their beginnings or ends.

    \b
    benchctl report                             all runs of ./results
    benchctl report last --out /tmp/page        the newest alone
    """
    from benchctl.store.reader import find_run, load_store

    if run_names:
        runs = [find_run(store, name) for name in run_names]
    else:
        runs, problems = load_store(store)
        note(f"warning: left out: {problem.message}" for problem in problems)
    measured = [run for run in runs if any(arm.rounds for case in run.cases for arm in case.arms)]
    if not measured:
        raise CliError(
            f"no measured run in {store}",
            "benchctl run slides measures what the report shows; benchctl run xyz is a quick start",
            Exit.NOTHING_MEASURED,
        )
    from benchctl.history.acknowledgements import load_acknowledgements
    from benchctl.report.wording import plural

    folder = out or store / FOLDER
    require_writable_folder(folder, OTHER_FOLDER)
    note(f"drawing {plural(len(measured), 'run')} ...")
    files = written_report(measured, folder, load_acknowledgements(store))
    pictures = [*files.pngs, *files.svgs]
    write([f"Report {files.html}"])
    if pictures:
        write([f"  {plural(len(files.pngs), 'chart')} as PNG and SVG in {pictures[0].parent}"])
    note(f"  not drawn: {each.topic}: {each.reason} ({each.command})" for each in files.missing)
    return int(Exit.OK)


def written_report(
    runs: Sequence[Run], out: Path, acknowledgements: Sequence[Acknowledgement] = ()
) -> ReportFiles:
    """The report of runs in a folder; raises `CliError` where that cannot be written."""
    from benchctl.report.build import build_report

    try:
        return build_report(runs, out, acknowledgements=acknowledgements)
    except OSError as error:
        raise not_written(Path(error.filename or out), error, OTHER_FOLDER) from error
