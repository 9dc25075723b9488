"""The convolution of the hand-written steps against six nested sums."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchctl_engines.manual.convolution import conv2d, conv2d_backward, conv2d_filter_gradient


def six_sums(x, w, dy, stride, padding):
    """y, dx and dw in layout NCHW, one product at a time."""
    N, C, H, W = x.shape
    K, _, R, S = w.shape
    _, _, P, Q = dy.shape
    y, dx, dw = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(w)
    for n, k, p, q, c, r, s in np.ndindex(N, K, P, Q, C, R, S):
        h, v = p * stride[0] + r - padding[0][0], q * stride[1] + s - padding[1][0]
        if 0 <= h < H and 0 <= v < W:
            y[n, k, p, q] += x[n, c, h, v] * w[k, c, r, s]
            dx[n, c, h, v] += dy[n, k, p, q] * w[k, c, r, s]
            dw[k, c, r, s] += dy[n, k, p, q] * x[n, c, h, v]
    return y, dx, dw


def images(array, layout):
    return array if layout == "NCHW" else np.ascontiguousarray(array.transpose(0, 2, 3, 1))


def filters(array, layout):
    return array if layout == "NCHW" else np.ascontiguousarray(array.transpose(2, 3, 1, 0))


def drawn(N, C, K, size, window, stride, padding, seed=0):
    """Arrays x, w and dy in layout NCHW for these sizes."""
    rng = np.random.default_rng(seed)
    P, Q = (
        (size[i] + sum(padding[i]) - window[i]) // stride[i] + 1 for i in range(2)
    )  # positions of the window
    x = rng.standard_normal((N, C, *size))
    return x, rng.standard_normal((K, C, *window)), rng.standard_normal((N, K, P, Q))


def assert_equals_six_sums(x, w, dy, stride, padding, layout):
    y, dx, dw = six_sums(x, w, dy, stride, padding)
    operands = images(x, layout), filters(w, layout)
    cotangent = images(dy, layout)
    np.testing.assert_allclose(
        conv2d(*operands, stride, padding, layout), images(y, layout), rtol=1e-11, atol=1e-12
    )
    gradients = conv2d_backward(*operands, cotangent, stride, padding, layout)
    np.testing.assert_allclose(gradients[0], images(dx, layout), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(gradients[1], filters(dw, layout), rtol=1e-11, atol=1e-12)
    alone = conv2d_filter_gradient(*operands, cotangent, stride, padding, layout)
    assert np.array_equal(alone, gradients[1])


small = st.integers(1, 3)
pair = st.tuples(small, small)
pads = st.tuples(st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=60, deadline=None)
@given(
    channels=pair,
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    window=pair,
    stride=pair,
    padding=st.tuples(pads, pads),
    N=st.integers(1, 2),
    layout=st.sampled_from(["NCHW", "NHWC"]),
)
def test_any_stride_padding_and_filter(channels, size, window, stride, padding, N, layout):
    for i in range(2):
        assume(size[i] + sum(padding[i]) >= window[i])
    arrays = drawn(N, *channels, size, window, stride, padding)
    assert_equals_six_sums(*arrays, stride, padding, layout)


def test_a_filter_as_large_as_its_input():
    for layout in ("NCHW", "NHWC"):
        arrays = drawn(3, 2, 4, (3, 2), (3, 2), (1, 1), ((0, 0), (0, 0)))
        assert_equals_six_sums(*arrays, (1, 1), ((0, 0), (0, 0)), layout)


def test_filters_that_are_not_contiguous():
    x, w, dy = drawn(2, 3, 4, (5, 5), (3, 3), (1, 1), ((1, 1), (1, 1)))
    w = np.asfortranarray(w)
    dw = conv2d_backward(x, w, dy, padding=((1, 1), (1, 1)))[1]
    np.testing.assert_allclose(dw, six_sums(x, w, dy, (1, 1), ((1, 1), (1, 1)))[2], rtol=1e-11)


def test_float32_stays_float32():
    x, w, dy = (
        each.astype(np.float32) for each in drawn(1, 2, 3, (4, 4), (3, 3), (1, 1), ((1, 1), (1, 1)))
    )
    y = conv2d(x, w, padding=((1, 1), (1, 1)))
    dx, dw = conv2d_backward(x, w, dy, padding=((1, 1), (1, 1)))
    assert y.dtype == dx.dtype == dw.dtype == np.float32
