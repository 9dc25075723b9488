"""`benchctl history`: how fast every case was from run to run, and where that changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import complete_names, store_option
from benchctl.cli.screen import note, write

if TYPE_CHECKING:
    from benchctl.history.changes import Change, State
    from benchctl.history.overview import History
    from benchctl.store.record import Run


@click.command()
@click.argument("names", nargs=-1, metavar="[WORKLOAD]...", shell_complete=complete_names)
@click.option(
    "--ack", "acknowledged", multiple=True, metavar="ID", help="Accept a change; repeatable."
)
@click.option(
    "--fixed", multiple=True, metavar="ID", help="Mark a change as repaired since; repeatable."
)
@click.option("--reason", default="", metavar="TEXT", help="Why, to be kept with --ack or --fixed.")
@click.option(
    "--strict", is_flag=True, help="Exit with 1 where a confirmed slowdown is not decided on."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--markdown", is_flag=True, help="Print Markdown instead of tables.")
@store_option
def history(
    names: tuple[str, ...],
    acknowledged: tuple[str, ...],
    fixed: tuple[str, ...],
    reason: str,
    strict: bool,
    as_json: bool,
    markdown: bool,
    store: Path,
) -> int:
    """Show how fast every case was from run to run, and where that changed.

    A series is one case on one arm and machine; each complete run is a point. It begins anew where
    machine, libraries or environment changed. WORKLOAD limits the table to some workloads.

    \b
    benchctl history                              all series of ./results
    benchctl history xyz --strict                 for CI: 1 where xyz became slower
    benchctl history --ack ID --reason "checks"   accept a slowdown
    """
    if as_json and markdown:
        raise click.UsageError("expected one format for stdout, received --json and --markdown")
    if reason and not (acknowledged or fixed):
        raise click.UsageError("--reason is kept with a decision: give --ack ID or --fixed ID too")
    from benchctl.history.acknowledgements import load_acknowledgements
    from benchctl.history.changes import State
    from benchctl.history.overview import make_history

    runs = complete_runs(store)
    workloads = workloads_called(names, runs)
    decisions = load_acknowledgements(store)
    found = make_history(runs, decisions, workloads)
    if acknowledged or fixed:
        decide(store, found, {State.ACKNOWLEDGED: acknowledged, State.FIXED: fixed}, reason)
        found = make_history(runs, load_acknowledgements(store), workloads)
    show_history(found, runs, as_json, markdown)
    return int(Exit.REGRESSION if strict and found.open_slowdowns() else Exit.OK)


def complete_runs(store: Path) -> list[Run]:
    """The runs of a store that are points; raises with exit code 6 where there is none."""
    from benchctl.history.series import countable_runs
    from benchctl.store.reader import load_store

    runs, problems = load_store(store)
    note(f"warning: left out: {problem.message}" for problem in problems)
    complete = countable_runs(runs)
    if not complete:
        what, how = f"no complete run in {store}", "benchctl run xyz measures one"
        if runs:
            what += f": of {len(runs)} stored, none is finished and no comparison"
        if not all(run.complete for run in runs):
            how = "benchctl run --resume finishes one"
        hint = f"{how}; every complete run is a point of its series"
        raise CliError(what, hint, Exit.NOTHING_MEASURED)
    return complete


def workloads_called(names: Sequence[str], runs: Sequence[Run]) -> tuple[str, ...]:
    """The stored workloads that names mean; a file may be called by its name without folders."""
    from benchctl.plan.errors import UnknownNameError
    from benchctl.report.text import workload_words

    stored = list(dict.fromkeys(case.case.workload for run in runs for case in run.cases))
    chosen: list[str] = []
    for name in names:
        fitting = [each for each in stored if name in (each, workload_words(each))]
        if not fitting:
            raise UnknownNameError("workload", name, map(workload_words, stored), owner="the store")
        chosen += fitting
    return tuple(dict.fromkeys(chosen))


def decide(store: Path, found: History, asked: dict[State, tuple[str, ...]], reason: str) -> None:
    """Keep the user's decisions on changes; nothing is kept where one id is wrong."""
    from benchctl.history.acknowledgements import acknowledge, record_acknowledgements
    from benchctl.store.locations import utc_now

    now = utc_now()
    decisions = {}
    for state, texts in asked.items():
        for change in (each for text in texts for each in changes_called(found, text)):
            decision = acknowledge(change, state, reason, now)
            decisions[decision.id] = decision
    path = record_acknowledgements(store, list(decisions.values()))
    for decision in decisions.values():
        note(f"{decision.state.value} {decision.id} in {path}")


def changes_called(found: History, text: str) -> tuple[Change, ...]:
    """The confirmed changes that an id means: of a machine event, all of them."""
    from benchctl.history.changes import State
    from benchctl.history.machine_events import MachineEvent

    fitting = found.called(text)
    if len(fitting) != 1:
        ids = ", ".join(each.id for each in found.changes()) or "there is none"
        what = f"fits {len(fitting)} changes" if fitting else "is no change"
        raise CliError(f"{text!r} {what} of these series", f"the changes: {ids}")
    (change,) = fitting
    if isinstance(change, MachineEvent):
        return change.changes
    if change.state is State.SUSPECTED:
        raise CliError(
            f"{change.id} is only suspected: there is nothing to decide on yet",
            "measure a few more runs; it is confirmed or it vanishes",
        )
    return (change,)


def show_history(found: History, runs: Sequence[Run], as_json: bool, markdown: bool) -> None:
    """Print the history in the format asked for, and beside it what to do next."""
    if as_json:
        from benchctl.history.document import history_document
        from benchctl.store.export import dump_json

        write([dump_json(history_document(found))])
        return
    from benchctl.report.trends import (
        history_lines,
        history_markdown,
        machine_headings,
        next_steps,
    )

    headings = machine_headings(runs)
    write(history_markdown(found, headings) if markdown else history_lines(found, headings))
    note(next_steps(found))
