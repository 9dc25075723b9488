"""What kernels promise beyond their values: determinism, accuracy, small workspaces, NaN."""

from __future__ import annotations

import subprocess
import sys

import kernel_cases as cases
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl_engines.kernels.axes import collapse, merge_axes
from benchctl_engines.kernels.table import KernelRequest, select
from benchctl_engines.primitives.specs import spec


def run_selected(primitive, operands, outputs, attributes):
    """Outputs of the first row that takes the operands; `outputs` are (shape, dtype)."""
    request = KernelRequest(
        tuple(spec(each.shape, str(each.dtype)) for each in operands),
        tuple(spec(*each) for each in outputs),
        attributes,
        2,
    )
    return cases.run_kernel(select(primitive, "cpu", request), request, operands)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((300_000,), (0,)), ((40, 9000), (1,)), ((9000, 40), (0,)), ((3, 16, 50, 50), (0, 2, 3))],
)
def test_sums_do_not_depend_on_the_number_of_threads(shape, axes):
    x = cases.draw(*shape).astype(np.float32)
    kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    attributes = {"axes": axes, "keepdims": False}
    before = numba.get_num_threads()
    results = set()
    try:
        for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
            numba.set_num_threads(threads)
            (total,) = run_selected("sum", [x], [(kept, "float32")], attributes)
            results.add(total.tobytes())
    finally:
        numba.set_num_threads(before)
    assert len(results) == 1


@pytest.mark.parametrize(("shape", "axes"), [((2_000_000,), (0,)), ((250_000, 8), (0,))])
def test_float32_sums_are_as_exact_as_the_result_can_be(shape, axes):
    x = (cases.draw(*shape) + 100).astype(np.float32)
    kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    attributes = {"axes": axes, "keepdims": False}
    (total,) = run_selected("sum", [x], [(kept, "float32")], attributes)
    exact = x.astype(np.longdouble).sum(axis=axes)
    assert np.max(np.abs(total - exact) / exact) <= np.finfo(np.float32).eps / 2


def test_an_update_never_holds_the_whole_product():
    w, a, b = (
        spec((25088, 4096), "float32"),
        spec((16, 25088), "float32"),
        spec((16, 4096), "float32"),
    )
    attributes = {"transpose_a": True, "transpose_b": False, "scale": 0.01}
    request = KernelRequest((w, a, b), (w,), attributes, 2)
    prepared = select("matmul_update", "cpu", request).prepare(request)
    assert prepared.workspace_bytes <= w.nbytes / 100


POOLING = {
    "window": (2, 2),
    "stride": (2, 2),
    "padding": ((0, 0), (0, 0)),
}


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pooling_keeps_nan_and_the_first_of_equals(layout):
    x = np.array([[1, 1, 3, np.nan], [1, 0, 4, np.nan]], np.float32)
    images = np.ascontiguousarray(cases.from_nchw(x[None, None], layout))
    shape = cases.from_nchw(np.empty((1, 1, 1, 2)), layout).shape
    outputs = [(shape, "float32"), (shape, "uint8")]
    y, offsets = run_selected("max_pool2d", [images], outputs, {**POOLING, "layout": layout})
    assert np.array_equal(y.ravel(), [1, np.nan], equal_nan=True)
    assert offsets.ravel().tolist() == [0, 1]


@pytest.mark.parametrize("relu", [False, True])
def test_epilogues_keep_nan(relu):
    a, b = np.array([[np.nan], [-1.0]]), np.array([[1.0]])
    attributes = {"transpose_a": False, "transpose_b": False, "relu": relu}
    (y,) = run_selected("matmul_epilogue", [a, b, np.zeros(1)], [((2, 1), "float64")], attributes)
    assert np.isnan(y[0, 0]) and y[1, 0] == (0 if relu else -1)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_outside_the_classes_is_an_error(label):
    logits, labels = np.zeros((2, 3), np.float32), np.array([0, label])
    with pytest.raises(IndexError, match="label outside"):
        run_selected(
            "softmax_cross_entropy",
            [logits, labels],
            [((), "float32"), ((2, 3), "float32")],
            {},
        )


def test_huge_logits_do_not_overflow():
    logits, labels = np.array([[1e30, -1e30, 0]], np.float32), np.array([1])
    outputs = [((), "float32"), ((1, 3), "float32")]
    loss, p = run_selected("softmax_cross_entropy", [logits, labels], outputs, {})
    assert np.isfinite(loss) and p.tolist() == [[1, 0, 0]]


@given(
    st.lists(st.integers(1, 3), max_size=5).flatmap(
        lambda s: st.tuples(st.just(tuple(s)), st.permutations(range(len(s))))
    )
)
def test_merged_axes_describe_the_same_transposition(setting):
    shape, axes = setting
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    sizes, order = merge_axes(shape, tuple(axes))
    assert np.array_equal(x.reshape(sizes).transpose(order).ravel(), x.transpose(axes).ravel())


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=5))
def test_collapsed_axes_describe_the_same_sum(setting):
    shape = tuple(size for size, _ in setting)
    axes = tuple(axis for axis, (_, summed) in enumerate(setting) if summed)
    x = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    runs = collapse(shape, axes)
    merged = x.reshape([size for _, size in runs])
    summed = tuple(axis for axis, (each, _) in enumerate(runs) if each)
    assert np.array_equal(np.sum(merged, axis=summed).ravel(), np.sum(x, axis=axes).ravel())


def test_loading_the_kernel_modules_leaves_numba_alone():
    modules = ["convolution", "gemm", "pooling", "losses"]
    modules += ["reductions", "shaping", "random", "state"]
    lines = [f"import benchctl_engines.kernels.cpu_{module}" for module in modules]
    lines += ["import benchctl_engines.kernels.reference", "import sys"]
    lines += ["assert 'numba' not in sys.modules"]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
