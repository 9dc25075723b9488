"""A plan as text: what would be measured, and about how long it would take."""

from __future__ import annotations

from collections.abc import Sequence

from benchctl.plan.schedule import arms_of_case, estimate_seconds, rounds_of_case
from benchctl.report.table import Column, Table, render_table
from benchctl.report.text import INDENT, duration_words, workload_words
from benchctl.store.record import CaseSpec, Plan


def plan_lines(plan: Plan) -> list[str]:
    """Every workload with one row a case, then the settings and the estimate."""
    by_workload: dict[str, list[CaseSpec]] = {}
    for case in plan.cases:
        by_workload.setdefault(case.workload, []).append(case)
    lines: list[str] = []
    for cases in by_workload.values():
        lines += [*_workload_lines(plan, cases), ""]
    count = len(plan.cases)
    return [
        *lines,
        f"{count} case{'' if count == 1 else 's'}, {plan.threads} "
        f"thread{'' if plan.threads == 1 else 's'}, seed {plan.seed}, "
        f"compared with {plan.reference_arm}",
        f"{duration_words(estimate_seconds(plan))} (a rough guess); nothing was run",
    ]


def gate_plan_lines(plan: Plan, confirm_rounds: int) -> list[str]:
    """The same for the screen of a gate, and what follows it."""
    return [
        *plan_lines(plan),
        f"a case that may be slower is then measured again, for {confirm_rounds} rounds",
    ]


def _workload_lines(plan: Plan, cases: Sequence[CaseSpec]) -> list[str]:
    """What the cases share in the heading, the axes that vary as columns."""
    names = dict.fromkeys(name for case in cases for name in case.parameters)
    varying = [name for name in names if len({case.parameters.get(name) for case in cases}) > 1]
    shared = [f"{name} {value}" for name, value in cases[0].parameters.items()]
    shared = [text for text in shared if text.partition(" ")[0] not in varying]
    rows = tuple(
        (
            *(str(case.parameters.get(name, "-")) for name in varying),
            ", ".join(arm.id for arm in arms_of_case(plan, case.id)),
            str(rounds_of_case(plan, case.id)),
        )
        for case in cases
    )
    columns = (*(Column(name, align_right=False) for name in (*varying, "engines")),)
    table = Table((*columns, Column("rounds")), rows)
    heading = f"{workload_words(cases[0].workload)}  {', '.join(shared)}".rstrip()
    return [heading, *render_table(table, INDENT)]
