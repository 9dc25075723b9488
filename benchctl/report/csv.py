"""A run as CSV: one row a case and arm, plain numbers in seconds and bytes."""

from __future__ import annotations

import csv
import io

from benchctl.compare.case_tables import CaseTables, tables_of_run
from benchctl.compare.summary import ArmSummary, CaseSummary, RunSummary
from benchctl.report.results import peak_bytes

PHASES = ("import", "build", "compile", "first_run")
COMPARED = ("reference", "ratio", "ratio_low", "ratio_high", "verdict")
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
    *COMPARED,
    *(f"{phase}_{cache}_seconds" for cache in ("cold", "warm") for phase in PHASES),
    "peak_bytes",
    "worst_relative_error",
    *(f"implementation_{name}" for name in COMPARED),
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
    for tables in tables_of_run(summary):
        for arm in tables.everything.arms:
            parameters = tables.everything.case.parameters
            given: list[Cell] = [parameters.get(axis) for axis in axes]
            writer.writerow([*_cells(summary, tables, arm), *given])
    return text.getvalue().splitlines()


def _cells(summary: RunSummary, tables: CaseTables, arm: ArmSummary) -> list[Cell]:
    run, case, result = summary.run, tables.everything, arm.result
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
        *_compared_cells(tables.own(result.arm.id), result.arm.id),
        *_phase_cells(arm),
        peak_bytes(result.memory),
        checked.worst_relative_error if checked else None,
        *_compared_cells(tables.implementation, result.arm.id),
    ]


def _compared_cells(table: CaseSummary | None, arm_id: str) -> list[Cell]:
    """How an arm compares in one of the tables, a cell for each of `COMPARED`."""
    arm = None if table is None else table.arm(arm_id)
    if table is None or arm is None:
        return [None] * len(COMPARED)
    if arm.relative is None:
        return [table.reference_id, None, None, None, None]
    found = arm.relative
    return [table.reference_id, found.ratio, found.low, found.high, found.verdict.value]


def _phase_cells(arm: ArmSummary) -> list[Cell]:
    cells: list[Cell] = []
    for cache in ("cold", "warm"):
        phases = arm.result.phases_with(cache)
        cells += [getattr(phases, f"{phase}_seconds") if phases else None for phase in PHASES]
    return cells
