"""Every row of these modules under the contract of the CPU's kernels, on an emulated GPU."""

from __future__ import annotations

import shutil

import gpu_kernels as gpu
import kernel_cases as cases
import numpy as np
import pytest
from emulator import EmulatedDriver

from benchctl_engines.kernels.table import KernelRequest

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

OTHERS = ("matmul", "matmul_epilogue", "matmul_update")
CASES = [
    case
    for case in cases.all_cases()
    if case.primitive not in OTHERS and not case.primitive.startswith("conv2d")
]
# Longer than any operand of a float32 that is aligned to 4 bytes only.
MISALIGNED_BYTES = 8


@pytest.fixture(scope="module", params=[False, True], ids=["rising", "falling"])
def driver(request):
    made = EmulatedDriver(2**28, reverse=request.param)
    yield made
    made.check()


def prepared_case(driver, case, dtype):
    operands = cases.typed_operands(case, dtype)
    expected = cases.expected_outputs(case, operands)
    made = cases.make_request(case, operands, expected, dtype)
    request = KernelRequest(made.inputs, made.outputs, made.attributes, driver=driver)
    return operands, expected, request


def tolerance(case, dtype):
    """As the CPU's: in float64 the oracle rounds as much as a kernel."""
    allowance = 1 if dtype == "float32" else 2
    return case.tolerance_ulps * allowance * float(np.finfo(dtype).eps) / 2


def check(case, dtype, row, outputs, expected):
    for actual, wanted in zip(outputs, expected, strict=True):
        error = cases.worst_error(actual, wanted)
        assert error <= tolerance(case, dtype), f"{row.name}: error {error}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rows_meet_the_contract(driver, case, dtype):
    operands, expected, request = prepared_case(driver, case, dtype)
    rows = gpu.taking(request, case.primitive)
    assert rows, f"no row takes {case.name}"
    for row in rows:
        for offset in (0, MISALIGNED_BYTES):
            outputs = gpu.run_row(driver, row, request, operands, offset=offset)
            check(case, dtype, row, outputs, expected)


@pytest.mark.parametrize("case", [each for each in CASES if each.updates], ids=lambda c: c.name)
def test_updates_work_in_place(driver, case):
    operands, expected, request = prepared_case(driver, case, "float32")
    for row in gpu.taking(request, case.primitive):
        outputs = gpu.run_row(driver, row, request, operands, shared=(0, 0))
        check(case, "float32", row, outputs, expected)
