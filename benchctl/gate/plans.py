"""The plans of a gate: every case on both revisions, controls beside them, round by round."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchctl.gate.config import GateCase
from benchctl.measure.commands import COMMAND_ENGINE, COMMAND_WORKLOAD, LINE
from benchctl.measure.controls import CONTROL_ENGINE, CONTROL_WORKLOAD, KINDS
from benchctl.measure.session import INTERLEAVED
from benchctl.plan.cases import expand_cases
from benchctl.plan.planted import with_slowdown
from benchctl.plan.schedule import CASE_ARMS, CASE_MEASURE, arms_of_case, build_plan
from benchctl.plan.subjects import MARK, Subject, pairs_of, with_subjects
from benchctl.plan.suites import SuiteEntry
from benchctl.store.record import ArmSpec, CaseSpec, Plan

CONTROL = "control"
MEASURE: Mapping[str, Any] = {
    "cold": False,
    "warm_up": {"min_seconds": 0.1, "limit_seconds": 5.0},
}
_NO_CHECK = {"check_outputs": False}


def pair_plan(
    entries: Sequence[SuiteEntry],
    subjects: tuple[Subject, Subject],
    *,
    commands: Mapping[str, tuple[str, str]] | None = None,
    controls: bool = True,
    arms: Sequence[str] = (),
    rounds: int,
    seed: int,
    threads: int,
    device: str = "cpu",
    measure: Mapping[str, Any] | None = None,
) -> Plan:
    """Every case of `entries` on both subjects, with the commands (base, head) by name.

    Raises `PlanError`.
    """
    settings = {"measure": {**MEASURE, **(measure or {})}, INTERLEAVED: True}
    options: dict[str, Any] = {"rounds": rounds, "seed": seed, "threads": threads}
    plan = Plan((), (), reference_arm="", settings=settings, **options)
    if entries:
        plan = build_plan(entries, arms=arms, device=device, settings=settings, **options)
    plan = with_subjects(plan, subjects)
    base, head = subjects
    for name, lines in (commands or {}).items():
        case = expand_cases(COMMAND_WORKLOAD, {"name": (name,)})[0]
        own = [
            _arm(name, COMMAND_ENGINE, each.name, each.name, {LINE: line})
            for each, line in zip(subjects, lines, strict=True)
        ]
        plan = _with_case(plan, case, own, _NO_CHECK)
    if controls:
        # Both arms run the base: they cannot differ.
        own = [_arm(CONTROL, CONTROL_ENGINE, each.name, base.name) for each in (base, head)]
        for case in expand_cases(CONTROL_WORKLOAD, {"kind": KINDS}):
            plan = _with_case(plan, case, own)
    return plan


def with_planted_slowdown(plan: Plan, number: int, share: float) -> tuple[Plan, tuple[str, str]]:
    """The plan with the head of one pair slower by `share`, and that pair: (case id, label).

    `number` goes through the pairs in turn; controls are left alone.
    """
    pairs = [
        (case.id, pair)
        for case in plan.cases
        if not is_control(case)
        for pair in pairs_of(plan, arms_of_case(plan, case.id))
    ]
    case_id, pair = pairs[number % len(pairs)]
    return with_slowdown(plan, case_id, pair.head_id, share), (case_id, pair.label)


def fresh_processes(plan: Plan) -> Plan:
    """The plan, each round of all cases before the next, each arm in a new process."""
    measure = {**MEASURE, **plan.settings.get("measure", {})}
    return replace(plan, settings={**plan.settings, "measure": measure, INTERLEAVED: True})


def entries_of_cases(cases: Sequence[GateCase]) -> list[SuiteEntry]:
    """The entries of a configuration's cases."""
    return [SuiteEntry(each.workload, each.axes, each.engines) for each in cases]


def margins_of_cases(cases: Sequence[GateCase]) -> dict[str, float]:
    """The margins that single cases have of their own, by case id."""
    return {
        case.id: each.margin
        for each in cases
        if each.margin is not None
        for case in expand_cases(each.workload, each.axes)
    }


def is_control(case: CaseSpec) -> bool:
    """Whether a case is a control."""
    return case.workload == CONTROL_WORKLOAD


def narrowed(plan: Plan, kept: Collection[tuple[str, str]], *, rounds: int, seed: int) -> Plan:
    """The plan with fresh rounds of some pairs, given as (case id, label), and all controls."""
    chosen: dict[str, list[str]] = {}
    for case in plan.cases:
        ids = list(plan.settings.get(CASE_ARMS, {}).get(case.id, [arm.id for arm in plan.arms]))
        if not is_control(case):
            ids = [each for each in ids if (case.id, each.rpartition(MARK)[0]) in kept]
        if ids:
            chosen[case.id] = ids
    return replace(
        plan,
        cases=tuple(case for case in plan.cases if case.id in chosen),
        rounds=rounds,
        seed=seed,
        settings={**plan.settings, CASE_ARMS: chosen},
    )


def _arm(
    label: str, engine: str, side: str, subject: str, switches: Mapping[str, str] | None = None
) -> ArmSpec:
    return ArmSpec(
        id=f"{label}{MARK}{side}", engine=engine, switches=dict(switches or {}), subject=subject
    )


def _with_case(
    plan: Plan, case: CaseSpec, arms: Sequence[ArmSpec], measure: Mapping[str, Any] | None = None
) -> Plan:
    """The plan with one more case that has arms of its own."""
    ids: dict[str, list[str]] = dict(plan.settings.get(CASE_ARMS, {}))
    for known in plan.cases:
        # A case without a list of its own has all arms of the plan: it keeps those of before.
        ids.setdefault(known.id, [arm.id for arm in plan.arms])
    ids[case.id] = [arm.id for arm in arms]
    measures = dict(plan.settings.get(CASE_MEASURE, {}))
    if measure:
        measures[case.id] = dict(measure)
    new = [arm for arm in arms if arm.id not in [each.id for each in plan.arms]]
    return replace(
        plan,
        cases=(*plan.cases, case),
        arms=(*plan.arms, *new),
        reference_arm=plan.reference_arm or arms[0].id,
        settings={**plan.settings, CASE_ARMS: ids, CASE_MEASURE: measures},
    )
