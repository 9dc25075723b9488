"""A run as CSV: one row a case and arm, plain numbers in seconds and bytes."""

from __future__ import annotations

import csv
import io

from benchctl.compare.summary import ArmSummary, CaseSummary, RunSummary
from benchctl.report.results import peak_bytes

PHASES = ("import", "build", "compile", "first_run")
COLUMNS = (
    "run_id",
    "started_utc",
    "machine",
    "workload",
    "case",
    "engine",
    "arm",
    "device",
    "status",
    "rounds",
    "median_seconds",
    "low_seconds",
    "high_seconds",
    "reference",
    "ratio",
    "ratio_low",
    "ratio_high",
    "verdict",
    *(f"{phase}_{cache}_seconds" for cache in ("cold", "warm") for phase in PHASES),
    "peak_bytes",
    "worst_relative_error",
)

Cell = str | int | float | None


def run_csv(summary: RunSummary) -> list[str]:
    """The lines of the CSV, the first one naming the columns; unknown values are empty.

    The axes of all workloads stand behind the fixed columns, each as `axis:<name>`.
    """
    axes = list(dict.fromkeys(name for case in summary.cases for name in case.case.parameters))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"axis:{axis}" for axis in axes)])
    for case in summary.cases:
        for arm in case.arms:
            given: list[Cell] = [case.case.parameters.get(axis) for axis in axes]
            writer.writerow([*_cells(summary, case, arm), *given])
    return text.getvalue().splitlines()


def _cells(summary: RunSummary, case: CaseSummary, arm: ArmSummary) -> list[Cell]:
    run, result, relative = summary.run, arm.result, arm.relative
    low, high = arm.interval_seconds or (None, None)
    checked = result.verification
    return [
        run.run_id,
        run.started_utc,
        str(run.machine.get("id", "")),
        case.case.workload,
        case.case.id,
        result.arm.engine,
        result.arm.id,
        result.arm.device,
        result.status,
        arm.rounds,
        arm.median_seconds,
        low,
        high,
        case.reference_id,
        relative.ratio if relative else None,
        relative.low if relative else None,
        relative.high if relative else None,
        relative.verdict.value if relative else None,
        *_phase_cells(arm),
        peak_bytes(result.memory),
        checked.worst_relative_error if checked else None,
    ]


def _phase_cells(arm: ArmSummary) -> list[Cell]:
    cells: list[Cell] = []
    for cache in ("cold", "warm"):
        phases = arm.result.phases_with(cache)
        cells += [getattr(phases, f"{phase}_seconds") if phases else None for phase in PHASES]
    return cells
