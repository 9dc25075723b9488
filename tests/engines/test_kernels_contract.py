"""Every kernel row against oracles, under the contract that its callers rely on."""

from __future__ import annotations

import kernel_cases as cases
import numpy as np
import pytest

from benchctl_engines.kernels.table import Kernel, Prepared, kernels_of

CASES = cases.all_cases()
DEVICES = ("cpu", "reference")
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


# The reference sums one term after the other, and in float64 the oracle rounds as much as a kernel.
ALLOWANCE = {("cpu", "float32"): 1, ("cpu", "float64"): 2, ("reference", "float32"): 4}


def tolerance(case, dtype: str, device: str = "cpu") -> float:
    allowance = ALLOWANCE.get((device, dtype), 8)
    return case.tolerance_ulps * allowance * float(np.finfo(dtype).eps) / 2


@each_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_meet_the_contract(case, dtype):
    operands = cases.typed_operands(case, dtype)
    before = [each.tobytes() for each in operands]
    expected = cases.expected_outputs(case, operands)
    request = cases.make_request(case, operands, expected, dtype)
    for device in DEVICES:
        rows = cases.matching_rows(case.primitive, device, request)
        assert rows, f"no {device} row takes {case.name}"
        for row in rows:
            outputs = cases.run_kernel(row, request, operands)
            for actual, wanted in zip(outputs, expected, strict=True):
                error = cases.worst_error(actual, wanted)
                assert error <= tolerance(case, dtype, device), (
                    f"{device} {row.name}: error {error}"
                )
            after = [each.tobytes() for each in operands]
            assert after == before, f"{device} {row.name} changed an input"


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.updates], ids=lambda case: case.name
)
def test_updates_work_in_place(case):
    operands = cases.typed_operands(case, "float32")
    expected = cases.expected_outputs(case, operands)
    request = cases.make_request(case, operands, expected, "float32")
    for device in DEVICES:
        for row in cases.matching_rows(case.primitive, device, request):
            fresh = cases.typed_operands(case, "float32")
            prepared = row.prepare(request)
            prepared.run(fresh[0], *fresh, *cases.workspace_of(prepared.workspace_bytes))
            assert cases.worst_error(fresh[0], expected[0]) <= tolerance(case, "float32")


def test_cases_reach_every_row():
    reached = set()
    for case in CASES:
        operands = cases.typed_operands(case, "float32")
        expected = cases.expected_outputs(case, operands)
        request = cases.make_request(case, operands, expected, "float32")
        for device in DEVICES:
            # the row that callers get, since a row that is never first is never used
            row = cases.matching_rows(case.primitive, device, request)[0]
            reached.add((case.primitive, device, row.name))
    for primitive in {case.primitive for case in CASES}:
        for device in DEVICES:
            for row in kernels_of(primitive, device):
                assert (primitive, device, row.name) in reached


def test_a_kernel_wrong_in_one_element_is_caught():
    case = next(case for case in CASES if case.name == "conv2d-NCHW-3x3")
    operands = cases.typed_operands(case, "float32")
    expected = cases.expected_outputs(case, operands)
    request = cases.make_request(case, operands, expected, "float32")
    right = cases.matching_rows("conv2d", "cpu", request)[0]

    def prepare_wrong(request):
        prepared = right.prepare(request)

        def run(out, *rest):
            prepared.run(out, *rest)
            out.flat[7] *= 1.001

        return Prepared(run, prepared.workspace_bytes)

    wrong = Kernel("conv2d", "cpu", "wrong", right.when, prepare_wrong)
    error = cases.worst_error(cases.run_kernel(wrong, request, operands)[0], expected[0])
    assert error > tolerance(case, "float32")


def test_an_output_left_unwritten_is_caught():
    case = next(case for case in CASES if case.name == "conv2d-NHWC-3x3")
    operands = cases.typed_operands(case, "float32")
    expected = cases.expected_outputs(case, operands)
    request = cases.make_request(case, operands, expected, "float32")
    right = cases.matching_rows("conv2d", "cpu", request)[0]

    def prepare_forgetful(request):
        prepared = right.prepare(request)

        def run(out, *rest):
            kept = out.flat[3]
            prepared.run(out, *rest)
            out.flat[3] = kept

        return Prepared(run, prepared.workspace_bytes)

    forgetful = Kernel("conv2d", "cpu", "forgetful", right.when, prepare_forgetful)
    error = cases.worst_error(cases.run_kernel(forgetful, request, operands)[0], expected[0])
    assert error == float("inf")


def test_the_nested_sums_and_the_window_oracle_agree():
    x, w = cases.draw(2, 3, 6, 7), cases.draw(4, 3, 3, 2)
    window = {"stride": (2, 1), "padding": ((1, 0), (2, 1))}
    nested = cases.conv_forward(x, w, layout="NCHW", **window)
    seen = cases.windows(x, (3, 2), **window)
    assert np.allclose(np.einsum("ncpqrs,kcrs->nkpq", seen, w), nested, atol=1e-12)
