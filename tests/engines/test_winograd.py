"""Winograd convolution: exact algebra, every tile size, pooling, bound filters, error gates."""

from __future__ import annotations

from fractions import Fraction

import kernel_cases as cases
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl_engines.kernels import winograd_plan
from benchctl_engines.kernels.table import KernelRequest, select
from benchctl_engines.kernels.winograd_algebra import emit_product, transforms, transposed
from benchctl_engines.primitives.specs import spec

SIDES = (4, 6)
LAYOUTS = ("NCHW", "NHWC")
# Relative to the norm of the result; F(6x6) has larger numbers in its matrices.
GATES = {4: 6e-6, 6: 1e-5}


class ExactOperations:
    """The vector operations on fractions, for `emit_product`."""

    def add(self, left, right):
        return left + right

    def subtract(self, left, right):
        return left - right

    def multiply(self, left, right):
        return left * right

    def constant(self, value):
        return Fraction(value).limit_denominator(10_000)

    def multiply_add(self, left, right, added):
        return left * right + added


def apply(matrix, values):
    return [sum((a * b for a, b in zip(row, values, strict=True)), Fraction(0)) for row in matrix]


fractions = st.integers(-20, 20).map(lambda number: Fraction(number, 3))


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (6, 3), (2, 5), (4, 5)])
@given(st.data())
def test_minimal_filtering_is_the_correlation_exactly(m, r, data):
    d = data.draw(st.lists(fractions, min_size=m + r - 1, max_size=m + r - 1))
    g = data.draw(st.lists(fractions, min_size=r, max_size=r))
    matrices = transforms(m, r)
    product = [
        a * b for a, b in zip(apply(matrices.filter, g), apply(matrices.input, d), strict=True)
    ]
    direct = [sum((d[k + tap] * g[tap] for tap in range(r)), Fraction(0)) for k in range(m)]
    assert apply(matrices.output, product) == direct


@pytest.mark.parametrize(("m", "r"), [(4, 3), (6, 3), (4, 5)])
@pytest.mark.parametrize("name", ["input", "filter", "output"])
@pytest.mark.parametrize("turned", [False, True])
@given(st.data())
def test_the_emitted_operations_are_the_matrix(m, r, name, turned, data):
    matrix = getattr(transforms(m, r), name)
    matrix = transposed(matrix) if turned else matrix
    values = data.draw(st.lists(fractions, min_size=len(matrix[0]), max_size=len(matrix[0])))
    assert emit_product(matrix, values, ExactOperations()) == apply(matrix, values)


def forced(monkeypatch, m):
    monkeypatch.setattr(winograd_plan, "choose_side", lambda problem, frozen: m)
    monkeypatch.setattr(winograd_plan, "choose_gradient_side", lambda problem: m)


def request_for(primitive, operands, result, layout, threads=2, **attributes):
    return KernelRequest(
        tuple(spec(each.shape, "float32") for each in operands),
        (spec(result, "float32"),),
        {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "layout": layout, **attributes},
        threads,
    )


def run(primitive, operands, result, layout, bound=(), **options):
    request = request_for(primitive, operands, result, layout, **options)
    row = select(primitive, "cpu", request)
    assert row.name == "winograd"
    prepared = row.prepare(request)
    if bound:
        prepared = prepared.bind({number: operands[number] for number in bound})
        # What is bound is not read again.
        operands = [
            np.full_like(each, np.nan) if number in bound and number == 1 else each
            for number, each in enumerate(operands)
        ]
    out = np.full(result, np.nan, np.float32)
    prepared.run(out, *operands, *cases.workspace_of(prepared.workspace_bytes))
    return out


def operands_of(N, C, H, W, K, layout, filter_layout=None):
    x = np.ascontiguousarray(cases.from_nchw(cases.draw(N, C, H, W), layout), np.float32)
    w = cases.draw(K, C, 3, 3) / np.sqrt(9 * C)
    w = np.ascontiguousarray(cases.from_kcrs(w, filter_layout or layout), np.float32)
    g = np.ascontiguousarray(cases.from_nchw(cases.draw(N, K, H, W, seed=1), layout), np.float32)
    return x, w, g


def exact(oracle, *operands, layout, **attributes):
    doubles = [each.astype(np.float64) for each in operands]
    window = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "layout": layout}
    return oracle(*doubles, **window, **attributes)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("m", SIDES)
@pytest.mark.parametrize("channels", [32, 512])
def test_errors_stay_below_the_gate(monkeypatch, m, layout, channels):
    forced(monkeypatch, m)
    x, w, g = operands_of(2, channels, 25, 19, 64, layout)
    y = exact(cases.conv_forward, x, w, layout=layout)
    made = run("conv2d", (x, w), g.shape, layout)
    assert cases.worst_error(made, y) < GATES[m]
    dx = exact(cases.conv_input_gradient, g, w, layout=layout, input_shape=x.shape)
    made = run("conv2d_input_gradient", (g, w), x.shape, layout, input_shape=x.shape)
    assert cases.worst_error(made, dx) < GATES[m]
    dw = exact(cases.conv_filter_gradient, x, g, layout=layout, filter_shape=w.shape)
    made = run("conv2d_filter_gradient", (x, g), w.shape, layout, filter_shape=w.shape)
    assert cases.worst_error(made, dw) < GATES[m]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shared", [False, True])
def test_blocks_of_either_kind_and_any_size_agree(monkeypatch, layout, shared):
    x, w, g = operands_of(3, 64, 26, 23, 32, layout)
    whole = run("conv2d", (x, w), g.shape, layout)
    monkeypatch.setattr(winograd_plan, "SHARED_FILTER_BYTES", 0 if shared else 1 << 40)
    for size in (1, 100_000, 1_000_000):
        monkeypatch.setattr(winograd_plan, "OWN_BLOCK_BYTES", size)
        monkeypatch.setattr(winograd_plan, "SHARED_BLOCK_BYTES", size)
        for threads in (1, 2, 3):
            made = run("conv2d", (x, w), g.shape, layout, threads=threads)
            assert made.tobytes() == whole.tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("m", SIDES)
@pytest.mark.parametrize("size", [(24, 24), (25, 19), (26, 23)])
@pytest.mark.parametrize("relu", [False, True])
def test_pooling_in_the_transform_is_pooling_afterwards(monkeypatch, layout, m, size, relu):
    forced(monkeypatch, m)
    x, w, g = operands_of(2, 64, *size, 32, layout)
    b = cases.draw(32, seed=2).astype(np.float32)
    full = run("conv2d_epilogue", (x, w, b), g.shape, layout, relu=relu)
    nchw = cases.to_nchw(full, layout)
    P, Q = size[0] // 2, size[1] // 2
    squares = nchw[:, :, : 2 * P, : 2 * Q].reshape(2, 32, P, 2, Q, 2)
    expected = cases.from_nchw(squares.max((3, 5)), layout)
    made = run("conv2d_epilogue", (x, w, b), expected.shape, layout, relu=relu, pool=True)
    assert np.abs(made - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("m", SIDES)
def test_bound_filters_give_the_same_and_are_not_read(monkeypatch, layout, m):
    forced(monkeypatch, m)
    x, w, g = operands_of(2, 64, 25, 19, 32, layout)
    b = cases.draw(32, seed=2).astype(np.float32)
    given_each_time = run("conv2d_epilogue", (x, w, b), g.shape, layout, relu=True)
    bound = run("conv2d_epilogue", (x, w, b), g.shape, layout, relu=True, bound=(1,))
    assert bound.tobytes() == given_each_time.tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_filters_stored_the_other_way_give_the_same(layout):
    other = "NHWC" if layout == "NCHW" else "NCHW"
    x, w, g = operands_of(2, 64, 25, 19, 32, layout)
    _, v, _ = operands_of(2, 64, 25, 19, 32, layout, filter_layout=other)
    for primitive, image, shape in (
        ("conv2d", x, g.shape),
        ("conv2d_input_gradient", g, x.shape),
    ):
        extra = {"input_shape": x.shape} if primitive.endswith("gradient") else {}
        same = run(primitive, (image, w), shape, layout, **extra)
        made = run(primitive, (image, v), shape, layout, filter_layout=other, **extra)
        assert made.tobytes() == same.tobytes()
    same = run("conv2d_filter_gradient", (x, g), w.shape, layout, filter_shape=w.shape)
    options = {"filter_shape": v.shape, "filter_layout": other}
    made = run("conv2d_filter_gradient", (x, g), v.shape, layout, **options)
    turned = cases.from_kcrs(cases.to_kcrs(same, layout), other)
    assert np.ascontiguousarray(turned).tobytes() == made.tobytes()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("pool", [False, True])
def test_nan_reaches_what_it_touches(layout, pool):
    x, w, g = operands_of(2, 64, 24, 24, 32, layout)
    b = np.zeros(32, np.float32)
    cases.to_nchw(x, layout)[1, 5, 12, 13] = np.nan
    result = cases.from_nchw(np.empty((2, 32, 12, 12)), layout).shape if pool else g.shape
    made = run("conv2d_epilogue", (x, w, b), result, layout, relu=True, pool=pool)
    made = cases.to_nchw(made, layout)
    here = 6 if pool else 12
    assert np.isnan(made[1, :, here, here]).all()
    # The other image shares no tile with it.
    assert not np.isnan(made[0]).any()


def test_other_convolutions_are_left_to_other_rows():
    x, w, _ = operands_of(2, 64, 24, 24, 32, "NCHW")
    for changed in ({"stride": (2, 2)}, {"padding": ((5, 5), (5, 5))}):
        attributes = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), **changed}
        (top, bottom), stride = attributes["padding"][0], attributes["stride"][0]
        P = cases.output_size(24, 3, stride, (top, bottom))
        request = request_for("conv2d", (x, w), (2, 32, P, P), "NCHW", **attributes)
        taken = select("conv2d", "cpu", request).name == "winograd"
        assert taken == (stride == 1)


# Filters of other sizes, and steps of more than one: the sum of as many phases, whose filters have
# as many taps or fewer. An odd padding begins in the middle of a phase.
WINDOWS = {
    "5x5": (5, 1, (2, 2)),
    "5x5, more padding than reach": (5, 1, (6, 5)),
    "5x5, stride 2": (5, 2, (1, 2)),
    "5x5, stride 2, even padding": (5, 2, (2, 2)),
    "5x5, stride 2, unpadded": (5, 2, (0, 0)),
    "6x6, stride 2": (6, 2, (3, 2)),
    "7x7, stride 3": (7, 3, (4, 1)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("window", WINDOWS)
def test_other_windows_are_sums_of_phases(monkeypatch, window, layout):
    monkeypatch.setattr(winograd_plan, "TRANSFORM_COST", 0)
    monkeypatch.setattr(winograd_plan, "MAKE_COST", 0)
    R, stride, (before, after) = WINDOWS[window]
    N, C, K, H, W = 3, 32, 48, 25, 18
    attributes = {
        "stride": (stride, stride),
        "padding": ((before, after), (after, before)),
        "layout": layout,
    }
    P = cases.output_size(H, R, stride, (before, after))
    Q = cases.output_size(W, R, stride, (after, before))
    other = "NHWC" if layout == "NCHW" else "NCHW"

    def image(*shape, seed=0):
        return np.ascontiguousarray(cases.from_nchw(cases.draw(*shape, seed=seed), layout), "f4")

    x, g = image(N, C, H, W), image(N, K, P, Q, seed=1)
    kcrs = cases.draw(K, C, R, R) / np.sqrt(R * R * C)
    w, turned = (
        np.ascontiguousarray(cases.from_kcrs(kcrs, each), "f4") for each in (layout, other)
    )
    doubles = [each.astype(np.float64) for each in (x, w, g)]

    def compare(primitive, operands, result, expected, **options):
        made = run(primitive, operands, result, **attributes, **options)
        assert cases.worst_error(made, expected) < GATES[6]
        return made

    y = cases.conv_forward(*doubles[:2], **attributes)
    made = compare("conv2d", (x, w), g.shape, y)
    compare("conv2d", (x, w), g.shape, y, bound=(1,))
    stored = compare("conv2d", (x, turned), g.shape, y, filter_layout=other, threads=3)
    assert stored.tobytes() == made.tobytes()
    shape = {"input_shape": x.shape}
    dx = cases.conv_input_gradient(doubles[2], doubles[1], **attributes, **shape)
    made = compare("conv2d_input_gradient", (g, w), x.shape, dx, **shape)
    options = {"filter_layout": other, "threads": 1, **shape}
    stored = compare("conv2d_input_gradient", (g, turned), x.shape, dx, **options)
    assert stored.tobytes() == made.tobytes()
    shape = {"filter_shape": w.shape}
    dw = cases.conv_filter_gradient(doubles[0], doubles[2], **attributes, **shape)
    compare("conv2d_filter_gradient", (x, g), w.shape, dw, **shape)
    expected = cases.from_kcrs(cases.to_kcrs(dw, layout), other)
    options = {"filter_shape": turned.shape, "filter_layout": other}
    compare("conv2d_filter_gradient", (x, g), turned.shape, expected, **options)
