"""cuDNN has a plan for every convolution of every workload on an H100, found without one."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import layers
import pytest

HERE = Path(__file__).parent
COMMITTED = HERE.parents[2] / "results" / "reference" / "gpu-plans" / "plans.jsonl"
KEYS = ("layer", "batch", "layout", "precision", "kind")
# The images of a layer at batch 16 take more; sums that a plan splits take less.
NO_COPY_BYTES = 1 << 22

pytestmark = [pytest.mark.cudnn_plans, pytest.mark.timeout(1800)]


def load(lines: list[str]) -> tuple[dict[str, Any], dict[tuple[Any, ...], dict[str, Any]]]:
    header, *rows = map(json.loads, lines)
    return header, {tuple(row[key] for key in KEYS): row for row in rows}


@pytest.fixture(scope="module")
def table() -> tuple[dict[str, Any], dict[tuple[Any, ...], dict[str, Any]]]:
    """The table made now, by a process of its own: it loads a driver library that is none."""
    pytest.importorskip("cudnn", reason="no cuDNN: pip install --group cudnn-plans")
    script = [sys.executable, str(HERE / "plan_table.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load(done.stdout.splitlines())


def test_every_convolution_has_a_plan(table):
    _, rows = table
    assert len(rows) == len(list(layers.cases()))
    without = [key for key, row in rows.items() if not row["plans"]]
    assert not without


def test_strict_float32_has_fewer_plans(table):
    _, rows = table
    for key, row in rows.items():
        layer, batch, layout, precision, kind = key
        if precision == "fp32":
            assert row["plans"] < rows[layer, batch, layout, "tf32", kind]["plans"], key


def test_tensor_cores_work_on_channels_last(table):
    """A NHWC convolution of many channels copies nothing, a NCHW one its images."""
    _, rows = table
    for layer, (precision, itemsize) in product(layers.layers(), (("tf32", 4), ("fp16", 2))):
        if layer.window != 3 or layer.C < 64:
            continue
        for kind in layers.KINDS:
            last = rows[layer.name, 16, "NHWC", precision, kind]
            first = rows[layer.name, 16, "NCHW", precision, kind]
            image_bytes = itemsize * 16 * layer.side**2 * min(layer.C, layer.K)
            assert last["workspace_bytes"] < NO_COPY_BYTES, last
            assert first["workspace_bytes"] >= image_bytes, first


def test_the_committed_table_is_what_this_cudnn_says(table):
    header, rows = table
    committed_header, committed = load(COMMITTED.read_text().splitlines())
    assert "no device was involved" in committed_header["how"]
    assert set(committed) == set(rows)
    if committed_header["cudnn"] != header["cudnn"]:
        pytest.skip(f"made with cuDNN {committed_header['cudnn']}, this is {header['cudnn']}")
    assert committed == rows
