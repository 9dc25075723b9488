"""The JSON of github-action-benchmark, tool customSmallerIsBetter: one number a case and arm.

Source of the format: the README of benchmark-action/github-action-benchmark, "Bring your own
benchmark data", and `BenchmarkResult` in its src/extract.ts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchctl.store.exchange.names import unique_names
from benchctl.store.schema import NANOSECONDS

if TYPE_CHECKING:
    from benchctl.compare.summary import ArmSummary, RunSummary

UNIT = "ns"
"""One unit for all: the action draws a name's values of all revisions on one axis."""


def github_json(summary: RunSummary) -> str:
    """The median of every measured arm in nanoseconds; `range` is its interval, where there is one.

    `extra` has the lines of the tooltip: rounds, processor, run id.
    """
    names = unique_names(summary.run)
    entries = [
        _entry(names[case.case.id, arm.result.arm.id], arm, summary)
        for case in summary.cases
        for arm in sorted(case.arms, key=_name_of_arm)
        if arm.median_seconds is not None
    ]
    return json.dumps(entries, indent=1, allow_nan=False) + "\n"


def _entry(name: str, arm: ArmSummary, summary: RunSummary) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": name,
        "unit": UNIT,
        "value": (arm.median_seconds or 0.0) * NANOSECONDS,
    }
    if arm.interval_seconds is not None:
        low, high = (each * NANOSECONDS for each in arm.interval_seconds)
        entry["range"] = f"{low:.6g} - {high:.6g}"
    lines = [f"{arm.rounds} rounds", str(summary.run.machine.get("cpu", "")), summary.run.run_id]
    return {**entry, "extra": "\n".join(line for line in lines if line)}


def _name_of_arm(arm: ArmSummary) -> str:
    """Not by speed, so that two exports differ in their numbers only."""
    return arm.result.arm.id
