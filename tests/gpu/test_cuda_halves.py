"""Kernels whose numbers are stored in 16 bits: computed in float32, rounded once at the end."""

from __future__ import annotations

import shutil

import gpu_kernels as gpu
import half_kernels as halves
import kernel_cases as cases
import numpy as np
import product_rows  # noqa: F401  loads the rows of products and convolutions
import pytest
from emulator import EmulatedDriver

from benchctl_engines.kernels.cuda_source import Index, source
from benchctl_engines.primitives.half_storage import from_bits, to_bits

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

NOT_STORED = ("random", "assign", "assign_sub", "assign_sub_scaled")
"""Random numbers and the parameters of an update stay float32."""
BETWEEN = {"conv2d_input_gradient": 4, "matmul_update": 2}
"""Roundings of a kernel that stores a half on its way: columns, or the weights it starts from."""


def few_cases() -> list[cases.KernelCase]:
    """The first and the last case of every primitive whose outputs are floats."""
    by_primitive: dict[str, list[cases.KernelCase]] = {}
    for case in cases.all_cases():
        if case.primitive not in NOT_STORED and case.output_dtypes[0] == "float":
            by_primitive.setdefault(case.primitive, []).append(case)
    chosen = [each for group in by_primitive.values() for each in (group[0], group[-1])]
    return list({case.name: case for case in chosen}.values())


@pytest.fixture(scope="module")
def driver():
    made = EmulatedDriver(2**28)
    yield made
    made.check()


@pytest.mark.parametrize("case", few_cases(), ids=lambda case: case.name)
def test_a_result_is_rounded_once(driver, case):
    for dtype in ("float16", "bfloat16"):
        operands = halves.held_operands(case.operands, dtype)
        expected = cases.expected_outputs(case, operands)
        request = halves.request_of(case.primitive, operands, case.attributes, dtype, driver)
        rows = gpu.taking(request, case.primitive)
        assert rows, f"no row takes {case.name}"
        for row in rows:
            made = halves.run_row(driver, row, request, operands)
            for actual, wanted in zip(made, expected, strict=True):
                allowed = BETWEEN.get(case.primitive, 1) * halves.ROUNDOFF[dtype]
                error = cases.worst_error(actual, wanted)
                # What a half is computed from has float32's own error, far below its own.
                assert error <= 1.01 * allowed + 1e-5, f"{row.name} in {dtype}: {error}"


@pytest.mark.parametrize("dtype", halves.ROUNDOFF)
@pytest.mark.parametrize("axes", [(0,), (0, 1)])
def test_sums_are_not_kept_in_halves(driver, dtype, axes):
    """An accumulator of 11 bits stops at 2048, one of 8 bits at 256."""
    x = np.ones((4096, 2), np.float32)
    attributes = {"axes": axes, "keepdims": False}
    request = halves.request_of("sum", [x], attributes, dtype, driver)
    assert request.outputs[0].dtype == "float32"
    for row in gpu.taking(request, "sum"):
        (found,) = halves.run_row(driver, row, request, [x])
        np.testing.assert_array_equal(found, x.sum(axis=axes))


CONVERSIONS = """
extern "C" __global__ void convert(REAL* to, float* back, const float* from, int n) {
    int i = blockIdx.x * 256 + threadIdx.x;
    if (i >= n) return;
    to[i] = from[i];
    back[i] = to[i];
}
"""


@pytest.mark.parametrize(("dtype", "real"), [("float16", "half_t"), ("bfloat16", "bfloat_t")])
def test_text_converts_as_the_host_does(driver, dtype, real):
    """Every half, the numbers in the middle of two, their neighbours, and random ones."""
    bits = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
    exact = from_bits(bits, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        middle = (exact[:-1].astype(np.float64) + exact[1:]) / 2
        middle = middle.astype(np.float32)
    random = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16, np.uint32).view(np.float32)
    beside = [np.nextafter(middle, np.float32(end)) for end in (np.inf, -np.inf)]
    values = np.concatenate([exact, middle, *beside, random])
    values = values[: len(values) // 256 * 256]
    module = driver.module(source(Index(False), REAL=real) + CONVERSIONS)
    blocks = [driver.allocate(size * values.size) for size in (2, 4, 4)]
    driver.copy_to_device(blocks[2].pointer, values)
    pointers = [each.pointer for each in blocks]
    grid = (values.size // 256, 1, 1)
    module.function("convert", "PPPi").launch(grid, (256, 1, 1), (*pointers, values.size))
    found, back = np.empty(values.size, np.uint16), np.empty(values.size, np.float32)
    driver.copy_to_host(found, pointers[0])
    driver.copy_to_host(back, pointers[1])
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(found[numbers], to_bits(values, dtype)[numbers])
    np.testing.assert_array_equal(back, from_bits(found, dtype))
    assert np.isnan(back[~numbers]).all()
