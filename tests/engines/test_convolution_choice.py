"""The switch `convolution`: other kernels, the same numbers, on both engines."""

from __future__ import annotations

import numpy as np
import pytest

from benchctl.plan.registry import load_engine
from benchctl_engines.contract import EngineOptions
from benchctl_engines.kernels.convolution_choice import CONVOLUTION, left_out
from benchctl_engines.kernels.table import kernels_of
from benchctl_workloads import make_case
from benchctl_workloads.layout import Layout
from benchctl_workloads.reference import reference_outputs

LAYOUT = Layout()
CHOSEN = {"best": "winograd", "direct": "direct", "im2col": "im2col"}


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("engine", ["static", "eager"])
def test_what_is_left_out_is_not_chosen_and_the_results_stay(engine, layout, direction):
    given = {"layer": "conv3_1", "image_size": 64, "layout": layout, "direction": direction}
    case = make_case(LAYOUT, given)
    rng = np.random.default_rng(4)
    parameters, inputs = LAYOUT.parameters(case, rng), LAYOUT.inputs(case, rng)
    expected = reference_outputs(LAYOUT, case, parameters, inputs)
    for choice, kernel in CHOSEN.items():
        options = EngineOptions(threads=2, switches={"convolution": choice})
        copies = {name: array.copy() for name, array in parameters.items()}
        runner = load_engine(engine).prepare(LAYOUT, case, copies, inputs, options)
        runner.build()
        runner.compile()
        runner.step()
        used = [name for name in runner.facts().kernels if name.startswith("conv2d")]
        assert used and any(kernel in name for name in used), used
        for name in left_out({"convolution": choice}):
            assert not any(each.endswith(f":{name}") for each in used), used
        for name, array in runner.outputs().items():
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(array, expected[name], rtol=0, atol=5e-5 * scale)
        runner.close()


def test_the_rows_left_out_exist():
    names = {
        row.name
        for primitive in ("conv2d", "conv2d_input_gradient", "conv2d_filter_gradient")
        for row in kernels_of(primitive, "cpu")
    }
    for choice in CONVOLUTION.values:
        assert set(left_out({"convolution": choice})) <= names
    assert left_out({}) == ()
