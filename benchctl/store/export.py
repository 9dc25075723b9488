"""A run as one JSON document, for programs: raw samples and what was computed from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchctl.store.record import SCHEMA, ArmResult, CaseSpec, Phases, Run, Verification

if TYPE_CHECKING:
    from benchctl.compare.case_tables import CaseTables
    from benchctl.compare.findings import Notice
    from benchctl.compare.summary import ArmSummary, CaseSummary, RunSummary

DOCUMENT_SCHEMA = "benchctl.document/1"


def run_document(run: Run, summary: RunSummary) -> dict[str, Any]:
    """The document of a run: `cases` has one entry for every case and arm.

    Times are seconds and sizes bytes; what is unknown is null. Every entry repeats the winner of
    its arm's table, so that a filter over entries loses nothing.
    """
    from benchctl.compare.case_tables import tables_of_run

    return {
        "schema": DOCUMENT_SCHEMA,
        "record_schema": SCHEMA,
        "run_id": run.run_id,
        "started_utc": run.started_utc,
        "complete": run.complete,
        "path": None if run.path is None else str(run.path),
        "command": list(run.command),
        "plan": {
            "suite": run.plan.suite,
            "rounds": run.plan.rounds,
            "seed": run.plan.seed,
            "threads": run.plan.threads,
            "reference_arm": run.plan.reference_arm,
            "budget_seconds": run.plan.budget_seconds,
        },
        "machine": dict(run.machine),
        "environment": dict(run.environment),
        "versions": dict(run.versions),
        "git": dict(run.git),
        "warnings": [_notice(notice) for notice in summary.warnings],
        "cases": [
            _entry(tables, arm)
            for tables in tables_of_run(summary)
            for arm in tables.everything.arms
        ],
    }


def verification_entry(case: CaseSpec, result: ArmResult) -> dict[str, Any]:
    """One case and arm of a document about checks without timing."""
    return {
        "case": case.id,
        "workload": case.workload,
        "parameters": dict(case.parameters),
        "engine": result.arm.engine,
        "arm": result.arm.id,
        "device": result.arm.device,
        "precision": result.arm.precision,
        "status": result.status,
        "message": result.message,
        "hint": result.hint,
        "verification": _verification(result.verification),
    }


def dump_json(document: Mapping[str, Any], indent: int | None = 1) -> str:
    """Strict JSON: numbers that JSON cannot hold (infinity, not a number) become null."""
    return json.dumps(_plain(document), indent=indent, allow_nan=False, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)


def _entry(tables: CaseTables, arm: ArmSummary) -> dict[str, Any]:
    case, result = tables.everything, arm.result
    entry: dict[str, Any] = {
        "case": case.case.id,
        "workload": case.case.workload,
        "title": case.case.title,
        "step": case.case.step,
        "parameters": dict(case.case.parameters),
        "engine": result.arm.engine,
        "arm": result.arm.id,
        "switches": dict(result.arm.switches),
        "device": result.arm.device,
        "precision": result.arm.precision,
        "status": result.status,
        "message": result.message,
        "hint": result.hint,
        "verification": _verification(result.verification),
        "phases_seconds": _phases(result.phases_with("cold")),
        "phases_warm_seconds": _phases(result.phases_with("warm")),
        "rounds": arm.rounds,
        "samples_seconds": _samples(result),
        "median_seconds": arm.median_seconds,
        "interval_seconds": list(arm.interval_seconds) if arm.interval_seconds else None,
        **_compared(tables.own(result.arm.id), result.arm.id),
        "implementation": None
        if tables.implementation is None
        else _compared(tables.implementation, result.arm.id),
        "device_seconds": _device(result),
        "energy": _energy(result),
        "peak_bytes": result.memory.resident_above_import,
        "engine_peak_bytes": result.memory.engine_peak,
        "on_device_bytes": result.memory.on_device,
        "kernels": list(result.kernels),
        "counts": dict(result.counts),
        "notes": list(result.notes),
        "versions": dict(result.versions),
        "flops": case.case.flops,
        "bytes_moved": case.case.bytes_moved,
        "parameter_count": case.case.parameter_count,
    }
    entry["warnings"] = [
        _notice(notice) for notice in tables.warnings if notice.arm_id in ("", result.arm.id)
    ]
    return entry


def _verification(verification: Verification | None) -> dict[str, Any] | None:
    """All checks, and the worst of them: the one that used most of its tolerance."""
    if verification is None:
        return None
    worst = max(
        verification.checks,
        key=lambda check: _used(check.max_error, check.allowed),
        default=None,
    )
    return {
        "ok": verification.ok,
        "reference": verification.reference,
        "output": None if worst is None else worst.output,
        "max_error": None if worst is None else worst.max_error,
        "tolerance": None if worst is None else worst.allowed,
        "checks": [asdict(check) for check in verification.checks],
    }


def _used(error: float, allowed: float) -> float:
    """How much of the tolerance an error used; what cannot be compared is the worst."""
    if not math.isfinite(error):
        return math.inf
    if allowed <= 0:
        return 0.0 if error == 0 else math.inf
    return error / allowed


def _phases(phases: Phases | None) -> dict[str, float | None]:
    names = ("import", "build", "compile", "first_run")
    return {name: None if phases is None else getattr(phases, f"{name}_seconds") for name in names}


def _samples(result: ArmResult) -> list[dict[str, Any]]:
    return [
        {
            "round": each.round,
            "seconds": list(each.seconds),
            "loops": each.loops,
            "steady": each.steady,
            "position": each.position,
            "process": each.process,
            **({} if each.device is None else {"device": asdict(each.device)}),
        }
        for each in result.rounds
    ]


def _device(result: ArmResult) -> dict[str, Any] | None:
    """Medians on the device's own clock, and what they say; None of an arm without one."""
    from benchctl.compare.device_times import summarise_device

    found = summarise_device(result)
    return None if found is None else {**asdict(found), "launch_bound": found.launch_bound}


def _energy(result: ArmResult) -> dict[str, Any] | None:
    """Joules a step with their spread; None where they were not asked for."""
    from benchctl.compare.energy import summarise_energy

    if result.energy is None:
        return None
    found = summarise_energy(result)
    return {**({} if found is None else asdict(found)), "problem": result.energy.problem}


def _compared(table: CaseSummary, arm_id: str) -> dict[str, Any]:
    """How an arm compares in one table, and who won there."""
    return {
        "relative": _relative(table, table.arm(arm_id)),
        "winner": None if table.winner is None else asdict(table.winner),
        "payback": None if table.payback is None else asdict(table.payback),
    }


def _relative(case: CaseSummary, arm: ArmSummary | None) -> dict[str, Any] | None:
    if arm is None or arm.relative is None:
        return None
    relative = asdict(arm.relative)
    relative["verdict"] = arm.relative.verdict.value
    return {"reference": case.reference_id, **relative}


def _notice(notice: Notice) -> dict[str, str]:
    return {
        "kind": notice.finding.name.lower(),
        "arm": notice.arm_id,
        "text": notice.text,
        "hint": notice.hint,
    }
