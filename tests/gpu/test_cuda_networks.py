"""Pooling and losses of a GPU against the CPU's kernels, with the values that networks meet."""

from __future__ import annotations

import shutil

import gpu_kernels as gpu
import kernel_cases as cases
import numpy as np
import pytest
from emulator import EmulatedDriver
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl_engines.primitives.primitive import PRIMITIVES
from benchctl_engines.primitives.specs import spec

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

DRIVER = EmulatedDriver(2**28, seed=1)
few = settings(max_examples=25, deadline=None)


def run_all(primitive, operands, attributes, offset=0):
    """The outputs of every row that takes the operands, and those of the CPU."""
    inputs = [spec(each.shape, str(each.dtype)) for each in operands]
    outputs = list(PRIMITIVES[primitive].output_specs(inputs, attributes))
    request = gpu.request_for(DRIVER, operands, outputs, attributes)
    rows = gpu.taking(request, primitive)
    made = [gpu.run_row(DRIVER, row, request, operands, offset=offset) for row in rows]
    assert made, f"no row takes {primitive}"
    return made, gpu.run_cpu(primitive, operands, outputs, attributes)


def same(actual, expected):
    for mine, other in zip(actual, expected, strict=True):
        assert mine.dtype == other.dtype
        assert np.array_equal(mine, other, equal_nan=mine.dtype.kind == "f")


# ----- pooling ----------------------------------------------------------------------------------


@st.composite
def poolings(draw):
    """(shape, attributes): small images, any window that fits, often 2x2."""
    layout = draw(st.sampled_from(["NCHW", "NHWC"]))
    C = draw(st.sampled_from([1, 3, 4, 8]))
    if draw(st.booleans()):
        H, W = draw(st.integers(2, 9)), draw(st.integers(2, 9))
        window = stride = (2, 2)
        padding = ((0, 0), (0, 0))
    else:
        window = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        padding = tuple(
            draw(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))) for size in window
        )
        H, W = draw(st.integers(window[0], 9)), draw(st.integers(window[1], 9))
    shape = (2, C, H, W) if layout == "NCHW" else (2, H, W, C)
    return shape, {"window": window, "stride": stride, "padding": padding, "layout": layout}


@few
@given(poolings(), st.sampled_from(["float32", "float64"]), st.sampled_from([0, 8]))
def test_pooling_and_its_derivatives_are_those_of_the_cpu(pooling, dtype, offset):
    shape, attributes = pooling
    rng = np.random.default_rng(7)
    # Few values, so that many are equal, and some that are NaN or infinite.
    x = np.asarray(rng.choice([-1, 0, 0.5, 2, np.nan, np.inf, -np.inf], shape), dtype)
    made, expected = run_all("max_pool2d", [x], attributes, offset)
    for each in made:
        same(each, expected)
    offsets = expected[1]
    g = np.asarray(rng.standard_normal(offsets.shape), dtype)
    gradients = {**attributes, "input_shape": shape}
    made, expected = run_all("max_pool2d_gradient", [g, offsets], gradients, offset)
    for each in made:
        same(each, expected)
    made, expected = run_all("max_pool2d_gather", [x, offsets], attributes, offset)
    for each in made:
        same(each, expected)


def test_networks_get_the_fast_forms():
    attributes = {"window": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0))}
    for layout, shape, form in (
        ("NCHW", (2, 64, 14, 14), "2x2_planes"),
        ("NHWC", (2, 14, 14, 64), "2x2_channels"),
    ):
        own = {**attributes, "layout": layout}
        x = spec(shape, "float32")
        outputs = PRIMITIVES["max_pool2d"].output_specs([x], own)
        request = gpu.request_for(DRIVER, [np.empty(shape, "float32")], list(outputs), own)
        assert gpu.first_row(request, "max_pool2d").name == form
        back = {**own, "input_shape": shape}
        operands = [np.empty(outputs[0].shape, "float32"), np.empty(outputs[0].shape, "uint8")]
        request = gpu.request_for(DRIVER, operands, [x], back)
        assert gpu.first_row(request, "max_pool2d_gradient").name == form


# ----- losses -----------------------------------------------------------------------------------


@few
@given(
    st.integers(1, 70),
    st.sampled_from([1, 2, 10, 33, 1000]),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["int32", "int64"]),
    st.sampled_from([1.0, 50.0, 1e30]),
)
def test_losses_and_their_derivatives(N, classes, dtype, label_dtype, size):
    rng = np.random.default_rng(N)
    logits = np.asarray(rng.standard_normal((N, classes)) * size, dtype)
    labels = np.asarray(rng.integers(0, classes, N), label_dtype)
    (made,), _ = run_all("softmax_cross_entropy", [logits, labels], {})
    loss, p = made
    exact_loss, exact_p = _loss(logits.astype(np.float64), labels)
    eps = np.finfo(dtype).eps
    assert abs(loss - exact_loss) <= 8 * eps * (1 + abs(exact_loss))
    # exp's argument was rounded, by up to its size times eps.
    assert np.all(np.abs(p - exact_p) <= 500 * eps * exact_p + np.finfo(dtype).tiny)

    u, g = np.asarray(rng.standard_normal(logits.shape), dtype), np.array(1.5, dtype)
    name = "softmax_cross_entropy_gradient"
    (made,), expected = run_all(name, [logits, p, labels, g], {})
    same(made, expected)
    exact = [each.astype(np.float64) for each in (u, logits, p)]
    (made,), _ = run_all(f"{name}_input", [u, logits, p, g], {})
    wanted = cases.loss_gradient_input_oracle(*exact, 1.5)
    assert np.allclose(made[0], wanted, rtol=0, atol=4 * eps * (np.abs(wanted).max() + 1 / N))
    (made,), _ = run_all(f"{name}_seed", [u, logits, p, labels], {})
    wanted = cases.loss_gradient_seed_oracle(*exact, labels)
    assert abs(made[0] - wanted) <= 4 * eps * np.abs(u).sum()


def _loss(logits, labels):
    """(mean of -log softmax(logits)[label], softmax) without the logarithm of what may be 0."""
    shifted = logits - logits.max(1, keepdims=True)
    partition = np.exp(shifted).sum(1, keepdims=True)
    losses = np.log(partition[:, 0]) - shifted[np.arange(len(labels)), labels]
    return losses.mean(), np.exp(shifted) / partition


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_classes_makes_the_loss_nan(label):
    logits, labels = np.zeros((2, 3), np.float32), np.array([0, label])
    outputs = [spec((), "float32"), spec((2, 3), "float32")]
    request = gpu.request_for(DRIVER, [logits, labels], outputs, {})
    row = gpu.first_row(request, "softmax_cross_entropy")
    loss, p = gpu.run_row(DRIVER, row, request, [logits, labels])
    assert np.isnan(loss) and np.allclose(p, 1 / 3)


def test_nan_logits_make_nan_losses():
    logits, labels = np.array([[0, np.nan, 1]], np.float32), np.array([2])
    outputs = [spec((), "float32"), spec((1, 3), "float32")]
    request = gpu.request_for(DRIVER, [logits, labels], outputs, {})
    row = gpu.first_row(request, "softmax_cross_entropy")
    assert np.isnan(gpu.run_row(DRIVER, row, request, [logits, labels])[0])
