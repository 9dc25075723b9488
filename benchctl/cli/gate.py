"""`benchctl gate`: fail where a revision is slower than the one before it, and only there."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.compare import BASE, HEAD, both_revisions, named_commands
from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import (
    axis_option,
    chart_option,
    complete_names,
    device_option,
    engine_option,
    seed_option,
    store_option,
    threads_option,
)
from benchctl.cli.output import write_chart, write_document
from benchctl.cli.run import measured_run
from benchctl.cli.screen import note, write
from benchctl.cli.writable import require_writable

if TYPE_CHECKING:
    from benchctl.gate.config import GateConfig
    from benchctl.gate.decide import GateRule
    from benchctl.gate.noise import NoiseFloor
    from benchctl.gate.outcomes import GateResult
    from benchctl.plan.subjects import Subject
    from benchctl.store.record import Plan, Run

Write = Callable[[Path, str], None]

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option("--base", required=True, metavar="REV", help="Revision to compare with.")
@click.option("--head", metavar="REV", help="Revision to judge.  [default: the working tree]")
@engine_option("Engine to run; repeatable.  [default: static, eager, numpy]")
@device_option
@axis_option
@click.option(
    "--command", "commands", multiple=True, metavar="LINE", help="Command line to gate as a whole."
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    metavar="FRACTION",
    help="Slowdown that does not count, as a fraction of the time.  [default: 0.02]",
)
@click.option("--strict", is_flag=True, help="Exit with 3 where a case stays inconclusive.")
@seed_option
@threads_option
@click.option(
    "--junit", type=click.Path(path_type=Path), metavar="FILE", help="Also write JUnit XML."
)
@click.option(
    "--summary",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Also append Markdown to a file.  [default: ${SUMMARY_VARIABLE}, where it is set]",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and a time estimate; run nothing.")
@chart_option
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Also write JSON."
)
@store_option
def gate(
    names: tuple[str, ...],
    base: str,
    head: str | None,
    engines: tuple[str, ...],
    device: str,
    axes: tuple[str, ...],
    commands: tuple[str, ...],
    margin: float | None,
    strict: bool,
    seed: int,
    threads: int | None,
    junit: Path | None,
    summary: Path | None,
    dry_run: bool,
    chart: Path | None,
    json_file: Path | None,
    store: Path,
) -> int:
    """Exit with 1 where a revision is slower than another, and only there.

    Both revisions are checked out and measured side by side on this machine. A few rounds of every
    case name candidates; only fresh rounds of these decide. Two controls, which no change can
    touch, tell a disturbed machine. NAME is a workload, a file or a suite; without any the cases
    of [tool.benchctl.gate] in pyproject.toml.

    \b
    benchctl gate --base origin/main
    benchctl gate --base HEAD~1 ./benchmarks/parse.py -a size=1000
    benchctl gate --base v1.2 --command 'python -m mypackage --version'
    """
    from benchctl.gate.outcomes import unused_entries
    from benchctl.gate.revisions import resolve_revision
    from benchctl.report.gate import gate_lines

    started = time.monotonic()
    folder = Path.cwd()
    config, removed = _configuration(folder, base, names, commands)
    rule = config.rule if margin is None else replace(config.rule, margin=margin)
    asked = (engines, device, seed, threads)
    if dry_run:
        from benchctl.plan.subjects import Subject
        from benchctl.report.plans import gate_plan_lines

        for revision in (base, head):
            if revision is not None:
                resolve_revision(folder, revision)
        unbuilt = Subject(BASE), Subject(HEAD)
        plan, rule = screen_plan(config, names, axes, commands, unbuilt, rule, *asked)
        write(gate_plan_lines(plan, rule.confirm_rounds))
        return int(Exit.OK)
    for path, option in ((junit, "--junit"), (summary, "--summary"), (json_file, "--json")):
        if path is not None:
            require_writable(path, f"choose another path: {option} FILE")
    with both_revisions(base, head, folder, config) as subjects:
        plan, rule = screen_plan(config, names, axes, commands, subjects, rule, *asked)
        result, runs = _run(plan, rule, config, base, head, removed, strict, store)
    command = shlex.join(["benchctl", *sys.argv[1:]])
    floor = _noise_floor(store, runs)
    write(gate_lines(result, floor, command))
    note([f"Saved {run.path}" for run in runs])
    for entry in unused_entries(result, config.quarantine):
        note(f"warning: quarantine names no case: {entry}")
    seconds = time.monotonic() - started
    _write_documents(result, floor, command, runs[0], seconds, junit, summary, json_file)
    if chart is not None:
        from benchctl.report.charts.ratios import draw_gate

        write_chart(draw_gate(result, runs), chart)
    return int(exit_of(result))


def _configuration(
    folder: Path, base: str, names: tuple[str, ...], commands: tuple[str, ...]
) -> tuple[GateConfig, tuple[str, ...]]:
    """What the project configures, and the cases that only the base's configuration names."""
    from benchctl.gate.config import FILE, load_config, read_config
    from benchctl.gate.revisions import repository_root, show_file

    root = repository_root(folder)
    config = load_config(root)
    if names or commands:
        return replace(config, cases=(), commands={}), ()
    if not config.cases and not config.commands:
        raise CliError(
            "nothing to gate: pyproject.toml names no cases and none were given",
            'benchctl gate --base REV xyz, or [tool.benchctl.gate] cases = ["./my_workload.py"]',
        )
    before = read_config(show_file(root, base, FILE) or "", f"{FILE} of {base}")
    known = {case.workload for case in config.cases} | set(config.commands)
    gone = [case.workload for case in before.cases] + list(before.commands)
    return config, tuple(name for name in dict.fromkeys(gone) if name not in known)


def screen_plan(
    config: GateConfig,
    names: tuple[str, ...],
    axes: tuple[str, ...],
    commands: tuple[str, ...],
    subjects: tuple[Subject, Subject],
    rule: GateRule,
    engines: tuple[str, ...],
    device: str,
    seed: int,
    threads: int | None,
) -> tuple[Plan, GateRule]:
    """The plan of the screen, and the rule with the margins of single cases."""
    from benchctl.cli.request import entries_of_names, usable_cores
    from benchctl.gate.decide import TooFewRoundsError
    from benchctl.gate.plans import entries_of_cases, is_control, margins_of_cases, pair_plan
    from benchctl.plan.schedule import arms_of_case

    entries = entries_of_names(names, axes) if names else entries_of_cases(config.cases)
    lines = {f"command{n}": line for n, line in enumerate(commands, 1)} or dict(config.commands)
    plan = pair_plan(
        entries,
        subjects,
        commands=named_commands(lines),
        arms=engines,
        rounds=rule.screen_rounds,
        seed=seed,
        threads=threads or usable_cores(),
        device=device,
    )
    rule = replace(rule, margins=margins_of_cases(config.cases))
    pairs = sum(
        len(arms_of_case(plan, case.id)) // 2 for case in plan.cases if not is_control(case)
    )
    try:
        rule.check(pairs)
    except TooFewRoundsError as error:
        raise CliError(
            str(error), "raise screen_rounds or confirm_rounds, or gate fewer cases"
        ) from error
    return plan, rule


def _run(
    plan: Plan,
    rule: GateRule,
    config: GateConfig,
    base: str,
    head: str | None,
    removed: tuple[str, ...],
    strict: bool,
    store: Path,
) -> tuple[GateResult, list[Run]]:
    from benchctl.gate.run import GateRequest, run_gate

    request = GateRequest(
        rule=rule,
        base=base,
        head=head or "working tree",
        counts=config.counts,
        quarantine=config.quarantine,
        removed=removed,
        strict=strict,
    )
    return run_gate(plan, request, measuring_into(store), lambda text: note(f"note: {text}"))


def measuring_into(store: Path) -> Callable[[Plan], Run]:
    """Measures plans into a store; an interruption ends the gate."""

    def measure(plan: Plan) -> Run:
        run = measured_run(plan, store)
        if run is None:
            raise KeyboardInterrupt
        return run

    return measure


def _noise_floor(store: Path, runs: list[Run]) -> NoiseFloor | None:
    from benchctl.gate.noise import load_aa, noise_floor

    return noise_floor(load_aa(store), str(runs[0].machine.get("id", "")))


def _write_documents(
    result: GateResult,
    floor: NoiseFloor | None,
    command: str,
    run: Run,
    seconds: float,
    junit: Path | None,
    summary: Path | None,
    json_file: Path | None,
) -> None:
    from benchctl.report.gate import gate_document, gate_markdown, junit_xml
    from benchctl.report.text import machine_words
    from benchctl.store.export import dump_json

    if summary is None and os.environ.get(SUMMARY_VARIABLE):
        summary = Path(os.environ[SUMMARY_VARIABLE])
    words = machine_words(run)
    documents: list[tuple[Path | None, Write, Callable[[], str]]] = [
        (junit, write_document, lambda: junit_xml(result, seconds)),
        (json_file, write_document, lambda: dump_json(gate_document(result, floor, command))),
        (summary, _append, lambda: "\n".join(gate_markdown(result, floor, command, words))),
    ]
    for path, write_to, text in documents:
        if path is None:
            continue
        try:
            write_to(path, text() + "\n")
        except OSError as error:
            # The verdict stands, whatever becomes of its copies.
            note(f"warning: {path} cannot be written: {error.strerror or error}")


def _append(path: Path, text: str) -> None:
    """A step summary has other steps' words before ours."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def exit_of(result: GateResult) -> Exit:
    """The exit code of a gate."""
    from benchctl.gate.outcomes import Ending

    return {
        Ending.CLEAN: Exit.OK,
        Ending.REGRESSION: Exit.REGRESSION,
        Ending.INCONCLUSIVE: Exit.INCONCLUSIVE,
        Ending.CONTAMINATED: Exit.CONTAMINATED,
        Ending.FAILED: Exit.FAILED,
        Ending.NOTHING_MEASURED: Exit.NOTHING_MEASURED,
    }[result.ending]
