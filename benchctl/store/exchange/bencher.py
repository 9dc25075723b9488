"""The Bencher Metric Format (BMF): benchmark -> measure -> value with a lower and an upper bound.

Source of the format: https://bencher.dev/docs/reference/bencher-metric-format; its built-in
measure `latency` is in nanoseconds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchctl.store.exchange.errors import ExportError
from benchctl.store.exchange.names import unique_names
from benchctl.store.schema import NANOSECONDS

if TYPE_CHECKING:
    from benchctl.compare.summary import ArmSummary, RunSummary

MEASURE = "latency"
LONGEST_NAME = 1024


def bencher_json(summary: RunSummary) -> str:
    """The median of every measured arm with the ends of its interval, where there is one.

    Raises `ExportError` where a name is longer than Bencher takes.
    """
    names = unique_names(summary.run)
    document = {}
    for case in summary.cases:
        for arm in case.arms:
            if arm.median_seconds is not None:
                name = names[case.case.id, arm.result.arm.id]
                if len(name) > LONGEST_NAME:
                    raise ExportError(
                        f"Bencher expected names of at most {LONGEST_NAME} characters, received "
                        f"{len(name)}: {name[:60]}...",
                        "shorten the values of the case's axes, or use --format github",
                    )
                document[name] = {MEASURE: _metric(arm)}
    return json.dumps(document, indent=1, allow_nan=False, sort_keys=True) + "\n"


def _metric(arm: ArmSummary) -> dict[str, float]:
    metric = {"value": (arm.median_seconds or 0.0) * NANOSECONDS}
    if arm.interval_seconds is not None:
        low, high = arm.interval_seconds
        metric |= {"lower_value": low * NANOSECONDS, "upper_value": high * NANOSECONDS}
    return metric
