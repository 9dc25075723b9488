"""Matrix products of the GPU against the reference, and what they ask of the library."""

from __future__ import annotations

import shutil

import numpy as np
import product_rows as rows
import pytest
from emulator import EmulatedDriver
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.gpu.driver import MatmulRequest
from benchctl_engines.kernels.table import Kernel, Prepared

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

TOLERANCES = {"float32": 2e-6, "float64": 1e-14}
DRIVER = EmulatedDriver()

sizes = st.integers(0, 9)
flags = st.booleans()


@st.composite
def products(draw):
    """(primitive, operands, attributes): skinny, square and empty ones."""
    primitive = draw(st.sampled_from(["matmul", "matmul_epilogue", "matmul_update"]))
    m, n, k = (draw(sizes) for _ in range(3))
    if draw(flags):
        m, n = draw(st.sampled_from([(1, 150), (150, 1), (2, 70)]))
    ta, tb = draw(flags), draw(flags)
    dtype = draw(st.sampled_from(["float32", "float64"]))
    a = rows.draw(1, *((k, m) if ta else (m, k))).astype(dtype)
    b = rows.draw(2, *((n, k) if tb else (k, n))).astype(dtype)
    attributes = {"transpose_a": ta, "transpose_b": tb}
    if primitive == "matmul_epilogue":
        return primitive, [a, b, rows.draw(3, n).astype(dtype)], {**attributes, "relu": draw(flags)}
    if primitive == "matmul_update":
        return primitive, [rows.draw(4, m, n).astype(dtype), a, b], {**attributes, "scale": 0.25}
    return primitive, [a, b], attributes


@settings(max_examples=60, deadline=None)
@given(products())
def test_products_are_those_of_the_reference(case):
    primitive, operands, attributes = case
    request = rows.request_of(primitive, operands, DRIVER, **attributes)
    made = rows.run_row(DRIVER, rows.chosen(primitive, request), request, operands)
    expected = rows.reference(request, operands, primitive)
    assert rows.error_of(made, expected) < TOLERANCES[made.dtype.name]


def test_an_update_works_in_place():
    w, a, b = (rows.draw(seed, *shape) for seed, shape in enumerate([(5, 7), (3, 5), (3, 7)]))
    flags = {"transpose_a": True, "transpose_b": False, "scale": 0.5}
    request = rows.request_of("matmul_update", [w, a, b], DRIVER, **flags)
    prepared = rows.chosen("matmul_update", request).prepare(request)
    held = [rows.device_array(DRIVER, each) for each in (w, a, b)]
    room = rows.empty_array(DRIVER, (prepared.workspace_bytes,), "uint8")
    prepared.run(held[0], *held, room)
    assert np.allclose(rows.on_host(DRIVER, held[0]), w - 0.5 * a.T @ b, atol=1e-14)


def test_bias_relu_scale_and_precision_are_the_library_s():
    asked = []

    class Asked(EmulatedDriver):
        def matmul(self, request):
            asked.append(request)
            return super().matmul(request)

    driver = Asked()
    a, b, bias = rows.draw(1, 1, 30), rows.draw(2, 20, 30), rows.draw(3, 20)
    single = [each.astype(np.float32) for each in (a, b, bias)]
    flags = {"transpose_a": False, "transpose_b": True}
    for precision in ("fp32", "tf32"):
        request = rows.request_of(
            "matmul_epilogue", single, driver, precision=precision, relu=True, **flags
        )
        rows.chosen("matmul_epilogue", request).prepare(request)
    expected = MatmulRequest(1, 20, 30, "float32", transpose_b=True, bias=True, relu=True)
    assert asked[0] == expected
    assert [each.precision for each in asked] == ["fp32", "tf32"]


def test_a_product_of_transposed_operands_where_none_is_meant_is_caught():
    a, b = rows.draw(1, 6, 6), rows.draw(2, 6, 6)
    flags = {"transpose_a": False, "transpose_b": False}
    request = rows.request_of("matmul", [a, b], DRIVER, **flags)
    wrong = rows.request_of("matmul", [a, b], DRIVER, **{**flags, "transpose_b": True})

    def prepare(request) -> Prepared:
        return rows.chosen("matmul", wrong).prepare(wrong)

    row = Kernel("matmul", "gpu", "wrong", lambda request: True, prepare)
    made = rows.run_row(DRIVER, row, request, [a, b])
    assert rows.error_of(made, rows.reference(request, [a, b], "matmul")) > 0.1


def test_nothing_is_allocated_or_awaited_in_a_capture():
    a, b, bias = rows.draw(1, 4, 3), rows.draw(2, 3, 5), rows.draw(3, 5)
    flags = {"transpose_a": False, "transpose_b": False, "relu": False}
    request = rows.request_of("matmul_epilogue", [a, b, bias], DRIVER, **flags)
    prepared = rows.chosen("matmul_epilogue", request).prepare(request)
    held = [rows.device_array(DRIVER, each) for each in (a, b, bias)]
    out = rows.empty_array(DRIVER, (4, 5), "float64")
    room = rows.empty_array(DRIVER, (prepared.workspace_bytes,), "uint8")
    DRIVER.begin_capture()
    prepared.run(out, *held, room)
    graph = DRIVER.end_capture()
    graph.launch()
    assert np.allclose(rows.on_host(DRIVER, out), a @ b + bias, atol=1e-14)
