"""What `benchctl claims` would do: the cases of each claim, and its share of the budget."""

from __future__ import annotations

from collections.abc import Sequence

from benchctl.claims.claim import Claim
from benchctl.claims.evidence import SETTINGS
from benchctl.claims.plan import cases_of
from benchctl.plan.schedule import arms_of_case, rounds_of_case
from benchctl.report.numbers import format_duration
from benchctl.report.plans import plan_lines
from benchctl.report.table import Column, Table, render_table
from benchctl.store.record import Plan

_TITLES = ("claim", "kind", "cases", "arms", "rounds", "checks", "at most", "left out")
_NUMBERS = ("cases", "arms", "rounds", "at most")


def claims_plan_lines(claims: Sequence[Claim], plan: Plan) -> list[str]:
    """One row a claim, what is left out and why, then every case."""
    skipped = plan.settings[SETTINGS]["skipped"]
    rows = []
    for claim in claims:
        cases = cases_of(claim, plan)
        arms = sum(len(arms_of_case(plan, case.id)) for case in cases)
        rounds = max((rounds_of_case(plan, case.id) for case in cases), default=0)
        checks = "yes" if claim.probe is not None else "-"
        row = [claim.name, claim.kind, str(len(cases)), str(arms), str(rounds), checks]
        rows.append([*row, _share(len(cases), plan), skipped.get(claim.name, ("", ""))[0]])
    columns = tuple(Column(title, align_right=title in _NUMBERS) for title in _TITLES)
    table = Table(columns, tuple(tuple(row) for row in rows))
    gone = {arm: reason for arm, (reason, _) in plan.settings[SETTINGS]["unavailable"].items()}
    return [
        *render_table(table),
        "",
        *(f"not here: {arm}: {reason}" for arm, reason in gone.items()),
        *([""] if gone else []),
        *plan_lines(plan),
    ]


def _share(cases: int, plan: Plan) -> str:
    """The part of the budget that these cases have before others leave them theirs."""
    if plan.budget_seconds is None or not cases:
        return "-"
    return format_duration(plan.budget_seconds * cases / len(plan.cases))
