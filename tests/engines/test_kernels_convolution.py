"""Convolution kernels: any geometry, small workspaces, no copy where a product is enough."""

from __future__ import annotations

import math
from dataclasses import replace

import kernel_cases as cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.kernels import convolution_geometry as geometry_module
from benchctl_engines.kernels.convolution_geometry import split_evenly, split_positions
from benchctl_engines.kernels.table import KernelRequest, select
from benchctl_engines.primitives.specs import spec


@st.composite
def geometries(draw):
    """(layout, x shape NCHW, filter shape KCRS, stride, padding) with at least one output."""
    R, S = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    pads = st.integers(0, 4)
    padding = (draw(st.tuples(pads, pads)), draw(st.tuples(pads, pads)))
    H = draw(st.integers(max(1, R - sum(padding[0])), 8))
    W = draw(st.integers(max(1, S - sum(padding[1])), 8))
    N, C, K = (draw(st.integers(1, 3)) for _ in range(3))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    return layout, (N, C, H, W), (K, C, R, S), stride, padding


def conv_cases(layout, x_shape, w_shape, stride, padding):
    x = np.ascontiguousarray(cases.from_nchw(cases.draw(*x_shape), layout))
    w = np.ascontiguousarray(cases.from_kcrs(cases.draw(*w_shape), layout))
    window = {"stride": stride, "padding": padding, "layout": layout}
    g = cases.draw(*cases.conv_forward(x, w, **window).shape, seed=1)
    yield cases.KernelCase("conv2d", (x, w), window, cases.conv_forward)
    yield cases.KernelCase(
        "conv2d_input_gradient",
        (g, w),
        {**window, "input_shape": x.shape},
        cases.conv_input_gradient,
    )
    yield cases.KernelCase(
        "conv2d_filter_gradient",
        (x, g),
        {**window, "filter_shape": w.shape},
        cases.conv_filter_gradient,
    )


@settings(max_examples=60, deadline=None)
@given(geometries())
def test_any_geometry_is_computed_rightly(geometry):
    for case in conv_cases(*geometry):
        operands = cases.typed_operands(case, "float64")
        expected = cases.expected_outputs(case, operands)
        request = cases.make_request(case, operands, expected, "float64")
        for row in cases.matching_rows(case.primitive, "cpu", request):
            outputs = cases.run_kernel(row, request, operands)
            assert cases.worst_error(outputs[0], expected[0]) <= 1e-13, row.name


@settings(max_examples=25, deadline=None)
@given(geometries(), st.integers(1, 30))
def test_panels_of_any_width_give_the_same(geometry, positions):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry_module, "PANEL_BYTES", 1)
        patch.setattr(geometry_module, "MIN_PANEL_POSITIONS", positions)
        patch.setattr(split_positions, "__defaults__", (positions,))
        patch.setattr(
            "benchctl_engines.kernels.cpu_conv_gradients.MIN_FILTER_GRADIENT_POSITIONS", positions
        )
        test_any_geometry_is_computed_rightly.hypothesis.inner_test(geometry)


@given(st.integers(0, 200), st.integers(1, 50))
def test_pieces_cover_the_range_once(size, longest):
    pieces = split_evenly(size, longest)
    assert [i for start, stop in pieces for i in range(start, stop)] == list(range(size))
    assert all(0 < stop - start <= longest for start, stop in pieces)


@st.composite
def wide_geometries(draw):
    """As `geometries`, large enough that channels or positions fill vectors."""
    R, S = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    pads = st.integers(0, 3)
    padding = (draw(st.tuples(pads, pads)), draw(st.tuples(pads, pads)))
    H, W = draw(st.integers(R, 24)), draw(st.integers(16 + S, 70))
    N, C, K = draw(st.integers(1, 2)), draw(st.integers(1, 18)), draw(st.integers(1, 40))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    return layout, (N, C, H, W), (K, C, R, S), stride, padding


@settings(max_examples=60, deadline=None)
@given(wide_geometries(), st.booleans(), st.integers(1, 3))
def test_lines_of_any_geometry_are_computed_rightly(geometry, exchanged, threads):
    """Without BLAS; `exchanged`: filters stored the other way round than images."""
    for case in conv_cases(*geometry):
        operands = cases.typed_operands(case, "float32")
        expected = cases.expected_outputs(case, operands)
        request = replace(cases.make_request(case, operands, expected, "float32"), threads=threads)
        if exchanged and case.primitive != "conv2d_filter_gradient":
            other = "NHWC" if geometry[0] == "NCHW" else "NCHW"
            filters = cases.to_kcrs(operands[1], geometry[0])
            operands[1] = np.ascontiguousarray(cases.from_kcrs(filters, other))
            inputs = (request.inputs[0], spec(operands[1].shape, "float32"))
            attributes = {**request.attributes, "filter_layout": other}
            request = replace(request, inputs=inputs, attributes=attributes)
        for row in cases.matching_rows(case.primitive, "cpu", request):
            if row.name in ("direct", "folded_lines"):
                outputs = cases.run_kernel(row, request, operands)
                assert cases.worst_error(outputs[0], expected[0]) <= 1e-6, row.name


def request_of(primitive, x_shape, w_shape, layout, padding=((0, 0), (0, 0)), stride=(1, 1)):
    x_shape = tuple(cases.from_nchw(np.empty(x_shape, bool), layout).shape)
    w_shape = tuple(cases.from_kcrs(np.empty(w_shape, bool), layout).shape)
    K = w_shape[0] if layout == "NCHW" else w_shape[3]
    R, S = w_shape[2:] if layout == "NCHW" else w_shape[:2]
    H, W = x_shape[2:] if layout == "NCHW" else x_shape[1:3]
    P = cases.output_size(H, R, stride[0], padding[0])
    Q = cases.output_size(W, S, stride[1], padding[1])
    y_shape = (x_shape[0], K, P, Q) if layout == "NCHW" else (x_shape[0], P, Q, K)
    x, w, y = spec(x_shape, "float32"), spec(w_shape, "float32"), spec(y_shape, "float32")
    attributes = {"stride": stride, "padding": padding, "layout": layout}
    if primitive == "conv2d":
        return KernelRequest((x, w), (y,), attributes, 2)
    if primitive == "conv2d_input_gradient":
        return KernelRequest((y, w), (x,), {**attributes, "input_shape": x_shape}, 2)
    return KernelRequest((x, y), (w,), {**attributes, "filter_shape": w_shape}, 2)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("primitive", ["conv2d", "conv2d_input_gradient", "conv2d_filter_gradient"])
def test_the_vgg_head_as_convolution_is_a_matrix_product(primitive, layout):
    w_shape = (4096, 512, 7, 7)
    request = request_of(primitive, (4, 512, 7, 7), w_shape, layout)
    row = select(primitive, "cpu", request)
    assert row.name == ("gemm" if primitive == "conv2d_filter_gradient" else "small_batch")
    assert row.prepare(request).workspace_bytes < 0.01 * 4 * math.prod(w_shape)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_gradient_of_an_image_in_colour_unfolds_nothing(layout):
    geometry = (4, 3, 224, 224), (64, 3, 3, 3), layout, ((1, 1), (1, 1))
    request = request_of("conv2d_input_gradient", *geometry)
    row = select("conv2d_input_gradient", "cpu", request)
    assert row.name == "folded_lines"
    assert row.prepare(request).workspace_bytes < 2 << 20


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("primitive", ["conv2d", "conv2d_input_gradient"])
def test_one_by_one_filters_need_no_workspace(primitive, layout):
    request = request_of(primitive, (2, 64, 28, 28), (128, 64, 1, 1), layout)
    row = select(primitive, "cpu", request)
    assert row.name in ("gemm", "gemm_per_image")
    assert row.prepare(request).workspace_bytes == 0


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_unfolded_input_is_never_whole(layout):
    x_shape, w_shape = (4, 64, 224, 224), (64, 64, 3, 3)
    padding = ((1, 1), (1, 1))
    whole_bytes = 4 * 224 * 224 * 64 * 9 * 4
    for primitive in ("conv2d", "conv2d_input_gradient", "conv2d_filter_gradient"):
        request = request_of(primitive, x_shape, w_shape, layout, padding)
        prepared = select(primitive, "cpu", request).prepare(request)
        assert prepared.workspace_bytes < whole_bytes / 15


def test_a_filter_gradient_shifted_by_one_is_caught():
    case = list(conv_cases("NHWC", (2, 2, 5, 5), (3, 2, 3, 3), (1, 1), ((1, 1), (1, 1))))[2]
    operands = cases.typed_operands(case, "float32")
    expected = cases.expected_outputs(case, operands)
    request = cases.make_request(case, operands, expected, "float32")
    row = select(case.primitive, "cpu", request)
    shifted = [np.roll(operands[0], 1, axis=1), operands[1]]
    assert cases.worst_error(cases.run_kernel(row, request, shifted)[0], expected[0]) > 1e-2
