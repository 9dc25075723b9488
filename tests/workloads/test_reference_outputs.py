"""The float64 reference: the workload's own, or its program on the reference kernels."""

import numpy as np
import pytest

from benchctl_engines.contract import as_float64
from benchctl_workloads import Outputs, Workload, make_case
from benchctl_workloads.heads import Heads
from benchctl_workloads.input_pipeline.workload import InputPipeline
from benchctl_workloads.layout import Layout
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.vgg16 import Vgg16

SMALL_VGG16 = {"width": 2, "image_size": 32, "batch": 2}


class OwnReference(Workload):
    """Says what it was given."""

    name = "own_reference"

    def program(self, ops, parameters, inputs, case):
        return Outputs(values={"y": ops.multiply(inputs["x"], parameters["w"])})

    def reference(self, case, parameters, inputs):
        return {"y": inputs["x"] * parameters["w"]}


def test_the_own_reference_is_asked_in_float64_and_integers_stay():
    inputs = {"x": np.array([3, 4])}
    parameters = {"w": np.float32([0.1, 0.2])}
    result = reference_outputs(OwnReference(), {}, parameters, inputs)
    assert result["y"].dtype == np.float64
    assert np.array_equal(result["y"], inputs["x"] * np.float64(parameters["w"]))


@pytest.mark.parametrize(
    ("workload", "axes"),
    [
        (Vgg16(), {**SMALL_VGG16, "layout": "NCHW", "head": "fc"}),
        (Vgg16(), {**SMALL_VGG16, "layout": "NHWC", "head": "conv"}),
        (Vgg16(), {**SMALL_VGG16, "layout": "NHWC", "head": "fc", "mode": "training"}),
        (Vgg16(), {**SMALL_VGG16, "layout": "NCHW", "head": "conv", "mode": "training"}),
        (Heads(), {"width": 16, "channels": 4, "side": 3, "mode": "training"}),
        (InputPipeline(), {"batch": 3, "width": 8, "side": 28}),
        (Layout(), {"layer": "conv4_1", "image_size": 32}),
        (Layout(), {"layer": "conv4_1", "image_size": 32, "direction": "backward"}),
    ],
)
def test_the_program_on_reference_kernels_equals_the_step_by_hand(workload, axes):
    case = make_case(workload, axes)
    rng = np.random.default_rng(4)
    parameters, inputs = workload.parameters(case, rng), workload.inputs(case, rng)
    untouched = {name: array.copy() for name, array in parameters.items()}
    expected = reference_outputs(workload, case, parameters, inputs)

    by_hand = as_float64(parameters)
    received = dict(workload.by_hand(case)(by_hand, as_float64(inputs)))
    if workload.step(case) == "training":
        received |= {f"parameter/{name}": array for name, array in by_hand.items()}
    assert set(expected) == set(received)
    for name, value in expected.items():
        assert value.dtype == np.float64
        np.testing.assert_allclose(received[name], value, rtol=1e-9, atol=1e-11)
    assert all(np.array_equal(parameters[name], untouched[name]) for name in parameters)
