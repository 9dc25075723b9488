"""The workload xyz: both formulas, the slide's mixture, the lecture's own numbers."""

import numpy as np
import pytest
from directional import assert_gradient
from hypothesis import given
from hypothesis import strategies as st
from numpy_vocabulary import run_program

from benchctl_engines.contract import as_float64
from benchctl_workloads import AxisError, make_case
from benchctl_workloads.reference import reference_outputs
from benchctl_workloads.xyz import Xyz

XYZ = Xyz()
SLIDE_FIRST_ROW = (1.76405235, 0.40015721, 0.97873798, 2.2408932)


def axis(name):
    return next(each for each in XYZ.axes if each.name == name)


def passes(case, output, received, expected):
    tolerance = XYZ.tolerance(case, output)
    worst = np.max(np.abs(np.asarray(received, np.float64) - expected))
    return worst <= tolerance.relative * np.max(np.abs(expected)) + tolerance.absolute


def results(**axes):
    case = make_case(XYZ, axes)
    inputs = XYZ.inputs(case, np.random.default_rng(5))
    return case, inputs, XYZ.by_hand(case)({}, inputs)


@pytest.mark.parametrize("expression", ["product", "multiply_add"])
def test_gradients_by_hand_against_central_differences(expression):
    case, inputs, outputs = results(expression=expression, size="5x3", dtype="float64")

    for name in XYZ.differentiate(case):

        def objective(value, name=name):
            return float(run_program(XYZ, case, {}, {**inputs, name: value}).objective)

        assert_gradient(
            objective, inputs[name], outputs[f"grad_{name}"], rng=np.random.default_rng(1)
        )


@pytest.mark.parametrize("expression", ["product", "multiply_add"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", ["1x1", "3x4", "100x100", "1000x1000"])
def test_by_hand_is_within_tolerance_of_the_reference(expression, dtype, size):
    case, inputs, outputs = results(expression=expression, size=size, dtype=dtype)
    expected = reference_outputs(XYZ, case, {}, inputs)
    assert set(outputs) == set(expected) == {"c", "grad_x", "grad_y", "grad_z"}
    for output, value in outputs.items():
        assert np.asarray(value).dtype == dtype
        assert passes(case, output, value, expected[output])


def test_the_program_computes_the_reference_value():
    for expression in ("product", "multiply_add", "as_on_the_slide"):
        case, inputs, _ = results(expression=expression, dtype="float64")
        value = run_program(XYZ, case, {}, inputs).values["c"]
        assert value == pytest.approx(float(reference_outputs(XYZ, case, {}, inputs)["c"]))


def test_the_slide_is_rejected_and_its_mistake_named():
    case, inputs, outputs = results(expression="as_on_the_slide")
    expected = reference_outputs(XYZ, case, {}, inputs)
    suspects = XYZ.suspects(case, as_float64(inputs))
    assert passes(case, "c", outputs["c"], expected["c"])
    for output, really in {
        "grad_x": "grad_y of x*y + z",
        "grad_y": "grad_x of x*y + z",
        "grad_z": "grad_z of x*y + z",
    }.items():
        assert not passes(case, output, outputs[output], expected[output])
        matching = [
            name
            for name, value in suspects.items()
            if value.shape == outputs[output].shape and np.allclose(value, outputs[output])
        ]
        assert matching == [really]


@pytest.mark.parametrize("output", ["c", "grad_x", "grad_y", "grad_z"])
def test_a_result_wrong_by_a_thousandth_is_rejected(output):
    case, inputs, outputs = results(size="100x100")
    expected = reference_outputs(XYZ, case, {}, inputs)
    assert passes(case, output, outputs[output], expected[output])
    assert not passes(case, output, outputs[output] * 1.001, expected[output])


def test_multiply_add_with_legacy_seed_0_gives_the_numbers_of_the_lecture():
    _, _, exact = results(expression="multiply_add", legacy_seed="0", dtype="float64")
    assert tuple(np.round(exact["grad_y"][0], 8)) == SLIDE_FIRST_ROW  # 8 digits are printed
    _, _, outputs = results(expression="multiply_add", legacy_seed="0")
    np.testing.assert_allclose(outputs["grad_y"][0], SLIDE_FIRST_ROW, rtol=1e-7)
    assert np.array_equal(outputs["grad_z"], np.ones((3, 4)))


def test_the_legacy_seed_draws_x_then_y_then_z():
    case, inputs, _ = results(legacy_seed="7", dtype="float64", size="2x3")
    drawn = np.random.RandomState(7).randn(3, 2, 3)
    assert np.array_equal(np.stack([inputs[name] for name in "xyz"]), drawn)
    again = XYZ.inputs(case, np.random.default_rng(99))
    assert np.array_equal(again["x"], inputs["x"])


def test_inputs_follow_the_generator():
    case = make_case(XYZ, {})
    first, again, other = (XYZ.inputs(case, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first["z"], again["z"])
    assert not np.array_equal(first["z"], other["z"])


def test_inputs_are_not_changed_and_not_shared():
    for expression in ("product", "multiply_add", "as_on_the_slide"):
        _, inputs, outputs = results(expression=expression)
        for output in outputs.values():
            assert not any(np.shares_memory(output, array) for array in inputs.values())


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_every_size_of_positive_numbers_is_taken(rows, columns):
    assert axis("size").parse(f"{rows}x{columns}") == f"{rows}x{columns}"
    assert axis("size").parse(f" 0{rows}X{columns}") == f"{rows}x{columns}"


@pytest.mark.parametrize(
    "text", ["", "3", "3x", "x4", "0x4", "-3x4", "3x4x5", "3.5x4", "axb", "3×4"]
)
def test_other_sizes_are_refused_in_one_clear_line(text):
    with pytest.raises(AxisError, match="size expected ROWSxCOLUMNS such as 3x4, received"):
        axis("size").parse(text)


def test_every_size_of_the_sweep_parses_to_itself():
    assert [axis("size").parse(size) for size in axis("size").sweep] == list(axis("size").sweep)


def test_the_legacy_seed_is_none_or_a_whole_number():
    assert axis("legacy_seed").parse("None") == "none"
    assert axis("legacy_seed").parse("007") == "7"
    for text in ("-1", "1.5", "zero", str(2**32)):
        with pytest.raises(AxisError, match="legacy_seed expected none or a whole number"):
            axis("legacy_seed").parse(text)


def test_cost_counts_the_operations_of_a_3x4_product():
    # 12 elements: x*y, a*z, y*z, x*z; 11 additions. 36 numbers in, 36 gradients and c out.
    cost = XYZ.cost(make_case(XYZ, {}))
    assert (cost.flops, cost.bytes_moved, cost.parameters) == (4 * 12 + 11, 73 * 4, 0)
    cost = XYZ.cost(make_case(XYZ, {"expression": "multiply_add", "dtype": "float64"}))
    assert (cost.flops, cost.bytes_moved) == (2 * 12 + 11, 73 * 8)


def test_title():
    expected = "product, 3x4 float32, gradient of sum(x*y*z)"
    assert XYZ.title(make_case(XYZ, {})) == expected
