"""Every workload on both engines on an emulated GPU, in every mode and layout that it has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from cuda_runs import assert_right, drawn, prepared, stepped

from benchctl.measure.batches import draw_batches
from benchctl.plan.registry import load_workload, workload_names

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels"),
    pytest.mark.slow,
]

SMALL = {
    "conditional": {"size": 5, "steps": 3},
    "debugging": {"rows": 16, "fault": "none"},
    "dynamic_shapes": {"lengths": 4, "width": 8},
    "gan": {"batch": 2, "width": 4, "data": "synthetic"},
    "heads": {"width": 24, "channels": 6, "side": 3, "batch": 3},
    "input_pipeline": {"side": 28, "batch": 4, "width": 16, "prepare": "numpy", "prefetch": 0},
    "intermediates": {"width": 8, "image_size": 32},
    "layer_api": {"batch": 2},
    "layout": {"layer": "conv4_1", "image_size": 32},
    "memory": {"rows": 64, "width": 8, "depth": 3},
    "vgg16": {"width": 8, "image_size": 32, "batch": 2},
    "xyz": {"size": "30x40"},
}
"""What is not gone through: sizes, and what no kernel sees."""


def cases() -> Iterator[tuple[str, dict[str, object]]]:
    """Every combination of the choices that a workload offers."""
    for name, small in SMALL.items():
        choices = {
            axis.name: axis.values
            for axis in load_workload(name).axes
            if axis.values and axis.name not in small
        }
        for values in product(*choices.values()):
            yield name, {**small, **dict(zip(choices, values, strict=True))}


def test_no_workload_is_left_out():
    assert set(workload_names()) == set(SMALL)


@pytest.mark.parametrize("engine", ["eager", "static"])
@pytest.mark.parametrize(("name", "given"), list(cases()), ids=str)
def test_it_is_right(engine, name, given, driver, tmp_path):
    workload = load_workload(name)
    case, parameters, _ = drawn(workload, given)
    batches = draw_batches(workload, case, np.random.default_rng(7))[:4]
    copies = {each: array.copy() for each, array in parameters.items()}
    runner = prepared(engine, workload, case, copies, batches[0])
    for place, inputs in enumerate(batches):
        runner.load(inputs)
        found = stepped(runner)
        assert_right(found, workload, case, parameters, inputs, tmp_path / str(place))
    runner.close()
