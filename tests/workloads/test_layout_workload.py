"""The workload layout: one convolution, either order of axes, either direction."""

import numpy as np
import pytest
from directional import assert_gradient
from numpy_vocabulary import run_program

from benchctl_engines.contract import as_float64
from benchctl_workloads import make_case
from benchctl_workloads.layout import LAYERS, Layout

LAYOUT = Layout()


def prepared(layer, layout, direction, batch=2):
    case = make_case(
        LAYOUT,
        {
            "layer": layer,
            "layout": layout,
            "direction": direction,
            "batch": batch,
            "image_size": 32,
        },
    )
    rng = np.random.default_rng(6)
    return case, LAYOUT.parameters(case, rng), LAYOUT.inputs(case, rng)


def to_nchw(name, array):
    return array.transpose(3, 2, 0, 1) if name.endswith("w") else array.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("layer", ["conv1_1", "conv4_2"])
def test_forward_by_hand_computes_the_program(layer, layout):
    case, parameters, inputs = prepared(layer, layout, "forward")
    expected = run_program(LAYOUT, case, as_float64(parameters), as_float64(inputs)).values["y"]
    y = LAYOUT.by_hand(case)(parameters, inputs)["y"]
    assert y.dtype == np.float32
    tolerance = LAYOUT.tolerance(case, "y")
    assert np.max(np.abs(y - expected)) <= tolerance.relative * np.max(np.abs(expected))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("layer", ["conv1_1", "conv5_1"])
def test_gradients_by_hand_against_central_differences(layer, layout):
    case, parameters, inputs = prepared(layer, layout, "backward", batch=1)
    arrays = as_float64({**parameters, **inputs})
    gradients = LAYOUT.by_hand(case)({"w": arrays["w"]}, arrays)
    assert set(gradients) == {f"grad_{name}" for name in LAYOUT.differentiate(case)}
    for name in LAYOUT.differentiate(case):

        def objective(value, name=name):
            here = {**arrays, name: value}
            outputs = run_program(LAYOUT, case, here, here)
            return float(np.vdot(outputs.objective, outputs.seed))

        assert_gradient(
            objective,
            arrays[name],
            gradients[f"grad_{name}"],
            rng=np.random.default_rng(3),
            directions=2,
            step=1e-4,  # linear in each operand: a large step loses the fewest digits
        )


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("layer", LAYERS)
def test_both_layouts_give_the_same_numbers_from_one_seed(layer, direction):
    results = {}
    for layout in ("NCHW", "NHWC"):
        case, parameters, inputs = prepared(layer, layout, direction)
        results[layout] = LAYOUT.by_hand(case)(parameters, inputs)
    for name, expected in results["NCHW"].items():
        received = to_nchw(name, results["NHWC"][name])
        tolerance = LAYOUT.tolerance(case, name).relative * np.max(np.abs(expected))
        assert np.max(np.abs(received - expected)) <= tolerance


def test_a_gradient_wrong_by_a_thousandth_is_out_of_tolerance():
    case, parameters, inputs = prepared("conv3_1", "NHWC", "backward")
    arrays = as_float64({**parameters, **inputs})
    exact = LAYOUT.by_hand(case)({"w": arrays["w"]}, arrays)
    received = LAYOUT.by_hand(case)(parameters, inputs)
    for name, expected in exact.items():
        allowed = LAYOUT.tolerance(case, name).relative * np.max(np.abs(expected))
        assert np.max(np.abs(received[name] - expected)) <= allowed
        assert np.max(np.abs(received[name] * 1.001 - expected)) > allowed


def test_title_tells_the_shape():
    case, _, _ = prepared("conv2_1", "NHWC", "forward")
    assert LAYOUT.title(case) == "conv2_1 forward, 64 to 128 channels, 16x16, batch 2, NHWC"
