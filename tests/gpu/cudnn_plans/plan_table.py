"""Which plans cuDNN has for every convolution of every workload on an H100, found without one.

    python tests/gpu/cudnn_plans/plan_table.py > results/reference/gpu-plans/plans.jsonl

cuDNN plans for a description of a card (h100.json, written by hand from data sheets) and a driver
library that refuses every call. Plans that it compiles at run time cannot be built that way: they
are counted as offered, not as plans. Nothing is executed and nothing is timed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import driver_stub
import layers

from benchctl_engines.devices.cuda.cudnn_plans import PlanList, frontend
from benchctl_engines.gpu.driver import NoPlanError

DESCRIPTION = Path(__file__).with_name("h100.json")
ARCHITECTURE = 90
SCHEMA = "benchctl.gpu-plans/1"


def described_device(cudnn: Any) -> dict[str, Any]:
    """The target of a graph for a card that is only described."""
    device = cudnn.create_device_properties(DESCRIPTION.read_text())
    return {"device_property": device, "sm_version": ARCHITECTURE}


def row(cudnn: Any, target: dict[str, Any], case: tuple[Any, ...]) -> dict[str, Any]:
    """One line of the table."""
    layer, batch, layout, precision, kind = case
    made: dict[str, Any] = {
        "layer": layer.name,
        "C": layer.C,
        "K": layer.K,
        "side": layer.side,
        "window": layer.window,
        "batch": batch,
        "layout": layout,
        "precision": precision,
        "kind": kind,
    }
    try:
        plans = PlanList(cudnn, layers.request(*case), target)
    except NoPlanError as error:
        return {**made, "offered": 0, "plans": 0, "reason": str(error).splitlines()[0]}
    offers = plans.offers()
    made |= {"offered": plans.count, "plans": len(offers)}
    if offers:
        made |= {"first": offers[0].name, "workspace_bytes": offers[0].workspace_bytes}
    return made


def main() -> int:
    """Print a header and a line for every case."""
    with tempfile.TemporaryDirectory() as folder:
        exported = driver_stub.load(Path(folder))
    cudnn = frontend()
    target = described_device(cudnn)
    header = {
        "schema": SCHEMA,
        "cudnn": cudnn.backend_version_string(),
        "frontend": cudnn.__version__,
        "device": json.loads(DESCRIPTION.read_text())["deviceName"],
        "how": "planned for a description of the device; no device was involved, nothing was run",
        "driver_functions": exported,
    }
    print(json.dumps(header), flush=True)
    for case in layers.cases():
        print(json.dumps(row(cudnn, target, case)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
