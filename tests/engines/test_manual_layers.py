"""Pooling, dense layers and the loss of the hand-written steps against brute force and SciPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from benchctl_engines.manual.layers import (
    add_bias,
    bias_gradient,
    dense,
    dense_backward,
    relu,
    relu_backward,
    sgd_update,
    softmax_cross_entropy,
)
from benchctl_engines.manual.pooling import max_pool2d, max_pool2d_backward


def pool_by_enumeration(x, dy, window, stride):
    """Pooling and its gradient in layout NCHW; the first of equal elements gets the gradient."""
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    for n, c, p, q in np.ndindex(*dy.shape):
        top, left = p * stride[0], q * stride[1]
        part = x[n, c, top : top + window[0], left : left + window[1]]
        r, s = np.unravel_index(np.argmax(part), part.shape)
        y[n, c, p, q] = part[r, s]
        dx[n, c, top + r, left + s] += dy[n, c, p, q]
    return y, dx


@settings(max_examples=60, deadline=None)
@given(
    window=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    seed=st.integers(0, 1000),
)
def test_pooling_with_ties_and_overlapping_windows(window, stride, size, layout, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (2, 3, *size)).astype(float)  # few values: many ties
    P, Q = ((size[i] - window[i]) // stride[i] + 1 for i in range(2))
    dy = rng.standard_normal((2, 3, P, Q))
    expected_y, expected_dx = pool_by_enumeration(x, dy, window, stride)
    to_layout, back = ((0, 1, 2, 3),) * 2 if layout == "NCHW" else ((0, 2, 3, 1), (0, 3, 1, 2))
    x, dy = x.transpose(to_layout), dy.transpose(to_layout)
    y = max_pool2d(x, window, stride, layout)
    dx = max_pool2d_backward(x, y, dy, window, stride, layout)
    assert np.array_equal(y.transpose(back), expected_y)
    np.testing.assert_allclose(dx.transpose(back), expected_dx, atol=1e-15)


def test_softmax_cross_entropy_against_scipy():
    rng = np.random.default_rng(2)
    logits, labels = rng.standard_normal((5, 7)) * 3, rng.integers(0, 7, 5)
    loss, gradient = softmax_cross_entropy(logits, labels)
    each = np.arange(5)
    np.testing.assert_allclose(loss, -log_softmax(logits, axis=1)[each, labels].mean())
    expected = softmax(logits, axis=1)
    expected[each, labels] -= 1
    np.testing.assert_allclose(gradient, expected / 5, atol=1e-15)


def test_softmax_cross_entropy_of_large_logits_is_finite():
    loss, gradient = softmax_cross_entropy(np.float32([[1000, 0], [-1000, 0]]), np.array([1, 1]))
    assert float(loss) == 500
    assert loss.dtype == gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, [[0.5, -0.5], [0, 0]])


def test_dense_layer_against_sums():
    rng = np.random.default_rng(3)
    x, w, b = rng.standard_normal((4, 3)), rng.standard_normal((3, 5)), rng.standard_normal(5)
    dy = rng.standard_normal((4, 5))
    np.testing.assert_allclose(dense(x, w, b), np.einsum("ni,io->no", x, w) + b)
    dx, dw, db = dense_backward(x, w, dy)
    np.testing.assert_allclose(dx, np.einsum("no,io->ni", dy, w))
    np.testing.assert_allclose(dw, np.einsum("ni,no->io", x, dy))
    np.testing.assert_allclose(db, [sum(column) for column in dy.T])


def test_bias_in_both_layouts():
    rng = np.random.default_rng(4)
    y, b = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal(3)
    last = np.ascontiguousarray(y.transpose(0, 2, 3, 1))
    expected = np.stack([y[:, k] + b[k] for k in range(3)], axis=1)
    np.testing.assert_allclose(bias_gradient(y, "NCHW"), [y[:, k].sum() for k in range(3)])
    np.testing.assert_allclose(bias_gradient(last, "NHWC"), bias_gradient(y, "NCHW"))
    add_bias(y, b, "NCHW")
    add_bias(last, b, "NHWC")
    assert np.array_equal(y, expected)
    assert np.array_equal(last.transpose(0, 3, 1, 2), expected)


def test_relu_and_the_gradient_at_zero():
    x = np.array([-1.0, 0.0, 2.0])
    relu(x)
    assert x.tolist() == [0, 0, 2]
    dy = np.array([5.0, 6.0, 7.0])
    relu_backward(x, dy)
    assert dy.tolist() == [0, 0, 7]


def test_sgd_update_is_in_place():
    parameter = np.float32([1, 2])
    same = parameter
    sgd_update(parameter, np.float32([10, -10]), 0.1)
    assert same is parameter
    np.testing.assert_allclose(parameter, [0, 3])
    assert parameter.dtype == np.float32
