"""`benchctl check`: why a stored result is unstable, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchctl.cli.exits import Exit
from benchctl.cli.options import store_option
from benchctl.cli.screen import note, write

if TYPE_CHECKING:
    from benchctl.compare.stability import ArmStability, CaseStability, Observation, RunStability

TITLES = ("state", "rounds", "between", "inside", "processes", "5 % takes", "2 % takes")
MISSING = "-"


@click.command()
@click.argument("run_name", metavar="[RUN|FILE]", default="last")
@click.option("--strict", is_flag=True, help="End with 3 where anything was found.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@store_option
def check(run_name: str, strict: bool, as_json: bool, store: Path) -> int:
    """Say why stored results are unstable, and what to do about it.

    RUN is "last", or a run id or its beginning or end; FILE is a run file.

    \b
    between    how much a result varies from round to round
    inside     how much its samples vary within a round
    processes  how much of that lies between the processes that measured it
    5 % takes  the rounds that such a difference takes to be shown
    """
    from benchctl.compare.stability import assess_run
    from benchctl.store.reader import find_run

    run = find_run(store, run_name)
    found = assess_run(run)
    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json(stability_document(found))])
    else:
        write(stability_lines(found))
        if run.path is not None:
            note(f"  From {run.path}")
    return int(Exit.INCONCLUSIVE if strict and not found.is_clean else Exit.OK)


def stability_lines(found: RunStability) -> list[str]:
    """A table a case with what was found below each line, then what concerns the whole run."""
    from benchctl.report.sentences import notice_lines

    lines: list[str] = []
    for case in found.cases:
        lines += [*case_lines(case), ""]
    whole = [*observation_lines(found.observations), *notice_lines(found.warnings)]
    lines += [*whole, ""] if whole else []
    return [*lines, conclusion(found)]


def case_lines(case: CaseStability) -> list[str]:
    """One line an arm, and below it what was found; what all arms share is told once."""
    from benchctl.report.table import Column, Table, render_table
    from benchctl.report.text import INDENT, heading, workload_words

    lines = [heading(workload_words(case.case.workload), case.case.title, "")]
    columns = (
        Column("engine", align_right=False),
        *(Column(title, align_right=title != "state") for title in TITLES),
    )
    rows = tuple((arm.arm_id, *arm_cells(arm)) for arm in case.arms)
    titles, *table = render_table(Table(columns, rows), INDENT)
    lines.append(titles)
    shared = shared_observations(case)
    for arm, line in zip(case.arms, table, strict=True):
        own = tuple(each for each in arm.observations if each not in shared)
        lines.append(line)
        lines += [2 * INDENT + each for each in observation_lines(own)]
    lines += [INDENT + each for each in observation_lines(shared, "all engines: ")]
    return lines + [INDENT + each for each in observation_lines(case.observations)]


def shared_observations(case: CaseStability) -> tuple[Observation, ...]:
    """What is said in the same words of every measured arm, where there are several."""
    measured = [arm for arm in case.arms if arm.rounds]
    if len(measured) < 2:
        return ()
    first, *others = measured
    return tuple(
        each for each in first.observations if all(each in arm.observations for arm in others)
    )


def arm_cells(arm: ArmStability) -> tuple[str, ...]:
    """The cells of an arm's line, one for each of `TITLES`."""
    needed = tuple(
        MISSING if rounds is None else str(rounds) for rounds in arm.rounds_needed.values()
    )
    return (
        state_words(arm),
        str(arm.rounds or MISSING),
        *map(percent_words, (arm.between_rounds, arm.inside_rounds)),
        MISSING if arm.process_share is None else f"{100 * arm.process_share:.0f} %",
        *(needed or (MISSING, MISSING)),
    )


def state_words(arm: ArmStability) -> str:
    """`steady`, `doubtful`, or why there is nothing to judge."""
    from benchctl.report.sentences import UNMEASURED

    if arm.rounds == 0:
        return UNMEASURED.get(arm.status, "not measured")
    return "steady" if arm.is_steady else "doubtful"


def percent_words(fraction: float | None) -> str:
    """A spread such as `0.4 %` or `12 %`."""
    if fraction is None:
        return MISSING
    return f"{100 * fraction:.1f} %" if fraction < 0.1 else f"{100 * fraction:.0f} %"


def observation_lines(observations: tuple[Observation, ...], whose: str = "") -> list[str]:
    """`drift: ...` and what to do below, for each."""
    lines = []
    for each in observations:
        name = each.instability.name.lower().replace("_", " ")
        lines += [f"{whose}{name}: {each.text}", f"  {each.hint}"]
    return lines


def conclusion(found: RunStability) -> str:
    """`2 of 3 results are steady.`"""
    steady = sum(arm.is_steady for arm in found.arms)
    total = len(found.arms)
    if total == 0:
        return "Nothing was measured."
    if total == 1:
        return f"The one result is {'steady' if steady else 'doubtful'}."
    if steady == total:
        return f"All {total} results are steady."
    return f"{steady} of {total} results are steady."


def stability_document(found: RunStability) -> dict[str, Any]:
    """The same for programs; spreads are fractions of the time."""
    return {
        "schema": "benchctl.stability/1",
        "run_id": found.run.run_id,
        "path": None if found.run.path is None else str(found.run.path),
        "clean": found.is_clean,
        "findings": [
            *_finding_documents(found.observations),
            *(
                {"kind": each.finding.name.lower(), "text": each.text, "hint": each.hint}
                for each in found.warnings
            ),
        ],
        "cases": [
            {
                "case": case.case.id,
                "findings": _finding_documents(case.observations),
                "arms": [_arm_document(arm) for arm in case.arms],
            }
            for case in found.cases
        ],
    }


def _arm_document(arm: ArmStability) -> dict[str, Any]:
    return {
        "arm": arm.arm_id,
        "status": arm.status,
        "steady": arm.is_steady,
        "rounds": arm.rounds,
        "between_rounds": arm.between_rounds,
        "inside_rounds": arm.inside_rounds,
        "process_share": arm.process_share,
        "rounds_needed": [
            {"difference": effect, "rounds": rounds} for effect, rounds in arm.rounds_needed.items()
        ],
        "findings": _finding_documents(arm.observations),
    }


def _finding_documents(observations: tuple[Observation, ...]) -> list[dict[str, str]]:
    return [
        {"kind": each.instability.name.lower(), "text": each.text, "hint": each.hint}
        for each in observations
    ]
