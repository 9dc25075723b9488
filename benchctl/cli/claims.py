"""`benchctl claims`: the lecture's claims as experiments, each with a verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.exits import Exit
from benchctl.cli.options import duration, seed_option, store_option, threads_option
from benchctl.cli.output import exit_code, failure_notes
from benchctl.cli.report import FOLDER, OTHER_FOLDER, written_report
from benchctl.cli.screen import note, write
from benchctl.cli.writable import require_writable_folder

if TYPE_CHECKING:
    from benchctl.claims.claim import Claim
    from benchctl.claims.evaluation import Judged
    from benchctl.store.record import Plan, Run

BUDGET = "14m"
"""Under the quarter of an hour that is promised, since a round that began in time may end."""


@click.command()
@click.option(
    "--only", "names", multiple=True, metavar="CLAIM", help="Only this claim; repeatable."
)
@click.option(
    "--budget",
    callback=duration,
    default=BUDGET,
    show_default=True,
    metavar="TIME",
    help="Stop after about this long: 30s, 5m.",
)
@click.option("--dry-run", is_flag=True, help="Show cases and budget of each claim; run nothing.")
@click.option(
    "--from", "source", metavar="RUN", help="Judge a stored run again: last, a file, or an id."
)
@click.option("--report", "with_report", is_flag=True, help="Also make the page with the charts.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the page.  [default: report in the store]",
)
@click.option("--markdown", is_flag=True, help="Print Markdown instead of text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.option("--strict", is_flag=True, help="Exit with 3 where a claim has no verdict here.")
@seed_option
@threads_option
@store_option
def claims(
    names: tuple[str, ...],
    budget: float,
    dry_run: bool,
    source: str | None,
    with_report: bool,
    out: Path | None,
    markdown: bool,
    as_json: bool,
    strict: bool,
    seed: int,
    threads: int | None,
    store: Path,
) -> int:
    """Run the lecture's claims as experiments, each with a verdict.

    Every claim is measured on this machine, within the budget for all of them, and judged by a
    stated rule: it holds here, does not hold here, depends, or was not measured, and what to do.
    Results are stored as a run of the suite "claims".

    \b
    benchctl claims                          all of them, within a quarter of an hour
    benchctl claims --only winograd          one
    benchctl claims --from last --report     the newest run's verdicts again, with charts
    """
    if markdown and as_json:
        raise click.UsageError("expected one of --markdown and --json, received both")
    report_folder = out or store / FOLDER
    if with_report and not dry_run:
        require_writable_folder(report_folder, OTHER_FOLDER)
    if source is not None:
        _refuse_beside_from(names, dry_run)
        run = _stored(store, source)
    else:
        from benchctl.claims.catalogue import claims_named
        from benchctl.claims.plan import plan_claims
        from benchctl.cli.request import usable_cores

        chosen = claims_named(names)
        plan = plan_claims(
            chosen, seed=seed, threads=threads or usable_cores(), budget_seconds=budget
        )
        if dry_run:
            from benchctl.report.claims_plan import claims_plan_lines

            write(claims_plan_lines(chosen, plan))
            return int(Exit.OK)
        require_writable_folder(store, "choose another folder with --store")
        measured = _measured(chosen, plan, budget, store)
        if measured is None:
            return int(Exit.INTERRUPTED)
        run = measured
    from benchctl.claims.evaluation import judge_run

    judged = judge_run(run)
    _show(judged, run, markdown, as_json)
    if source is None:
        note(f"Saved {run.path}")
    if with_report:
        note(f"Report {written_report([run], report_folder).html}")
    return int(claims_exit(judged, run, strict))


def _refuse_beside_from(names: tuple[str, ...], dry_run: bool) -> None:
    """Raise for options that a stored run has already decided."""
    given = [*(["--only"] if names else []), *(["--dry-run"] if dry_run else [])]
    if given:
        raise click.UsageError(f"--from judges a stored run: leave out {', '.join(given)}")


def _stored(store: Path, source: str) -> Run:
    """A run by its name; "last" is the newest that was measured for claims."""
    from benchctl.claims.evaluation import is_claims_run
    from benchctl.cli.errors import CliError
    from benchctl.store.reader import find_run, load_store

    if source != "last":
        return find_run(store, source)
    found = [run for run in load_store(store)[0] if is_claims_run(run)]
    if not found:
        hint = "measure them: benchctl claims"
        raise CliError(f"no run of claims in {store}", hint, Exit.NOTHING_MEASURED)
    return found[-1]


def _measured(claims: Sequence[Claim], plan: Plan, budget: float, store: Path) -> Run | None:
    """Checks first, then what is timed, within what the checks leave of the budget."""
    from dataclasses import replace

    from benchctl.claims.plan import probe_claims, with_facts
    from benchctl.cli.run import measured_run

    start = time.monotonic()
    facts = probe_claims(claims, plan, lambda name: note(f"checking {name} ..."))
    left = max(1.0, budget - (time.monotonic() - start))
    return measured_run(replace(with_facts(plan, facts), budget_seconds=left), store)


def _show(judged: Sequence[Judged], run: Run, markdown: bool, as_json: bool) -> None:
    from benchctl.report.claims import claims_document, claims_lines, claims_markdown

    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json(claims_document(judged, run))])
    elif markdown:
        write(claims_markdown(judged, run))
    else:
        write(claims_lines(judged, run))
    note(failure_notes(run))


def claims_exit(judged: Sequence[Judged], run: Run, strict: bool) -> Exit:
    """5 where an experiment failed, 6 where none was measured, 3 if `strict` and one is open."""
    from benchctl.claims.verdicts import Verdict

    if exit_code(run) is Exit.FAILED:
        return Exit.FAILED
    verdicts = {each.verdict for each in judged}
    if verdicts <= {Verdict.NOT_MEASURED}:
        return Exit.NOTHING_MEASURED
    if strict and verdicts & {Verdict.NOT_MEASURED, Verdict.UNDECIDED}:
        return Exit.INCONCLUSIVE
    return Exit.OK
