"""A plan as text: what would be measured, and about how long it would take."""

from __future__ import annotations

from benchctl.plan.schedule import arms_of_case, estimate_seconds, rounds_of_case
from benchctl.report.table import Column, Table, render_table
from benchctl.report.text import INDENT, duration_words
from benchctl.store.record import Plan


def plan_lines(plan: Plan) -> list[str]:
    """One row a case, then the settings and the estimate."""
    rows = tuple(
        (
            case.id,
            ", ".join(arm.id for arm in arms_of_case(plan, case.id)),
            str(rounds_of_case(plan, case.id)),
        )
        for case in plan.cases
    )
    columns = (Column("case", align_right=False), Column("engines", align_right=False))
    table = Table((*columns, Column("rounds")), rows)
    count = len(plan.cases)
    return [
        *render_table(table, INDENT),
        "",
        f"{INDENT}{count} case{'' if count == 1 else 's'}, {plan.threads} threads, "
        f"seed {plan.seed}, compared with {plan.reference_arm}",
        f"{INDENT}{duration_words(estimate_seconds(plan))} (a rough guess); nothing was run",
    ]
