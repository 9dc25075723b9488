"""Winograd kernels follow the direct convolution over many steps of training."""

from __future__ import annotations

import numpy as np
import pytest

from benchctl_engines.contract import EngineOptions
from benchctl_engines.kernels import table
from benchctl_engines.static.engine import make_engine
from benchctl_workloads.vgg16 import Vgg16

STEPS = 20
AXES = {"image_size": 32, "width": 32, "mode": "training", "batch": 4, "layout": "NHWC"}


def losses() -> tuple[list[float], tuple[str, ...]]:
    """The loss of each step from one start on one batch, and the kernels that ran."""
    workload = Vgg16()
    case = {axis.name: axis.default for axis in workload.axes} | AXES
    rng = np.random.default_rng(3)
    parameters, inputs = workload.parameters(case, rng), workload.inputs(case, rng)
    runner = make_engine().prepare(workload, case, parameters, inputs, EngineOptions(threads=2))
    runner.build()
    runner.compile()
    found = []
    for _ in range(STEPS):
        runner.step()
        found.append(float(runner.outputs()["loss"]))
    return found, runner.facts().kernels


@pytest.mark.slow
def test_twenty_steps_follow_the_direct_convolution(monkeypatch):
    made, kernels = losses()
    assert sum(name.endswith(":winograd") for name in kernels) >= 9
    direct_only = {
        key: [row for row in rows if row.name != "winograd"] for key, rows in table._TABLE.items()
    }
    monkeypatch.setattr(table, "_TABLE", direct_only)
    expected, kernels = losses()
    assert not any(name.endswith(":winograd") for name in kernels)
    assert expected[-1] < 0.97 * expected[0]
    assert np.abs(np.array(made) - expected).max() <= 1e-3 * expected[0]
