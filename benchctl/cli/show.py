"""`benchctl show`: the tables of a stored run again."""

from __future__ import annotations

from pathlib import Path

import click

from benchctl.cli.exits import Exit
from benchctl.cli.options import format_options, store_option
from benchctl.cli.output import Output
from benchctl.cli.screen import note


@click.command()
@click.argument("run_name", metavar="[RUN]", default="last")
@format_options
@click.option("--all", "list_all", is_flag=True, help="List the stored runs instead.")
@store_option
def show(
    run_name: str,
    json_target: str | None,
    markdown: bool,
    csv_format: bool,
    full: bool,
    list_all: bool,
    store: Path,
) -> int:
    """Show the tables of a stored run again.

    RUN is "last", a file, or a run id or its beginning or end.

    \b
    benchctl show                       the newest run
    benchctl show --all                 what is in the store
    benchctl show --json - | jq .cases  the newest run as JSON
    """
    if list_all:
        return _list_runs(store)
    from benchctl.compare.summary import summarise
    from benchctl.store.reader import find_run

    output = Output(json_target, markdown, csv_format, full)
    output.check()
    run = find_run(store, run_name)
    output.show(run, summarise(run))
    if not output.machine_readable and run.path is not None:
        note(f"  From {run.path}")
    return int(Exit.OK)


def _list_runs(store: Path) -> int:
    from benchctl.cli.screen import write
    from benchctl.report.table import Column, Table, render_table
    from benchctl.store.reader import load_store

    runs, problems = load_store(store)
    rows = []
    for run in reversed(runs):
        workloads = dict.fromkeys(case.case.workload for case in run.cases)
        state = "complete" if run.complete else "incomplete"
        rows.append((run.run_id, run.started_utc, ", ".join(workloads), str(len(run.cases)), state))
    titles = ("run", "started", "workloads", "cases", "state")
    columns = tuple(Column(title, align_right=title == "cases") for title in titles)
    write(render_table(Table(columns, tuple(rows))) if rows else [f"no run in {store}"])
    note(f"warning: left out: {problem.message}" for problem in problems)
    return 0
