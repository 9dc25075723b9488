"""One complete run from the shards of a plan, or from parts of it that were resumed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchctl.plan.schedule import rounds_of_case
from benchctl.plan.shards import SHARD
from benchctl.store.exchange.errors import MergeError
from benchctl.store.exchange.likeness import machine_id, require_alike
from benchctl.store.exchange.merged_arms import merged_arm
from benchctl.store.exchange.merged_facts import merged_environment, merged_machine
from benchctl.store.record import ArmResult, CaseResult, CaseSpec, Plan, Run

_SHOWN = 5
"""How many rounds or cases an error message lists."""


def merge_runs(runs: Sequence[Run], *, across_machines: bool = False) -> Run:
    """The run that `runs` make together, in any order; its id is empty, a new one is drawn.

    They must be of one plan with one seed, the same versions and engines, and of one machine:
    `across_machines` allows several, each with whole cases of its own. Raises `MergeError` with
    the reason, also where a round is there twice or where cases are missing.
    """
    if not runs:
        raise MergeError("expected runs to merge, received none")
    parts = sorted(runs, key=_start_and_id)
    _refuse_mixture(parts)
    require_alike([replace(part, plan=without_shard(part.plan)) for part in parts])
    plan = _whole_plan(parts)
    _require_one_machine(parts, plan, across_machines)
    _require_distinct_rounds(parts, plan)
    cases = tuple(_merged_case(case, parts) for case in plan.cases)
    for case in cases:
        _require_complete(case, plan, parts)
    return Run(
        run_id="",
        started_utc=parts[0].started_utc,
        plan=plan,
        machine=merged_machine(parts, _machine_of_cases(parts, plan)),
        environment=merged_environment(parts),
        versions=parts[0].versions,
        git=parts[0].git,
        command=("benchctl", "merge", *(part.run_id for part in parts)),
        cases=cases,
        complete=True,
    )


def without_shard(plan: Plan) -> Plan:
    """The plan that a shard is part of, as far as shards have it in common: without cases."""
    settings = {name: value for name, value in plan.settings.items() if name != SHARD}
    return replace(plan, cases=() if SHARD in plan.settings else plan.cases, settings=settings)


def _start_and_id(run: Run) -> tuple[str, str]:
    return run.started_utc, run.run_id


# Cases ---------------------------------------------------------------------------------------


def _whole_plan(parts: Sequence[Run]) -> Plan:
    """The plan with the cases of all shards in its own order."""
    if SHARD not in parts[0].plan.settings:
        return parts[0].plan
    first = _shard_of(parts[0])
    by_id: dict[str, CaseSpec] = {}
    for part in parts:
        shard = _shard_of(part)
        if (shard["count"], shard["cases"]) != (first["count"], first["cases"]):
            raise MergeError(
                f"{part.run_id} and {parts[0].run_id} are shards of different plans: "
                f"{shard['index']}/{shard['count']} of {len(shard['cases'])} cases and "
                f"{first['index']}/{first['count']} of {len(first['cases'])} cases"
            )
        for case in part.plan.cases:
            if by_id.setdefault(case.id, case) != case:
                raise MergeError(f"{part.run_id} has another case {case.id}: plans differ")
    missing = [case_id for case_id in first["cases"] if case_id not in by_id]
    if missing:
        there = {_shard_of(part)["index"] for part in parts}
        absent = [number for number in range(1, first["count"] + 1) if number not in there]
        which = ", ".join(f"{number}/{first['count']}" for number in absent)
        raise MergeError(
            f"{len(missing)} of {len(first['cases'])} cases are missing: {_listed(missing)}",
            f"give the runs of the other shards too: {which}" if which else "",
        )
    whole_plan = without_shard(parts[0].plan)
    return replace(whole_plan, cases=tuple(by_id[case_id] for case_id in first["cases"]))


def _shard_of(part: Run) -> dict[str, Any]:
    shard = part.plan.settings[SHARD]
    return {"index": shard["index"], "count": shard["count"], "cases": tuple(shard["cases"])}


def _results(parts: Sequence[Run], case_id: str) -> list[tuple[Run, CaseResult]]:
    """What each part has of one case."""
    return [(part, case) for part in parts for case in part.cases if case.case.id == case_id]


def _measured(case: CaseResult) -> bool:
    return any(arm.rounds or arm.status != "planned" for arm in case.arms)


def _merged_case(case: CaseSpec, parts: Sequence[Run]) -> CaseResult:
    by_arm: dict[str, list[ArmResult]] = {}
    for _, result in _results(parts, case.id):
        for arm in result.arms:
            by_arm.setdefault(arm.arm.id, []).append(arm)
    return CaseResult(case, tuple(merged_arm(results) for results in by_arm.values()))


# What is refused -----------------------------------------------------------------------------


def _refuse_mixture(parts: Sequence[Run]) -> None:
    """Shards go with shards, whole runs with whole runs."""
    shards = [part.run_id for part in parts if SHARD in part.plan.settings]
    others = [part.run_id for part in parts if SHARD not in part.plan.settings]
    if shards and others:
        raise MergeError(
            f"plans differ: {shards[0]} is a shard, {others[0]} a whole run",
            "merge the shards of one plan with each other",
        )


def _require_distinct_rounds(parts: Sequence[Run], plan: Plan) -> None:
    twice: list[str] = []
    for case in plan.cases:
        first_with: dict[tuple[str, int], str] = {}
        for part, result in _results(parts, case.id):
            for arm in result.arms:
                for taken in arm.rounds:
                    place = (arm.arm.id, taken.round)
                    if place in first_with:
                        twice.append(
                            f"round {taken.round} of {case.id} on {arm.arm.id} "
                            f"(in {first_with[place]} and {part.run_id})"
                        )
                    first_with.setdefault(place, part.run_id)
    if twice:
        raise MergeError(
            f"{len(twice)} round{'' if len(twice) == 1 else 's'} are there twice: {_listed(twice)}",
            "give each part once; two whole runs of one plan are compared, not merged",
        )


def _machine_of_cases(parts: Sequence[Run], plan: Plan) -> dict[str, str]:
    """The machine that measured each case, by case id; cases that nobody measured are left out."""
    return {
        case.id: machine_id(part)
        for case in plan.cases
        for part, result in _results(parts, case.id)
        if _measured(result)
    }


def _require_one_machine(parts: Sequence[Run], plan: Plan, across_machines: bool) -> None:
    """One machine for all parts, or one a case where several are allowed."""
    if not across_machines:
        first = parts[0]
        for part in parts[1:]:
            if machine_id(part) != machine_id(first):
                raise MergeError(
                    f"{part.run_id} is from machine {_machine_words(part)}, {first.run_id} from "
                    f"{_machine_words(first)}: times of two machines do not mix",
                    "--across-machines takes whole cases from each and records which",
                )
        return
    for case in plan.cases:
        machines = {
            machine_id(part): part.run_id
            for part, result in _results(parts, case.id)
            if _measured(result)
        }
        if len(machines) > 1:
            where = " and ".join(f"{name} ({run_id})" for name, run_id in machines.items())
            raise MergeError(
                f"case {case.id} was measured on several machines: {where}",
                "--across-machines takes whole cases only: leave out one of the runs",
            )


def _machine_words(part: Run) -> str:
    return " ".join(filter(None, (machine_id(part) or "unknown", str(part.machine.get("cpu", "")))))


def _require_complete(case: CaseResult, plan: Plan, parts: Sequence[Run]) -> None:
    """Every planned round is there, or a part that was finished says that this is all."""
    if any(part.complete for part, _ in _results(parts, case.case.id)):
        return
    alive = [arm for arm in case.arms if arm.status in ("ok", "planned")]
    planned = rounds_of_case(plan, case.case.id)
    done = {taken.round for arm in alive for taken in arm.rounds}
    if not alive or len(done) >= planned:
        return
    open_parts = [part.run_id for part, _ in _results(parts, case.case.id)]
    raise MergeError(
        f"{case.case.id} has {len(done)} of {planned} rounds, and no part of it was finished",
        f"benchctl run --resume {open_parts[-1]} measures the rest",
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
