"""`benchctl compare`: two runs, two engines, two revisions or two command lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import (
    axis_option,
    chart_option,
    device_option,
    engine_option,
    seed_option,
    store_option,
    threads_option,
)
from benchctl.cli.output import write_chart
from benchctl.cli.run import measured_run
from benchctl.cli.screen import write

if TYPE_CHECKING:
    from benchctl.compare.pairs import Comparison
    from benchctl.gate.config import GateConfig
    from benchctl.plan.subjects import Subject

DEFAULT_ROUNDS = 20
BASE, HEAD = "base", "head"


@click.command()
@click.argument("sides", nargs=-1, metavar="[A B]")
@click.option(
    "--on",
    "names",
    multiple=True,
    metavar="NAME",
    help="Workload, file or suite to measure on both sides; repeatable.",
)
@click.option("--base", metavar="REV", help="Revision to compare with, such as main or HEAD~1.")
@click.option("--head", metavar="REV", help="Revision to judge.  [default: the working tree]")
@click.option(
    "--command",
    "commands",
    multiple=True,
    metavar="LINE",
    help="Command line to measure as a whole; give two, or one with --base.",
)
@engine_option("Engine to run on both revisions; repeatable.  [default: static, eager, numpy]")
@device_option
@axis_option
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=DEFAULT_ROUNDS,
    show_default=True,
    metavar="N",
    help="Rounds of every case.",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    metavar="FRACTION",
    help="Difference that does not count, as a fraction of the time.  [default: 0.02]",
)
@click.option("--across-machines", is_flag=True, help="Judge stored runs of two machines too.")
@click.option("--fail-slower", is_flag=True, help="Exit with 1 where something is slower.")
@click.option("--strict", is_flag=True, help="Exit with 3 where something is inconclusive.")
@seed_option
@threads_option
@click.option("--markdown", is_flag=True, help="Print Markdown instead of tables.")
@chart_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@store_option
def compare(
    sides: tuple[str, ...],
    names: tuple[str, ...],
    base: str | None,
    head: str | None,
    commands: tuple[str, ...],
    engines: tuple[str, ...],
    device: str,
    axes: tuple[str, ...],
    rounds: int,
    margin: float | None,
    across_machines: bool,
    fail_slower: bool,
    strict: bool,
    seed: int,
    threads: int | None,
    markdown: bool,
    chart: Path | None,
    as_json: bool,
    store: Path,
) -> int:
    """Compare two sides, case by case, with intervals and verdicts.

    What is measured now is measured side by side: every round runs both sides in new processes, in
    balanced order. Two stored runs are compared as they are, on one machine only.

    \b
    benchctl compare 3f2a91c0 last                      two stored runs
    benchctl compare numpy static --on xyz              two engines, now
    benchctl compare --base main --on ./my_workload.py  two revisions of this project
    benchctl compare --command 'python old.py' --command 'python new.py'
    """
    from benchctl.cli.request import usable_cores
    from benchctl.stats.verdict import DEFAULT_MARGIN

    _check_sides(sides, names, base, head, commands)
    allowed = DEFAULT_MARGIN if margin is None else margin
    options = _Options(engines, device, axes, rounds, seed, threads or usable_cores(), allowed)
    if base is not None:
        found = _revisions(base, head, names, commands, options, store)
    elif commands:
        found = _commands(commands, options, store)
    elif names:
        found = _engines(sides, names, options, store)
    else:
        found = _stored(sides, allowed, across_machines, store)
    if found is None:
        return int(Exit.INTERRUPTED)
    _show(found, markdown, as_json)
    if chart is not None:
        from benchctl.report.charts.ratios import draw_comparison

        write_chart(draw_comparison(found), chart)
    return int(_exit_code(found, fail_slower, strict))


@dataclass(frozen=True, slots=True)
class _Options:
    """How to measure, as given on the command line."""

    engines: tuple[str, ...]
    device: str
    axes: tuple[str, ...]
    rounds: int
    seed: int
    threads: int
    margin: float


def _check_sides(
    sides: tuple[str, ...],
    names: tuple[str, ...],
    base: str | None,
    head: str | None,
    commands: tuple[str, ...],
) -> None:
    """Raise `click.UsageError` where it is not clear what to compare."""
    if head is not None and base is None:
        raise click.UsageError("--head expected beside --base REV")
    if base is not None:
        if sides:
            raise click.UsageError(f"--base compares revisions: leave out {' '.join(sides)}")
        if not names and not commands:
            raise click.UsageError("--base expected --on WORKLOAD or --command LINE")
        return
    if commands:
        if sides or names or len(commands) != 2:
            raise click.UsageError("expected two --command LINE and nothing else to compare")
        return
    if len(sides) != 2:
        raise click.UsageError(
            f"expected two sides to compare, received {len(sides)}: two runs, or two engines "
            "with --on WORKLOAD, or --base REV"
        )


def _stored(
    sides: tuple[str, ...], margin: float, across_machines: bool, store: Path
) -> Comparison:
    from benchctl.compare.pairs import compare_stored
    from benchctl.store.errors import NoSuchRunError
    from benchctl.store.reader import find_run

    try:
        base, head = (find_run(store, name) for name in sides)
    except NoSuchRunError as error:
        from benchctl.plan.registry import engine_names

        if all(name.partition(":")[0] in engine_names() for name in sides):
            first, second = sides
            raise CliError(
                f"{first} and {second} are engines: expected a workload to run on them",
                f"benchctl compare {first} {second} --on xyz",
            ) from error
        raise
    for run in (base, head):
        if not run.complete:
            raise CliError(
                f"run {run.run_id} is incomplete: it cannot stand for anything",
                f"benchctl run --resume {run.run_id} measures the rest",
            )
    return compare_stored(base, head, margin=margin, across_machines=across_machines)


def _engines(
    sides: tuple[str, ...], names: tuple[str, ...], options: _Options, store: Path
) -> Comparison | None:
    """Two engines now: one plan with two arms, the first the reference."""
    from benchctl.cli.request import Request, make_plan, require_something_measurable
    from benchctl.compare.pairs import compare_rounds
    from benchctl.gate.plans import fresh_processes

    request = Request(
        names=names,
        engines=sides,
        device=options.device,
        axes=options.axes,
        rounds=options.rounds,
        seed=options.seed,
        threads=options.threads,
        reference=sides[0],
        cold=False,
    )
    plan = make_plan(request)
    require_something_measurable(plan)
    run = measured_run(fresh_processes(plan), store)
    return None if run is None else compare_rounds(run, *sides, margin=options.margin)


def _revisions(
    base: str,
    head: str | None,
    names: tuple[str, ...],
    commands: tuple[str, ...],
    options: _Options,
    store: Path,
) -> Comparison | None:
    from benchctl.cli.request import entries_of_names
    from benchctl.compare.pairs import compare_rounds
    from benchctl.gate.config import load_config
    from benchctl.gate.plans import pair_plan
    from benchctl.gate.revisions import repository_root

    folder = Path.cwd()
    config = load_config(repository_root(folder))
    with both_revisions(base, head, folder, config) as subjects:
        plan = pair_plan(
            entries_of_names(names, options.axes),
            subjects,
            commands=named_commands({f"command{n}": each for n, each in enumerate(commands, 1)}),
            controls=False,
            arms=options.engines,
            rounds=options.rounds,
            seed=options.seed,
            threads=options.threads,
            device=options.device,
        )
        run = measured_run(plan, store)
    if run is None:
        return None
    return compare_rounds(run, base, head or "working tree", margin=options.margin)


@contextmanager
def both_revisions(
    base: str, head: str | None, folder: Path, config: GateConfig
) -> Iterator[tuple[Subject, Subject]]:
    """Base and head, checked out and built; without a head the working tree as it is."""
    from benchctl.gate.revisions import revision_subject, working_tree_subject

    with ExitStack() as stack:
        made = (config.paths, config.build)
        first = stack.enter_context(revision_subject(BASE, folder, base, *made))
        if head is not None:
            second = stack.enter_context(revision_subject(HEAD, folder, head, *made))
        elif config.build:
            raise CliError(
                "the working tree of a project that is built cannot be compared as it is",
                "commit, then name the commit: --head HEAD",
            )
        else:
            second = working_tree_subject(HEAD, folder, config.paths)
        yield first, second


def named_commands(commands: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Command lines that are the same on both sides."""
    return {name: (line, line) for name, line in commands.items()}


def _commands(commands: tuple[str, ...], options: _Options, store: Path) -> Comparison | None:
    """Two command lines, now."""
    from benchctl.compare.pairs import compare_rounds
    from benchctl.gate.plans import pair_plan
    from benchctl.plan.subjects import Subject

    first, second = commands
    plan = pair_plan(
        [],
        (Subject(BASE), Subject(HEAD)),
        commands={"command": (first, second)},
        controls=False,
        rounds=options.rounds,
        seed=options.seed,
        threads=options.threads,
    )
    run = measured_run(plan, store)
    return None if run is None else compare_rounds(run, first, second, margin=options.margin)


def _show(comparison: Comparison, markdown: bool, as_json: bool) -> None:
    from benchctl.report.comparison import (
        comparison_document,
        comparison_lines,
        comparison_markdown,
    )

    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json(comparison_document(comparison))])
    elif markdown:
        write(comparison_markdown(comparison))
    else:
        write(comparison_lines(comparison))


def _exit_code(comparison: Comparison, fail_slower: bool, strict: bool) -> Exit:
    from benchctl.stats.verdict import Verdict

    sides = [side for pair in comparison.pairs for side in (pair.base, pair.head)]
    if any(side.status in ("wrong", "crashed", "timeout") for side in sides):
        return Exit.FAILED
    if not any(pair.judgement for pair in comparison.pairs):
        return Exit.NOTHING_MEASURED
    if fail_slower and comparison.count(Verdict.SLOWER):
        return Exit.REGRESSION
    if strict and comparison.count(Verdict.INCONCLUSIVE):
        return Exit.INCONCLUSIVE
    return Exit.OK
