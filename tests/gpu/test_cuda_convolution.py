"""Every row of the GPU's convolutions against the reference, which rows are chosen, and faults."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import product_rows as rows
import pytest
from emulator import EmulatedDriver
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.gpu.driver import NoPlanError
from benchctl_engines.kernels import (
    cuda_conv_columns,
    cuda_conv_winograd,
    cuda_winograd_plan,
    cuda_winograd_text,
)
from benchctl_engines.kernels.convolution_geometry import ConvolutionGeometry

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

LAYOUTS = ("NCHW", "NHWC")
PRIMITIVES = ("conv2d", "conv2d_epilogue", "conv2d_input_gradient", "conv2d_filter_gradient")
TOLERANCES = {"float32": 3e-6, "float64": 1e-13}
DRIVER = EmulatedDriver()


def images(seed, N, C, H, W, layout):
    x = rows.draw(seed, N, C, H, W)
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1) if layout == "NHWC" else x)


def filters(seed, K, C, R, S, layout):
    w = rows.draw(seed, K, C, R, S) / np.sqrt(max(C * R * S, 1))
    return np.ascontiguousarray(w.transpose(2, 3, 1, 0) if layout == "NHWC" else w)


def case_of(
    primitive,
    x_sizes,
    w_sizes,
    *,
    stride=(1, 1),
    padding=((1, 1), (1, 1)),
    layout="NCHW",
    filter_layout=None,
    dtype="float32",
    driver=DRIVER,
    precision="fp32",
    **epilogue,
):
    """(request, operands) of one of the four primitives."""
    x = images(0, *x_sizes, layout).astype(dtype)
    w = filters(1, *w_sizes, filter_layout or layout).astype(dtype)
    window = {"stride": stride, "padding": padding, "layout": layout}
    if filter_layout:
        window["filter_layout"] = filter_layout
    out = rows.request_of("conv2d", [x, w], **window).outputs[0]
    g = rows.draw(2, *out.shape).astype(dtype)
    operands, attributes = {
        "conv2d": ([x, w], {}),
        "conv2d_epilogue": ([x, w, rows.draw(3, w_sizes[0]).astype(dtype)], epilogue),
        "conv2d_input_gradient": ([g, w], {"input_shape": x.shape}),
        "conv2d_filter_gradient": ([x, g], {"filter_shape": w.shape}),
    }[primitive]
    request = rows.request_of(
        primitive, operands, driver, precision=precision, **window, **attributes
    )
    return request, operands


def worst_of_rows(primitive, request, operands, driver=DRIVER):
    """The error of every row that can compute the request, by name."""
    expected = rows.reference(request, operands, primitive)
    return {
        row.name: rows.error_of(rows.run_row(driver, row, request, operands), expected)
        for row in rows.candidates(primitive, request)
    }


def assert_right(primitive, request, operands, driver=DRIVER):
    tolerance = TOLERANCES[request.outputs[0].dtype]
    errors = worst_of_rows(primitive, request, operands, driver)
    assert errors and max(errors.values()) < tolerance, errors


@st.composite
def geometries(draw):
    """Keyword arguments of `case_of`: any window, stride and padding; whole windows and 1x1."""
    small = st.integers(1, 4)
    kind = draw(st.sampled_from(["any", "any", "3x3", "whole", "1x1"]))
    N, C, K = (draw(small) for _ in range(3))
    R, S = (3, 3) if kind == "3x3" else (1, 1) if kind == "1x1" else (draw(small), draw(small))
    stride = (1, 1) if kind in ("3x3", "1x1") else (draw(small), draw(small))
    sides = st.tuples(st.integers(0, 3), st.integers(0, 3))
    padding = (draw(sides), draw(sides)) if kind in ("any", "3x3") else ((0, 0), (0, 0))
    if kind == "whole":
        H, W = R, S
    else:
        H, W = (
            draw(st.integers(max(1, window - sum(pad)), 11))
            for window, pad in zip((R, S), padding, strict=True)
        )
    return {
        "x_sizes": (N, C, H, W),
        "w_sizes": (K, C, R, S),
        "stride": stride,
        "padding": padding,
        "layout": draw(st.sampled_from(LAYOUTS)),
        "filter_layout": draw(st.sampled_from([None, *LAYOUTS])),
        "dtype": draw(st.sampled_from(["float32", "float64"])),
    }


@pytest.mark.parametrize("primitive", PRIMITIVES)
@settings(max_examples=30, deadline=None)
@given(geometry=geometries(), relu=st.booleans(), pool=st.booleans())
def test_every_row_is_the_reference(primitive, geometry, relu, pool):
    (_, _, H, W), (_, _, R, S) = geometry["x_sizes"], geometry["w_sizes"]
    (top, bottom), (left, right) = geometry["padding"]
    P = (H + top + bottom - R) // geometry["stride"][0] + 1
    Q = (W + left + right - S) // geometry["stride"][1] + 1
    epilogue = {"relu": relu}
    if pool and min(P, Q) >= 2:
        epilogue["pool"] = True
    request, operands = case_of(primitive, **geometry, **epilogue)
    assert_right(primitive, request, operands)


@pytest.mark.parametrize("primitive", PRIMITIVES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("filter_layout", LAYOUTS)
def test_threads_in_the_other_order_give_the_same(primitive, layout, filter_layout):
    backwards = EmulatedDriver(reverse=True)
    sizes = {"x_sizes": (2, 5, 9, 12), "w_sizes": (6, 5, 3, 3), "layout": layout}
    sizes["filter_layout"] = filter_layout
    request, operands = case_of(primitive, **sizes, relu=True)
    other, _ = case_of(primitive, **sizes, relu=True, driver=backwards)
    pairs = zip(rows.candidates(primitive, request), rows.candidates(primitive, other), strict=True)
    for row, same in pairs:
        made = rows.run_row(DRIVER, row, request, operands)
        assert rows.run_row(backwards, same, other, operands).tobytes() == made.tobytes()


@pytest.mark.parametrize("primitive", PRIMITIVES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(0, 3, 5, 5), (2, 0, 5, 5)])
def test_empty_batches_and_channels(primitive, layout, size):
    request, operands = case_of(primitive, size, (4, size[1], 3, 3), layout=layout, relu=True)
    expected = np.zeros(request.outputs[0].shape)
    if primitive == "conv2d_epilogue":
        bias = operands[2] if layout == "NHWC" else operands[2][:, None, None]
        expected = np.maximum(expected + bias, 0)
    for row in rows.candidates(primitive, request):
        made = rows.run_row(DRIVER, row, request, operands)
        assert np.array_equal(made, expected), row.name


# Which row is chosen ----------------------------------------------------------------------------


def chosen_name(primitive, x_sizes, w_sizes, **options):
    """The name of the row that the rule takes; operands are described, not made."""
    driver = options.get("driver", DRIVER)
    layout, filter_layout = options["layout"], options.get("filter_layout", options["layout"])
    x_shape = x_sizes if layout == "NCHW" else tuple(x_sizes[i] for i in (0, 2, 3, 1))
    w_shape = w_sizes if filter_layout == "NCHW" else tuple(w_sizes[i] for i in (2, 3, 1, 0))
    window = {
        "stride": options.get("stride", (1, 1)),
        "padding": options.get("padding", ((1, 1), (1, 1))),
        "layout": layout,
        "filter_layout": filter_layout,
    }
    dtype = options.get("dtype", "float32")
    x, w = (np.broadcast_to(np.zeros((), dtype), shape) for shape in (x_shape, w_shape))
    out = rows.request_of("conv2d", [x, w], **window).outputs[0]
    y = np.broadcast_to(np.zeros((), dtype), out.shape)
    operands, attributes = {
        "conv2d": ([x, w], {}),
        "conv2d_input_gradient": ([y, w], {"input_shape": x_shape}),
        "conv2d_filter_gradient": ([x, y], {"filter_shape": w_shape}),
    }[primitive]
    precision = options.get("precision", "fp32")
    request = rows.request_of(
        primitive, operands, driver, precision=precision, **window, **attributes
    )
    return rows.chosen(primitive, request).name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_many_channels_in_strict_float32_go_to_winograd(layout):
    for primitive in ("conv2d", "conv2d_input_gradient", "conv2d_filter_gradient"):
        sizes = (16, 128, 56, 56), (256, 128, 3, 3)
        assert chosen_name(primitive, *sizes, layout=layout) == "winograd"
        assert chosen_name(primitive, *sizes, layout=layout, precision="tf32") == "cudnn"
        assert chosen_name(primitive, *sizes, layout=layout, dtype="float64") == "cudnn"
        first = (16, 3, 224, 224), (64, 3, 3, 3)
        assert chosen_name(primitive, *first, layout=layout) == "cudnn"
    strided = {"layout": layout, "stride": (2, 2)}
    assert chosen_name("conv2d", *sizes, **strided) == "cudnn"


def test_what_is_a_product_is_computed_as_one():
    bare = {"padding": ((0, 0), (0, 0))}
    head = (16, 512, 7, 7), (4096, 512, 7, 7)
    for layout in LAYOUTS:
        assert chosen_name("conv2d", *head, layout=layout, **bare) == "gemm"
    one = (2, 64, 20, 20), (32, 64, 1, 1)
    assert chosen_name("conv2d", *one, layout="NHWC", **bare) == "gemm"
    assert chosen_name("conv2d", *one, layout="NCHW", **bare) == "cudnn"
    mixed = {"layout": "NHWC", "filter_layout": "NCHW"}
    assert chosen_name("conv2d", *head, **mixed, **bare) == "cudnn"


def test_without_a_library_columns_are_the_last_row():
    alone = EmulatedDriver(convolution_library=False)
    sizes = (2, 3, 8, 8), (4, 3, 3, 3)
    names = {"conv2d": "im2col_gemm", "conv2d_input_gradient": "col2im_gemm"}
    for primitive, name in names.items():
        assert chosen_name(primitive, *sizes, layout="NCHW", driver=alone) == name


def test_candidates_are_all_that_can():
    request, _ = case_of("conv2d", (2, 4, 8, 8), (4, 4, 3, 3))
    names = [row.name for row in rows.candidates("conv2d", request)]
    assert names == ["winograd", "cudnn", "im2col_gemm"]
    assert rows.chosen("conv2d", request).name == "cudnn"
    assert rows.candidates("relu", request) == ()


# Epilogues ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_plan_without_a_bias_is_finished_by_a_pass(layout):
    class Plain(EmulatedDriver):
        def convolution(self, request):
            if request.bias:
                raise NoPlanError("none with a bias")
            return super().convolution(request)

    driver = Plain()
    for relu in (False, True):
        request, operands = case_of(
            "conv2d_epilogue",
            (2, 3, 6, 7),
            (4, 3, 3, 3),
            layout=layout,
            driver=driver,
            relu=relu,
        )
        assert_right("conv2d_epilogue", request, operands, driver)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pool", [False, True])
def test_a_fused_epilogue_has_the_bits_of_one_added_later(layout, pool):
    sizes = (2, 6, 9, 10), (5, 6, 3, 3)
    plain, operands = case_of("conv2d", *sizes, layout=layout)
    fused, with_bias = case_of(
        "conv2d_epilogue", *sizes, layout=layout, relu=True, **({"pool": True} if pool else {})
    )
    row = {each.name: each for each in rows.candidates("conv2d", plain)}["winograd"]
    together = {each.name: each for each in rows.candidates("conv2d_epilogue", fused)}["winograd"]
    y = rows.run_row(DRIVER, row, plain, operands)
    y = y if layout == "NCHW" else y.transpose(0, 3, 1, 2)
    N, K, P, Q = y.shape
    if pool:
        squares = y[:, :, : P // 2 * 2, : Q // 2 * 2].reshape(N, K, P // 2, 2, Q // 2, 2)
        y = squares.max((3, 5))
    y = np.maximum(y + with_bias[2].reshape(-1, 1, 1), 0)
    made = rows.run_row(DRIVER, together, fused, with_bias)
    made = made if layout == "NCHW" else made.transpose(0, 3, 1, 2)
    assert np.array_equal(made, y)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pool", [False, True])
def test_nan_reaches_what_it_touches(layout, pool):
    options = {"layout": layout, "relu": True, **({"pool": True} if pool else {})}
    request, operands = case_of("conv2d_epilogue", (1, 3, 12, 12), (2, 3, 3, 3), **options)
    operands[2][0] = np.nan
    for row in rows.candidates("conv2d_epilogue", request):
        y = rows.run_row(DRIVER, row, request, operands)
        y = y if layout == "NCHW" else y.transpose(0, 3, 1, 2)
        assert np.isnan(y[:, 0]).all() and not np.isnan(y[:, 1]).any(), row.name


# Constant filters --------------------------------------------------------------------------------


@pytest.mark.parametrize("primitive", ["conv2d", "conv2d_epilogue", "conv2d_input_gradient"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("filter_layout", LAYOUTS)
def test_bound_filters_give_the_same_and_are_not_read(primitive, layout, filter_layout):
    options = {"layout": layout, "filter_layout": filter_layout, "relu": True}
    request, operands = case_of(primitive, (2, 5, 9, 8), (3, 5, 3, 3), **options)
    folded = 0
    for row in rows.candidates(primitive, request):
        prepared = row.prepare(request)
        if prepared.bind is None:
            continue
        folded += 1
        expected = rows.run_prepared(DRIVER, prepared, request, operands)
        bound = prepared.bind({1: rows.device_array(DRIVER, operands[1])})
        assert bound.bound_bytes and bound.workspace_bytes < prepared.workspace_bytes
        unread = [operands[0], np.full_like(operands[1], np.nan), *operands[2:]]
        made = rows.run_prepared(DRIVER, bound, request, unread)
        assert made.tobytes() == expected.tobytes(), row.name
        other = prepared.bind({0: rows.device_array(DRIVER, operands[0])})
        same = rows.run_prepared(DRIVER, other, request, operands)
        assert same.tobytes() == expected.tobytes(), row.name
    assert folded


# Chunks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("primitive", PRIMITIVES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("filter_layout", LAYOUTS)
def test_work_in_chunks_and_groups_is_the_same_work(monkeypatch, primitive, layout, filter_layout):
    monkeypatch.setattr(cuda_conv_columns, "CHUNK_BYTES", 1)
    monkeypatch.setattr(cuda_winograd_plan, "LEAST_CHUNK_BYTES", 1)
    monkeypatch.setattr(cuda_winograd_plan, "CHUNK_STEP", 4)
    monkeypatch.setattr(cuda_winograd_plan, "FEWEST_GROUP_TILES", 2)
    driver = EmulatedDriver()
    driver.facts = replace(driver.facts, l2_bytes=1, multiprocessors=100)
    options = {"layout": layout, "filter_layout": filter_layout, "relu": True, "driver": driver}
    request, operands = case_of(primitive, (3, 2, 14, 9), (3, 2, 3, 3), **options)
    assert_right(primitive, request, operands, driver)
    # Chunks of images whose results start where a product cannot write pass through a copy.
    assert "finish" in driver.issued
    assert driver.issued.count("image_in") > 2
    assert driver.issued.count("im2col") + driver.issued.count("col2im") == 3


geometry_sizes = st.integers(1, 300)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 64),
    st.integers(1, 600),
    st.integers(1, 600),
    geometry_sizes,
    geometry_sizes,
    st.integers(0, 10**8),
    st.integers(1, 200),
)
def test_chunks_cover_all_tiles_once(N, C, K, P, Q, cache_bytes, multiprocessors):
    geometry = ConvolutionGeometry("NCHW", "float32", N, C, P, Q, K, 3, 3, P, Q, 1, 1, 1, 1, 1, 1)
    total = cuda_winograd_plan.grid_of(geometry).count
    assert total == N * -(-P // 4) * -(-Q // 4)
    sums = cuda_winograd_plan.split_sum(geometry, cache_bytes, multiprocessors)
    for chunks in (cuda_winograd_plan.split_tiles(geometry, cache_bytes), sums):
        places = [place for each in chunks for place in (each.first, each.first + each.count)]
        assert places[0] == 0 and places[-1] == total
        assert places[1:-1:2] == places[2::2]
        assert all(0 < each.count <= each.room < each.count + each.groups for each in chunks)
    assert len({each.groups for each in sums}) == 1


# Faults that must be seen ------------------------------------------------------------------------


def faulty(monkeypatch, module, name, before, after):
    """Let `module` take kernel text with one place changed."""
    right = getattr(module, name)

    def wrong(*arguments):
        text = right(*arguments)
        changed = text.replace(before, after)
        assert changed != text
        return changed

    monkeypatch.setattr(module, name, wrong)


@pytest.mark.parametrize(
    ("primitive", "before", "after"),
    [
        ("conv2d", "w0 = at.tw * 4 - left", "w0 = at.tw * 4 - left + 1"),
        ("conv2d", "rotated ? 8 - tap : tap", "rotated ? tap : 8 - tap"),
        ("conv2d_input_gradient", "rotated ? 8 - tap : tap", "tap"),
        ("conv2d_epilogue", "value += bias;", ""),
        ("conv2d_filter_gradient", "column[a] = sum;", "column[a] = sum * 1.001f;"),
        ("conv2d_filter_gradient", "group < groups", "group < groups - 1"),
    ],
)
def test_a_fault_in_the_transforms_is_caught(monkeypatch, primitive, before, after):
    monkeypatch.setattr(cuda_winograd_plan, "FEWEST_GROUP_TILES", 2)
    faulty(monkeypatch, cuda_conv_winograd, "winograd_text", before, after)
    driver = EmulatedDriver()
    driver.facts = replace(driver.facts, multiprocessors=100)
    options = {"padding": ((1, 1), (0, 1)), "relu": False, "driver": driver}
    request, operands = case_of(primitive, (2, 4, 13, 11), (3, 4, 3, 3), **options)
    assert worst_of_rows(primitive, request, operands, driver)["winograd"] > 1e-4


@pytest.mark.parametrize(
    ("primitive", "row", "before", "after"),
    [
        ("conv2d", "im2col_gemm", "p * stride_h - top + r", "p * stride_h + r"),
        ("conv2d_input_gradient", "col2im_gemm", "h + top - r", "h + top - r + 1"),
        ("conv2d_input_gradient", "col2im_gemm", "p * stride_h != across ||", ""),
        ("conv2d_filter_gradient", "im2col_gemm", "w < W)", "w < W - 1)"),
    ],
)
def test_a_fault_in_the_columns_is_caught(monkeypatch, primitive, row, before, after):
    faulty(monkeypatch, cuda_conv_columns, "text_of", before, after)
    request, operands = case_of(
        primitive, (2, 3, 9, 8), (4, 3, 3, 2), stride=(2, 1), padding=((2, 1), (1, 0))
    )
    assert worst_of_rows(primitive, request, operands)[row] > 1e-3


def test_padding_that_the_library_is_told_wrongly_is_caught():
    class Shifted(EmulatedDriver):
        def convolution(self, request):
            (top, bottom), across = request.padding
            return super().convolution(replace(request, padding=((bottom, top), across)))

    driver = Shifted()
    request, operands = case_of(
        "conv2d", (1, 3, 8, 8), (2, 3, 3, 3), padding=((2, 0), (1, 1)), driver=driver
    )
    assert worst_of_rows("conv2d", request, operands, driver)["cudnn"] > 0.1


def test_the_transforms_are_generated_from_the_algebra():
    text = cuda_winograd_text.winograd_text()
    for name in ("image", "gradient", "result", "filter", "taps"):
        assert text.count(f"void product_{name}(") == 1


# Capture -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_all_rows_can_be_captured_and_replayed(primitive):
    request, operands = case_of(primitive, (2, 4, 9, 8), (3, 4, 3, 3), layout="NHWC", relu=True)
    expected = rows.reference(request, operands, primitive)
    for row in rows.candidates(primitive, request):
        prepared = row.prepare(request)
        held = [rows.device_array(DRIVER, each) for each in operands]
        out = rows.empty_array(DRIVER, request.outputs[0].shape, "float32")
        room = rows.empty_array(DRIVER, (prepared.workspace_bytes,), "uint8")
        DRIVER.begin_capture()
        prepared.run(out, *held, room)
        graph = DRIVER.end_capture()
        graph.launch()
        first = rows.on_host(DRIVER, out)
        graph.launch()
        assert rows.on_host(DRIVER, out).tobytes() == first.tobytes()
        assert rows.error_of(first, expected) < TOLERANCES["float32"], row.name
