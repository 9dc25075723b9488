"""From claims to one plan: cases that several share are measured once, what cannot run is noted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchctl.claims.claim import Claim
from benchctl.claims.evidence import SETTINGS
from benchctl.plan.arms import parse_arm
from benchctl.plan.cases import expand_cases
from benchctl.plan.errors import PlanError
from benchctl.plan.registry import load_engine
from benchctl.plan.schedule import build_plan
from benchctl.plan.suites import SuiteEntry
from benchctl.store.record import CaseSpec, Plan

SUITE = "claims"
REFERENCE = "static"

Gap = tuple[str, str]
"""Why something is not measured, and what to do."""


def plan_claims(
    claims: Sequence[Claim], *, seed: int, threads: int, budget_seconds: float | None
) -> Plan:
    """The plan of all cases of the claims, with what is left out and why in its settings.

    A claim of an unknown workload, and an arm that cannot run here, are left out.
    """
    entries: list[SuiteEntry] = []
    skipped: dict[str, Gap] = {}
    unavailable: dict[str, Gap] = {}
    for claim in claims:
        for entry in claim.entries:
            try:
                entries.append(_measurable(entry, unavailable))
            except PlanError as error:
                skipped[claim.name] = (error.message, error.hint)
    stored = {
        "names": [claim.name for claim in claims],
        "skipped": skipped,
        "unavailable": unavailable,
        "facts": {},
    }
    if not entries:
        entries.append(_PLACEHOLDER)
    return build_plan(
        entries,
        seed=seed,
        threads=threads,
        reference=_reference(entries),
        suite=SUITE,
        budget_seconds=budget_seconds,
        settings={SETTINGS: stored},
    )


# A run has at least one case: this one costs two seconds, where only checks were asked for.
_PLACEHOLDER = SuiteEntry(
    "xyz",
    {"size": ("3x4",)},
    arms=("static",),
    rounds=1,
    measure={"cold": False, "warm_up": {"min_seconds": 0.01, "limit_seconds": 0.5}},
)


def _reference(entries: Sequence[SuiteEntry]) -> str:
    arms = [arm for entry in entries for arm in entry.arms]
    return REFERENCE if REFERENCE in arms else arms[0]


def _measurable(entry: SuiteEntry, unavailable: dict[str, Gap]) -> SuiteEntry:
    """The entry with those of its arms that can run here; raises `PlanError` where none can.

    What cannot is added to `unavailable`.
    """
    expand_cases(entry.workload, entry.axes)
    arms = []
    for text in entry.arms:
        arm = parse_arm(text)
        state = load_engine(arm.engine).availability(arm.device)
        if state.ok:
            arms.append(text)
        else:
            unavailable[arm.id] = (state.reason, state.hint)
    if not arms:
        reason, hint = unavailable[parse_arm(entry.arms[0]).id]
        raise PlanError(reason, hint)
    return replace(entry, arms=tuple(arms))


def cases_of(claim: Claim, plan: Plan) -> list[CaseSpec]:
    """The cases of a plan that a claim asked for, shared ones too."""
    wanted: set[str] = set()
    for entry in claim.entries:
        try:
            wanted |= {case.id for case in expand_cases(entry.workload, entry.axes)}
        except PlanError:
            continue
    return [case for case in plan.cases if case.id in wanted]


def with_facts(plan: Plan, facts: Mapping[str, Mapping[str, Any]]) -> Plan:
    """The plan with what the probes of its claims found, by claim."""
    stored = {**plan.settings[SETTINGS], "facts": facts}
    return replace(plan, settings={**plan.settings, SETTINGS: stored})


def probe_claims(
    claims: Sequence[Claim], plan: Plan, tell: Callable[[str], None]
) -> dict[str, Mapping[str, Any]]:
    """The facts of every claim with a probe; `tell` receives the name of each before it runs."""
    facts: dict[str, Mapping[str, Any]] = {}
    for claim in claims:
        if claim.probe is None:
            continue
        tell(claim.name)
        facts[claim.name] = claim.probe(plan)
    return facts
