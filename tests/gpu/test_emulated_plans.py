"""The emulated library plans against sums written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from emulator import EmulatedDriver
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.gpu.driver import ConvolutionRequest, DeviceError, MatmulRequest, NoPlanError

IMAGES = {"NCHW": "nchw->nchw", "NHWC": "nchw->nhwc"}
FILTERS = {"KCRS": "kcrs->kcrs", "RSCK": "kcrs->rsck", "KRSC": "kcrs->krsc"}


def on_device(driver, array):
    made = driver.allocate(array.nbytes)
    driver.copy_to_device(made.pointer, np.ascontiguousarray(array))
    return made


def run(driver, plan, out_shape, operands, dtype):
    """The result of a plan for these operands."""
    blocks = [on_device(driver, each.astype(dtype)) for each in operands]
    out = driver.allocate(int(np.prod(out_shape)) * np.dtype(dtype).itemsize)
    space = driver.allocate(plan.workspace_bytes)
    plan.run([out.pointer, *(each.pointer for each in blocks)], space.pointer)
    host = np.empty(out_shape, dtype)
    driver.copy_to_host(host, out.pointer)
    driver.check()
    return host


def nested_sums(x, w, stride, padding, P, Q):
    """y [N, K, P, Q], term by term."""
    y = np.zeros((x.shape[0], w.shape[0], P, Q))
    for p, q, r, s in itertools.product(range(P), range(Q), *map(range, w.shape[2:])):
        h, v = p * stride[0] - padding[0][0] + r, q * stride[1] - padding[1][0] + s
        if 0 <= h < x.shape[2] and 0 <= v < x.shape[3]:
            y[:, :, p, q] += x[:, :, h, v] @ w[:, :, r, s].T
    return y


sizes = st.integers(1, 3)


@st.composite
def convolutions(draw):
    N, C, K, R, S = (draw(sizes) for _ in range(5))
    stride = (draw(sizes), draw(sizes))
    padding = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(2))
    H = draw(st.integers(max(1, R - sum(padding[0])), 7))
    W = draw(st.integers(max(1, S - sum(padding[1])), 7))
    return ConvolutionRequest(
        draw(st.sampled_from(["forward", "input_gradient", "filter_gradient"])),
        *(N, C, H, W, K, R, S),
        (H + sum(padding[0]) - R) // stride[0] + 1,
        (W + sum(padding[1]) - S) // stride[1] + 1,
        stride,
        padding,
        draw(st.sampled_from(list(IMAGES))),
        draw(st.sampled_from(list(FILTERS))),
        draw(st.sampled_from(["float32", "float64"])),
        bias=draw(st.booleans()),
        relu=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_a_convolution_is_the_sum_that_it_is_defined_as(r):
    rng = np.random.default_rng([r.N, r.C, r.H, r.W])
    x = rng.standard_normal((r.N, r.C, r.H, r.W))
    w = rng.standard_normal((r.K, r.C, r.R, r.S))
    g = rng.standard_normal((r.N, r.K, r.P, r.Q))
    b = rng.standard_normal(r.K)
    driver = EmulatedDriver()
    images = {name: np.einsum(IMAGES[r.layout], each) for name, each in (("x", x), ("g", g))}
    filters = np.einsum(FILTERS[r.filter_layout], w)
    tolerance = (
        {"rtol": 1e-4, "atol": 1e-4} if r.dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    )

    def computed(out_like, *operands):
        return run(driver, driver.convolution(r), out_like.shape, operands, r.dtype)

    def convolved(x, w):
        return nested_sums(x, w, r.stride, r.padding, r.P, r.Q)

    if r.kind == "forward":
        y = convolved(x, w) + (b.reshape(-1, 1, 1) if r.bias else 0)
        y = np.maximum(y, 0) if r.relu else y
        found = computed(images["g"], images["x"], filters, *([b] if r.bias else []))
        np.testing.assert_allclose(found, np.einsum(IMAGES[r.layout], y), **tolerance)
        return
    # <g, x * w> is linear in each of x and w: the gradients are its derivatives.
    if r.kind == "input_gradient":
        found, direction = computed(images["x"], images["g"], filters), rng.standard_normal(x.shape)
        moved, along = convolved(direction, w), np.einsum(IMAGES[r.layout], direction)
    else:
        found, direction = computed(filters, images["x"], images["g"]), rng.standard_normal(w.shape)
        moved, along = convolved(x, direction), np.einsum(FILTERS[r.filter_layout], direction)
    np.testing.assert_allclose((found * along).sum(), (g * moved).sum(), **tolerance)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(sizes, sizes, sizes, sizes),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 1.0, -0.5]),
    st.sampled_from(["float32", "float64"]),
)
def test_a_product_is_what_the_request_says(shape, ta, tb, bias, relu, accumulate, dtype):
    m, n, k, batch = shape
    rng = np.random.default_rng(shape)
    a, b = rng.standard_normal((batch, m, k)), rng.standard_normal((batch, k, n))
    c, v = rng.standard_normal((batch, m, n)), rng.standard_normal(n)
    expected = accumulate * c + 2.5 * np.einsum("zmk,zkn->zmn", a, b) + (v if bias else 0)
    expected = np.maximum(expected, 0) if relu else expected
    request = MatmulRequest(
        *(m, n, k, dtype, ta, tb, batch, bias, relu, 2.5, accumulate),
    )
    operands = [a.swapaxes(1, 2) if ta else a, b.swapaxes(1, 2) if tb else b]
    operands += ([c] if accumulate else []) + ([v] if bias else [])
    driver = EmulatedDriver()
    found = run(driver, driver.matmul(request), expected.shape, operands, dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_tf32_rounds_to_ten_bits_and_strict_does_not():
    a = np.array([[1 + 2.0**-12]])
    for precision, expected in (("fp32", 1 + 2.0**-11), ("tf32", 1.0)):
        driver = EmulatedDriver()
        plan = driver.matmul(MatmulRequest(1, 1, 1, "float32", precision=precision))
        assert run(driver, plan, (1, 1), [a, a], "float32")[0, 0] == expected


def test_a_plan_looks_at_its_operands():
    driver = EmulatedDriver()
    plan = driver.matmul(MatmulRequest(4, 4, 4, "float32"))
    whole, half = driver.allocate(4096), driver.allocate(32)
    with pytest.raises(DeviceError, match="64 bytes at"):
        plan.run([whole.pointer, whole.pointer, half.pointer], whole.pointer)
    with pytest.raises(DeviceError, match="workspace"):
        plan.run([whole.pointer, whole.pointer, whole.pointer], half.pointer)
    with pytest.raises(ValueError, match="3 operands, 2 addresses"):
        plan.run([whole.pointer, whole.pointer], whole.pointer)


def test_a_plan_refuses_operands_that_libraries_would_read_across():
    """cuBLASLt was told how far every address is aligned, and chose its loads by that."""
    driver = EmulatedDriver()
    plan = driver.matmul(MatmulRequest(2, 2, 2, "float32"))
    block = driver.allocate(256)
    addresses = [block.pointer, block.pointer + 16, block.pointer + 36]
    with pytest.raises(DeviceError, match="expected addresses that are multiples of 16"):
        plan.run(addresses, driver.allocate(plan.workspace_bytes).pointer)


def test_there_may_be_no_library():
    request = ConvolutionRequest(
        "forward", 1, 1, 1, 1, 1, 1, 1, 1, 1, (1, 1), ((0, 0), (0, 0)), "NCHW", "KCRS", "float32"
    )
    assert EmulatedDriver().convolution(request).name == "numpy_convolution"
    with pytest.raises(NoPlanError, match="switched off"):
        EmulatedDriver(convolution_library=False).convolution(request)
