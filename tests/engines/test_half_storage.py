"""Floats of 16 bits on the host: nearest values, ties to even, bits there and back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.contract import precision_availability
from benchctl_engines.kernels.table import KernelRequest, NoKernelError, select
from benchctl_engines.primitives.half_storage import (
    from_bits,
    held,
    loss_scale,
    rounded,
    stored_dtype,
    stored_spec,
    to_bits,
)
from benchctl_engines.primitives.specs import ShapeError, array_dtype, number_dtype, spec

ALL_BITS = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
SIGNIFICANT = {"float16": 11, "bfloat16": 8}
FLOATS = st.floats(width=32, allow_nan=False)


def same(a, b):
    """Equal numbers, NaN where NaN, and zeros of one sign."""
    np.testing.assert_array_equal(a, b)
    finite = ~np.isnan(a)
    np.testing.assert_array_equal(np.signbit(a[finite]), np.signbit(b[finite]))


def test_binary16_is_numpy_s():
    same(from_bits(ALL_BITS, "float16"), ALL_BITS.view(np.float16).astype(np.float32))


@pytest.mark.parametrize("dtype", SIGNIFICANT)
def test_every_half_comes_back(dtype):
    values = from_bits(ALL_BITS, dtype)
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(to_bits(values, dtype)[numbers], ALL_BITS[numbers])
    assert np.isnan(from_bits(to_bits(values, dtype), dtype)[~numbers]).all()


@pytest.mark.parametrize("dtype", SIGNIFICANT)
@settings(max_examples=200, deadline=None)
@given(value=FLOATS)
def test_the_nearest_is_taken(dtype, value):
    """Against the two neighbours among all halves, compared in double precision."""
    exact = np.float64(np.float32(value))
    found = np.float64(rounded(np.float32([value]), dtype)[0])
    if np.isinf(found):
        # Half a unit above the largest: nothing that is finite is nearer.
        largest = 65504.0 if dtype == "float16" else float(from_bits(np.uint16([0x7F7F]), dtype)[0])
        assert abs(exact) >= largest * (1 + 2.0 ** -(SIGNIFICANT[dtype] + 1))
        return
    bits = to_bits(np.float32([value]), dtype)
    magnitude = int(bits[0]) & 0x7FFF
    neighbours = [magnitude + step for step in (-1, 1) if magnitude + step >= 0]
    distance = abs(exact - found)
    for each in neighbours:
        other = np.float64(from_bits(np.uint16([each]), dtype)[0])
        assert distance <= abs(abs(exact) - other)
        if distance == abs(abs(exact) - other):
            assert magnitude % 2 == 0


def test_halfway_goes_to_even_on_both_sides():
    for dtype, digits in SIGNIFICANT.items():
        unit = 2.0 ** (1 - digits)
        odd, even = 1 + unit, 1 + 2 * unit
        halves = np.float32([1 + unit / 2, odd + unit / 2, -(odd + unit / 2)])
        np.testing.assert_array_equal(rounded(halves, dtype), np.float32([1, even, -even]))


def test_shapes_stay_and_scalars_are_arrays():
    for dtype, shape in itertools.product(SIGNIFICANT, [(), (3,), (2, 0), (2, 3)]):
        made = held(np.full(shape, 1.25), dtype)
        assert made.shape == shape and made.dtype == np.float32
        assert to_bits(made, dtype).shape == shape
        assert spec(shape, dtype).nbytes == 2 * made.size
    assert held(1.1, "float64") == 1.1 and held(3, "int32").dtype == np.int32


def test_what_a_precision_stores():
    assert stored_dtype("float32", "fp16") == "float16"
    assert stored_dtype("float32", "bf16") == "bfloat16"
    assert stored_dtype("float32", "tf32") == stored_dtype("float32", "fp32") == "float32"
    assert stored_dtype("int32", "fp16") == "int32" and stored_dtype("float64", "bf16") == "float64"
    # A power of two: scaling and its undoing round nothing.
    assert np.frexp(loss_scale("fp16"))[0] == 0.5
    assert loss_scale("bf16") == loss_scale("fp32") == 1.0


def test_numbers_and_arrays_adopt_the_half_beside_them():
    beside = [spec((2,), "bool"), spec((3,), "bfloat16")]
    assert number_dtype(2.0, beside) == "bfloat16"
    assert array_dtype(np.ones(3, np.float32), beside) == "bfloat16"
    assert array_dtype(np.ones(3, np.int64), beside) == "int64"
    assert array_dtype(np.ones(3, np.float32), [spec((3,), "float32")]) == "float32"


def test_programs_may_not_state_a_half():
    half = np.ones(3, np.float16)
    with pytest.raises(ShapeError, match=r"dtype among.*received float16"):
        stored_spec(half, "fp16")
    with pytest.raises(ShapeError, match="received float16"):
        array_dtype(half, [])


def test_a_device_that_stores_no_halves_has_no_kernel_for_them():
    x = spec((3,), "float16")
    for device in ("cpu", "reference"):
        with pytest.raises(NoKernelError, match=f"no {device} kernel computes relu of float16"):
            select("relu", device, KernelRequest((x,), (x,)))


def test_an_engine_says_at_which_precisions_it_computes():
    class Silent:
        name = "silent"

    class Loud(Silent):
        precisions = ("fp32", "bf16")

    assert precision_availability(Silent(), "tf32").ok
    state = precision_availability(Silent(), "fp16")
    assert not state.ok and "silent does not compute in fp16" in state.reason
    assert "fp32 or tf32" in state.hint
    assert precision_availability(Loud(), "bf16").ok
    assert not precision_availability(Loud(), "tf32").ok
