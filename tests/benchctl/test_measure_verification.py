"""Outputs against the reference: what is let pass, what is found, and what is said of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchctl.measure import verification
from benchctl.measure.fake import FakeWorkload
from benchctl.measure.verification import (
    MOST_RELATIVE_TOLERANCE,
    Reference,
    allowed_at,
    check_output,
    describe_check,
    join_problems,
    load_later_losses,
    load_reference,
    save_later_losses,
    save_reference,
    verify_later_losses,
    verify_outputs,
    worst_difference,
)
from benchctl_engines.primitives.half_storage import rounded
from benchctl_workloads import Tolerance

CASE = {"elements": 4, "mode": "gradient"}
X = np.zeros(4, np.float32)
FINITE = st.floats(-1e3, 1e3, width=32)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Arrays of a test span several chunks."""
    monkeypatch.setattr(verification, "_CHUNK_ELEMENTS", 5)


@given(
    pair=SHAPES.flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float32, shape, elements=FINITE),
            hnp.arrays(np.float64, shape, elements=FINITE),
        )
    )
)
def test_worst_difference_is_that_of_whole_arrays(pair):
    actual, expected = pair
    found = worst_difference(actual, expected)
    errors = np.abs(actual.astype(np.float64) - expected)
    assert found.max_error == errors.max()
    assert errors[found.where] == errors.max()
    assert found.largest_expected == np.abs(expected).max()


@given(
    expected=hnp.arrays(np.float64, (3, 4), elements=FINITE),
    row=st.integers(0, 2),
    column=st.integers(0, 3),
    relative=st.sampled_from([1e-6, 1e-5, 1e-3]),
)
def test_one_element_off_by_more_than_allowed_is_found(expected, row, column, relative):
    tolerance = Tolerance(relative=relative, absolute=1e-7)
    allowed = relative * np.abs(expected).max() + 1e-7
    near, far = expected.copy(), expected.copy()
    near[row, column] += 0.9 * allowed
    far[row, column] -= 1.1 * allowed
    assert check_output("y", near, expected, tolerance).ok
    check = check_output("y", far, expected, tolerance)
    assert not check.ok
    assert check.where == (row, column)
    assert check.allowed == pytest.approx(allowed)


class MovedEitherWay(FakeWorkload):
    """`w` may be anywhere within 0.3 of float64, as Adam may move it; `y` is judged as usual."""

    def tolerance(self, case, output):
        return Tolerance(0.0, absolute=0.3) if output == "w" else Tolerance(1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_error_that_is_told_is_that_of_outputs_judged_relatively(precision):
    exact = {"y": np.array([2.0, 4.0]), "w": np.array([-0.1])}
    actual = {"y": np.array([2.0, 4.002]), "w": np.array([0.1])}
    reference = Reference(exact, {})
    arguments = (MovedEitherWay(), CASE, {"x": X}, precision)
    right, _ = verify_outputs(actual, reference, *arguments)
    assert [check.relative_error for check in right.checks] == pytest.approx([5e-4, 2.0])
    assert right.ok and right.worst_relative_error == pytest.approx(5e-4)

    spoilt = {**actual, "w": np.array([1e9])}
    wrong, _ = verify_outputs(spoilt, reference, *arguments)
    assert not wrong.ok and wrong.worst_relative_error > 1e9

    alone = Reference({"w": exact["w"]}, {})
    nothing_else, _ = verify_outputs(actual, alone, *arguments)
    assert nothing_else.worst_relative_error == pytest.approx(2.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails_even_beside_a_larger_error(bad):
    expected = np.zeros(12)
    actual = np.zeros(12, np.float32)
    actual[2] = 1e30
    actual[7] = bad
    check = check_output("y", actual, expected, Tolerance(1.0, 1e35))
    assert not check.ok
    assert math.isinf(check.max_error)
    assert check.where == (7,)
    assert "not finite at [7]" in describe_check(check)


def test_nan_in_the_reference_is_no_excuse_but_equal_infinities_agree():
    expected = np.array([1.0, -np.inf])
    assert check_output("y", np.array([1.0, -np.inf], np.float32), expected, Tolerance()).ok
    expected = np.array([1.0, np.nan])
    assert not check_output("y", np.array([1.0, np.nan], np.float32), expected, Tolerance()).ok


def test_empty_outputs_agree():
    check = check_output("y", np.zeros((0, 3), np.float32), np.zeros((0, 3)), Tolerance())
    assert check.ok
    assert check.where == ()


def trained(rng, rate=0.01, wrong=1.0):
    """Old weights, their float32 update as an engine does it, and the exact new weights."""
    before = rng.standard_normal((6, 7)).astype(np.float32)
    gradient = rng.standard_normal((6, 7)).astype(np.float32)
    gradient[3, 4] = 2.0
    spoilt = gradient.copy()
    spoilt[3, 4] *= wrong
    after = before - np.float32(rate) * spoilt
    exact = before.astype(np.float64) - rate * gradient.astype(np.float64)
    return before, after, exact


@pytest.mark.parametrize(("wrong", "ok"), [(1.0, True), (1.001, False), (-1.0, False)])
def test_a_trained_parameter_is_judged_by_its_update(tmp_path, wrong, ok):
    before, after, exact = trained(np.random.default_rng(3), wrong=wrong)
    save_reference(tmp_path, {"parameter/w": exact}, {"w": before})
    checked, problems = verify_outputs(
        {"parameter/w": after}, load_reference(tmp_path), FakeWorkload(), CASE, {"x": X}
    )
    assert checked.ok is ok
    assert checked.checks[0].ok is ok
    if not ok:
        assert checked.checks[0].where == (3, 4)
        assert "parameter/w differs" in problems[0]
    # The new values alone would have hidden the error of a thousandth at the usual tolerance.
    if wrong == 1.001:
        assert check_output("w", after, exact, Tolerance(1e-5)).ok


def judge_later(folder, exact, *values):
    steps = [{"y": np.array([each]), "parameter/w": np.ones(1)} for each in exact]
    save_later_losses(folder, steps)
    expected = load_later_losses(folder)
    assert list(expected) == ["y"] and list(expected["y"]) == list(exact)
    found = [{"y": np.array(each, np.float32)} for each in values]
    return verify_later_losses(found, expected, FakeWorkload(), CASE)


def test_losses_of_later_steps_are_compared_at_a_wider_tolerance(tmp_path):
    (check,), problems = judge_later(tmp_path, (0.5, 0.5, 0.5), 0.5, 0.5, 0.5 + 4e-6)
    assert check.ok and not problems
    (check,), problems = judge_later(tmp_path, (0.5, 0.5, 0.5), 0.5, 0.5, 0.5 + 2e-5)
    assert not check.ok and check.where == (2,)
    assert "y of steps 2 to 4 differs from the float64 reference by 2e-05 at [2]" in problems[0]
    (check,), problems = judge_later(tmp_path, (0.5, 0.25, 0.125), 0.5, np.nan, 0.125)
    assert "is not finite" in problems[0]


@pytest.mark.parametrize(
    ("values", "ok"),
    [
        ((0.5, 0.25, 0.128), True),
        ((0.5, 0.25, 0.13), False),
        ((0.5, 0.5, 0.5), False),
        ((0.505, 0.255, 0.13), False),
    ],
    ids=["rounding grown", "an update off by two percent", "no update", "off from the start"],
)
def test_later_losses_may_be_off_by_a_hundredth_of_what_they_move(tmp_path, values, ok):
    assert judge_later(tmp_path, (0.5, 0.25, 0.125), *values)[0][0].ok is ok


def test_a_folder_without_later_losses_asks_for_none(tmp_path):
    assert load_later_losses(tmp_path) == {}
    save_later_losses(tmp_path, iter([]))
    assert load_later_losses(tmp_path) == {}


def test_a_parameter_that_was_not_updated_fails(tmp_path):
    before, _, exact = trained(np.random.default_rng(4))
    save_reference(tmp_path, {"parameter/w": exact}, {"w": before})
    checked, _ = verify_outputs(
        {"parameter/w": before}, load_reference(tmp_path), FakeWorkload(), CASE, {"x": X}
    )
    assert not checked.ok


def test_references_travel_through_files(tmp_path):
    outputs = {
        "loss": np.float64(2.5),
        "y": np.arange(6.0).reshape(2, 3),
        "grad_x/deep": np.zeros((0, 2)),
    }
    save_reference(tmp_path, outputs, {})
    loaded = load_reference(tmp_path)
    assert list(loaded.expected) == list(outputs)
    assert loaded.before == {}
    for name, value in outputs.items():
        assert np.array_equal(loaded.expected[name], value)
        assert loaded.expected[name].shape == np.shape(value)


def reference(**arrays):
    return Reference({name: np.asarray(each, float) for name, each in arrays.items()}, {})


def test_wrong_outputs_are_named_with_what_they_really_equal():
    x = np.array([1.0, 2.0, 3.0, 4.0], np.float32)
    outputs = {"y": x, "grad_w": x}
    checked, problems = verify_outputs(
        outputs, reference(y=[2, 4, 6, 8], grad_w=x), FakeWorkload(), CASE, {"x": x}
    )
    assert [check.ok for check in checked.checks] == [False, True]
    assert checked.checks[0].equals == "x itself"
    assert problems == (
        "y differs from the float64 reference by 4 at [3] (tolerance 8e-06); it equals x itself",
    )


def test_missing_outputs_wrong_shapes_and_dtypes_are_said_plainly():
    outputs = {"shape": np.zeros((4, 3)), "text": np.array(["a"])}
    checked, problems = verify_outputs(
        outputs,
        reference(gone=[1.0], shape=np.zeros((3, 4)), text=[1.0]),
        FakeWorkload(),
        CASE,
        {},
    )
    assert not checked.ok
    assert [check.output for check in checked.checks] == ["gone", "shape", "text"]
    assert problems == (
        "output gone is missing (received shape, text)",
        "shape expected shape (3, 4), received (4, 3)",
        "text expected numbers, received dtype <U1",
    )


def test_many_problems_are_cut():
    text = join_problems(tuple(f"p{n}" for n in range(9)))
    assert text == "p0; p1; p2; p3; p4; p5; and 3 more"


@pytest.mark.parametrize(("relative", "expected"), [(1e-5, 1e-3), (0.2, 0.5), (0.8, 0.8)])
def test_tf32_may_be_a_hundred_times_further_off_but_never_by_half(relative, expected):
    strict = Tolerance(relative, 1e-7)
    assert allowed_at("fp32", strict) == strict
    wider = allowed_at("tf32", strict)
    assert wider.relative == pytest.approx(expected)
    assert wider.absolute == pytest.approx(1e-5)
    assert wider.relative <= max(relative, MOST_RELATIVE_TOLERANCE)


@pytest.mark.parametrize(
    ("precision", "relative", "expected"),
    [
        ("fp16", 1e-5, 1e-2),
        ("bf16", 1e-5, 8e-2),
        ("fp16", 0.2, 0.5),
        ("bf16", 0.8, 0.8),
        # 16 roundoffs of float32, and as many of a half.
        ("fp16", 2.0**-20, 2.0**-7),
        ("bf16", 2.0**-20, 2.0**-4),
    ],
)
def test_halves_round_what_they_store(precision, relative, expected):
    wider = allowed_at(precision, Tolerance(relative, 1e-9))
    assert wider.relative == pytest.approx(expected)
    assert wider.absolute == pytest.approx({"fp16": 1e-6, "bf16": 8e-6}[precision])


@pytest.mark.parametrize(("precision", "dtype"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_layers_of_halves_pass_as_such_and_not_with_fewer_bits(precision, dtype):
    """Sixteen products one after another, as in VGG16, every result rounded."""
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((32, 128))
    weights = [rng.standard_normal((128, 128)) / 8 for _ in range(16)]
    found, coarse = exact, exact
    for each in weights:
        exact = np.maximum(exact @ each, 0)
        found = np.maximum(rounded(found, dtype) @ rounded(each, dtype).astype(np.float64), 0)
        coarse = with_fewer_bits(np.maximum(coarse @ with_fewer_bits(each, dtype), 0), dtype)
    tolerance = allowed_at(precision, Tolerance(relative=1e-5))
    assert not check_output(
        "y", rounded(found, dtype), exact, allowed_at("tf32", Tolerance(1e-5))
    ).ok
    assert check_output("y", rounded(found, dtype), exact, tolerance).ok
    assert not check_output("y", coarse, exact, tolerance).ok


def with_fewer_bits(array, dtype):
    """Rounded to four bits fewer than the half has."""
    bits = {"float16": 7, "bfloat16": 4}[dtype]
    digits, exponents = np.frexp(array)
    return np.ldexp(np.round(digits * 2**bits) / 2**bits, exponents)


def rounded_to_tf32(array):
    """Nearest number with 10 bits of mantissa, ties away from 0."""
    bits = array.astype(np.float32).view(np.uint32) + np.uint32(1 << 12)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def test_a_product_of_tf32_passes_as_such_and_not_as_float32():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((64, 256), dtype=np.float32) for _ in range(2))
    exact = a.astype(np.float64) @ b.astype(np.float64).T
    product = rounded_to_tf32(a) @ rounded_to_tf32(b).T
    strict = Tolerance(relative=1e-5)
    assert not check_output("y", product, exact, allowed_at("fp32", strict)).ok
    assert check_output("y", product, exact, allowed_at("tf32", strict)).ok
    # Bits lost once more are seen at this precision, too.
    halved = (a.view(np.uint32) & np.uint32(0xFFFC0000)).view(np.float32)
    assert not check_output("y", halved @ b.T, exact, allowed_at("tf32", strict)).ok
