"""Runs of claims with planted times, peaks and facts: nothing is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from report_records import make_arm, make_run

from benchctl.claims.catalogue import claims_named
from benchctl.claims.plan import plan_claims, with_facts
from benchctl.plan.schedule import arms_of_case
from benchctl.store.record import ArmResult, CaseResult, CaseSpec, Memory, Run

Seconds = Callable[[CaseSpec, str], float]
Peak = Callable[[CaseSpec, str], int]

SMALL_MISTAKE = {"file": "errors_static.py", "line": 14}
NAMED = {**SMALL_MISTAKE, "shown": '  File "errors_static.py", line 14, in f\nShapeError: no'}
HIDDEN = {**SMALL_MISTAKE, "shown": '  File "errors_static.py", line 99, in f\nShapeError: no'}


def even(case: CaseSpec, arm: str) -> float:
    """The same step for everyone."""
    return 1e-3


def level(case: CaseSpec, arm: str) -> int:
    """The same peak for everyone."""
    return 50_000_000


def planted_run(
    *names: str,
    seconds: Seconds = even,
    peak: Peak = level,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    rounds: int = 9,
    spread: float = 0.002,
    change: Callable[[ArmResult], ArmResult] = lambda arm: arm,
) -> Run:
    """A run of these claims in which every planned arm has what is planted."""
    plan = plan_claims(claims_named(names), seed=0, threads=2, budget_seconds=60.0)
    plan = with_facts(plan, facts or {})
    cases = []
    for case in plan.cases:
        arms = [
            change(
                make_arm(
                    arm,
                    seconds(case, arm.id),
                    rounds=rounds,
                    spread=spread,
                    seed=case.id,
                    memory=Memory(peak(case, arm.id)),
                )
            )
            for arm in arms_of_case(plan, case.id)
        ]
        cases.append(CaseResult(case, tuple(arms)))
    made = make_run(cases, plan.arms, suite="claims")
    return Run(
        "20261123T101500-3f2a9c1b-0000c1a1",
        made.started_utc,
        plan,
        made.machine,
        made.environment,
        made.versions,
        made.git,
        ("benchctl", "claims"),
        tuple(cases),
        complete=True,
    )
