"""The raw samples of a run as CSV: one row a sample, plain numbers in seconds."""

from __future__ import annotations

import csv
import io

from benchctl.store.exchange.names import measured_arms
from benchctl.store.record import ArmResult, ArmRound, CaseSpec, Run

COLUMNS = (
    "run_id",
    "started_utc",
    "machine",
    "workload",
    "case",
    "step",
    "engine",
    "arm",
    "device",
    "round",
    "position",
    "process",
    "steady",
    "sample",
    "loops",
    "seconds",
)

Cell = str | int | float


def samples_csv(run: Run) -> str:
    """Every sample in the order of cases, arms and rounds; the first line names the columns.

    `seconds` is the time of one step, averaged over `loops` steps, with all its digits. The axes
    of all workloads stand behind the fixed columns, each as `axis:<name>`, empty where a case has
    no such axis.
    """
    axes = list(dict.fromkeys(name for case in run.cases for name in case.case.parameters))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"axis:{axis}" for axis in axes)])
    for case, arm in measured_arms(run):
        parameters = [case.parameters.get(axis, "") for axis in axes]
        for taken in arm.rounds:
            for sample in range(len(taken.seconds)):
                writer.writerow([*_cells(run, case, arm, taken, sample), *parameters])
    return text.getvalue()


def _cells(run: Run, case: CaseSpec, arm: ArmResult, taken: ArmRound, sample: int) -> list[Cell]:
    return [
        run.run_id,
        run.started_utc,
        str(run.machine.get("id", "")),
        case.workload,
        case.id,
        case.step,
        arm.arm.engine,
        arm.arm.id,
        arm.arm.device,
        taken.round,
        taken.position,
        taken.process,
        int(taken.steady),
        sample,
        taken.loops,
        taken.seconds[sample],
    ]
