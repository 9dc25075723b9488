"""Requests that together reach every kernel row, each with an oracle in double precision.

The oracles are enumerations and NumPy one-liners written for these tests; none is an engine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchctl_engines.kernels.table import Kernel, KernelRequest, kernels_of, load_device
from benchctl_engines.primitives.specs import spec

# In the table's own order, before a test imports one of the kernel modules by itself.
for _device in ("cpu", "reference"):
    load_device(_device)

Oracle = Callable[..., Any]


@dataclass(frozen=True)
class KernelCase:
    """One request: operands in double precision (floating ones follow the dtype under test)."""

    primitive: str
    operands: tuple[np.ndarray, ...]
    attributes: dict[str, Any]
    oracle: Oracle
    # dtype of each output, "float" for the one under test
    output_dtypes: tuple[str, ...] = ("float",)
    # relative to the oracle's norm, in units of the dtype's rounding error
    tolerance_ulps: float = 16.0
    label: str = ""
    updates: bool = field(default=False)

    @property
    def name(self) -> str:
        shapes = "x".join(str(list(each.shape)) for each in self.operands)
        return f"{self.primitive}-{self.label or shapes}"


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal numbers, the same for the same shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


# Oracles ---------------------------------------------------------------------------------------


def to_nchw(x: np.ndarray, layout: str) -> np.ndarray:
    return x.transpose(0, 3, 1, 2) if layout == "NHWC" else x


def from_nchw(x: np.ndarray, layout: str) -> np.ndarray:
    return x.transpose(0, 2, 3, 1) if layout == "NHWC" else x


def to_kcrs(w: np.ndarray, layout: str) -> np.ndarray:
    return w.transpose(3, 2, 0, 1) if layout == "NHWC" else w


def from_kcrs(w: np.ndarray, layout: str) -> np.ndarray:
    return w.transpose(2, 3, 1, 0) if layout == "NHWC" else w


def output_size(size: int, window: int, stride: int, padding: tuple[int, int]) -> int:
    return len(range(0, size + sum(padding) - window + 1, stride))


def nested_sums(x_shape, w_shape, stride, padding) -> Iterator[tuple[tuple[int, ...], ...]]:
    """(output, input, filter) index of every product of a convolution, NCHW, padding left out."""
    (N, C, H, W), (K, _, R, S) = x_shape, w_shape
    P = output_size(H, R, stride[0], padding[0])
    Q = output_size(W, S, stride[1], padding[1])
    for n, k, p, q, c, r, s in itertools.product(*map(range, (N, K, P, Q, C, R, S))):
        h = p * stride[0] - padding[0][0] + r
        w = q * stride[1] - padding[1][0] + s
        if 0 <= h < H and 0 <= w < W:
            yield (n, k, p, q), (n, c, h, w), (k, c, r, s)


def windows(x, window, stride, padding, fill=0.0):
    """Every window of a padded NCHW array: [N, C, P, Q, R, S]."""
    padded = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(padded, window, axis=(2, 3))
    return seen[:, :, :: stride[0], :: stride[1]]


def conv_forward(x, w, *, stride, padding, layout):
    x, w = to_nchw(x, layout), to_kcrs(w, layout)
    if x.size * w.size > 20_000:
        y = np.einsum("ncpqrs,kcrs->nkpq", windows(x, w.shape[2:], stride, padding), w)
        return from_nchw(y, layout)
    P = output_size(x.shape[2], w.shape[2], stride[0], padding[0])
    Q = output_size(x.shape[3], w.shape[3], stride[1], padding[1])
    y = np.zeros((x.shape[0], w.shape[0], P, Q))
    for out, inp, flt in nested_sums(x.shape, w.shape, stride, padding):
        y[out] += x[inp] * w[flt]
    return from_nchw(y, layout)


def conv_epilogue(x, w, b, *, relu, layout, **window):
    y = to_nchw(conv_forward(x, w, layout=layout, **window), layout) + b[:, None, None]
    return from_nchw(np.where(y > 0, y, 0) if relu else y, layout)


def conv_input_gradient(g, w, *, input_shape, stride, padding, layout):
    dx = np.zeros(input_shape)
    g, w, target = to_nchw(g, layout), to_kcrs(w, layout), to_nchw(dx, layout)
    if g.size * w.size > 20_000:
        padded = np.pad(target, ((0, 0), (0, 0), *padding))
        view = np.lib.stride_tricks.sliding_window_view(
            padded, w.shape[2:], axis=(2, 3), writeable=True
        )[:, :, :: stride[0], :: stride[1]]
        for r, s in itertools.product(range(w.shape[2]), range(w.shape[3])):
            view[..., r, s] += np.einsum("nkpq,kc->ncpq", g, w[:, :, r, s])
        (top, _), (left, _) = padding
        H, W = target.shape[2:]
        target[...] = padded[:, :, top : top + H, left : left + W]
        return dx
    for out, inp, flt in nested_sums(target.shape, w.shape, stride, padding):
        target[inp] += g[out] * w[flt]
    return dx


def conv_filter_gradient(x, g, *, filter_shape, stride, padding, layout):
    dw = np.zeros(filter_shape)
    x, g, target = to_nchw(x, layout), to_nchw(g, layout), to_kcrs(dw, layout)
    if g.size * target.size > 20_000:
        seen = windows(x, target.shape[2:], stride, padding)
        target[...] = np.einsum("ncpqrs,nkpq->kcrs", seen, g)
        return dw
    for out, inp, flt in nested_sums(x.shape, target.shape, stride, padding):
        target[flt] += g[out] * x[inp]
    return dw


def matmul_oracle(a, b, *, transpose_a, transpose_b):
    return np.einsum(
        ("kn" if transpose_a else "nk") + "," + ("mk" if transpose_b else "km") + "->nm", a, b
    )


def update_oracle(w, a, b, *, scale, **transposes):
    return w - scale * matmul_oracle(a, b, **transposes)


def epilogue_oracle(a, b, bias, *, relu, **transposes):
    result = matmul_oracle(a, b, **transposes) + bias
    return np.where(result > 0, result, 0) if relu else result


def pool_oracle(x, *, window, stride, padding, layout):
    seen = windows(to_nchw(x, layout), window, stride, padding, fill=-np.inf)
    flat = seen.reshape(*seen.shape[:4], -1)
    return from_nchw(flat.max(-1), layout), from_nchw(flat.argmax(-1), layout)


def pool_places(offsets, window, stride, padding, layout) -> Iterator[tuple[Any, Any]]:
    """(pooled index, input index) of every winner, in the layout."""
    S = window[1]
    for pooled in np.ndindex(*to_nchw(offsets, layout).shape):
        n, c, p, q = pooled
        offset = int(to_nchw(offsets, layout)[pooled])
        h = p * stride[0] - padding[0][0] + offset // S
        w = q * stride[1] - padding[1][0] + offset % S
        if layout == "NHWC":
            yield (n, p, q, c), (n, h, w, c)
        else:
            yield pooled, (n, c, h, w)


def pool_gradient_oracle(g, offsets, *, input_shape, window, stride, padding, layout):
    dx = np.zeros(input_shape)
    for pooled, place in pool_places(offsets, window, stride, padding, layout):
        dx[place] += g[pooled]
    return dx


def pool_gather_oracle(u, offsets, *, window, stride, padding, layout):
    out = np.zeros(offsets.shape)
    for pooled, place in pool_places(offsets, window, stride, padding, layout):
        out[pooled] = u[place]
    return out


def average_oracle(x, *, window, stride, padding, layout):
    inside = windows(np.ones_like(to_nchw(x, layout)), window, stride, padding)
    seen = windows(to_nchw(x, layout), window, stride, padding)
    return from_nchw(seen.sum((-2, -1)) / inside.sum((-2, -1)), layout)


def average_gradient_oracle(g, *, input_shape, window, stride, padding, layout):
    dx = np.zeros(input_shape)
    target, g = to_nchw(dx, layout), to_nchw(g, layout)
    H, W = target.shape[2:]
    for n, c, p, q in np.ndindex(*g.shape):
        top, left = p * stride[0] - padding[0][0], q * stride[1] - padding[1][0]
        rows = slice(max(top, 0), min(top + window[0], H))
        columns = slice(max(left, 0), min(left + window[1], W))
        target[n, c, rows, columns] += g[n, c, p, q] / target[n, c, rows, columns].size
    return dx


def softmax(logits):
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def loss_oracle(logits, labels):
    p = softmax(logits)
    return -np.mean(np.log(p[np.arange(len(labels)), labels])), p


def loss_gradient_oracle(logits, probabilities, labels, g):
    onehot = np.eye(logits.shape[1])[labels]
    return (probabilities - onehot) * g / len(labels)


def loss_gradient_input_oracle(u, logits, probabilities, g):
    out = np.empty_like(u)
    for n, p in enumerate(probabilities):
        out[n] = (np.diag(p) - np.outer(p, p)) @ u[n] * g / len(u)
    return out


def loss_gradient_seed_oracle(u, logits, probabilities, labels):
    return np.sum(u * (probabilities - np.eye(u.shape[1])[labels])) / len(u)


def slice_oracle(x, *, starts, stops, steps):
    return x[tuple(map(slice, starts, stops, steps))]


def pad_oracle(x, *, low, high, interior):
    for axis in range(x.ndim):
        inner = np.zeros_like(np.repeat(x, 1, axis))
        pieces = [np.zeros_like(x.take([0] * low[axis], axis))]
        for i in range(x.shape[axis]):
            pieces.append(x.take([i], axis))
            if i + 1 < x.shape[axis]:
                pieces.append(np.zeros_like(inner.take([0] * interior[axis], axis)))
        pieces.append(np.zeros_like(x.take([0] * high[axis], axis)))
        x = np.concatenate(pieces, axis)
    return x


def bias_add_oracle(x, b, *, axis):
    return np.moveaxis(np.moveaxis(x, axis, -1) + b, -1, axis)


# Cases -----------------------------------------------------------------------------------------

NO_PADDING = ((0, 0), (0, 0))
SAME = ((1, 1), (1, 1))
# label, (N, C, H, W), (K, R, S), stride, padding
CONVOLUTIONS = [
    ("3x3", (2, 3, 5, 6), (4, 3, 3), (1, 1), SAME),
    ("stride2", (2, 3, 7, 6), (2, 3, 3), (2, 2), SAME),
    ("uneven", (2, 2, 6, 9), (3, 2, 4), (3, 1), ((0, 2), (3, 1))),
    ("wide_padding", (1, 2, 3, 3), (2, 2, 2), (1, 1), ((3, 2), (2, 4))),
    ("gap", (1, 2, 7, 7), (2, 2, 2), (3, 3), NO_PADDING),
    ("1x1", (2, 3, 4, 5), (4, 1, 1), (1, 1), NO_PADDING),
    ("1x1_stride2", (2, 3, 4, 5), (4, 1, 1), (2, 2), NO_PADDING),
    ("1x1_padded", (2, 3, 4, 5), (4, 1, 1), (1, 1), SAME),
    ("full_window", (3, 4, 3, 2), (5, 3, 2), (1, 1), NO_PADDING),
    ("full_window_large", (3, 80, 3, 3), (410, 3, 3), (1, 1), NO_PADDING),
    ("full_window_stride2", (2, 3, 3, 3), (2, 3, 3), (2, 2), NO_PADDING),
    ("panels", (2, 24, 50, 51), (12, 3, 3), (1, 1), SAME),
    ("panels_stride2", (2, 16, 61, 60), (12, 5, 5), (2, 2), ((2, 2), (1, 2))),
    ("many_images", (70, 4, 4, 4), (6, 3, 3), (1, 1), SAME),
    ("many_images_stride2", (130, 3, 4, 4), (6, 2, 2), (2, 2), NO_PADDING),
    ("many_channels", (1, 4, 5, 5), (40, 3, 3), (1, 1), SAME),
    ("1x1_panels", (1, 8, 64, 70), (96, 1, 1), (1, 1), NO_PADDING),
    ("direct", (2, 3, 20, 23), (40, 3, 3), (1, 1), SAME),
    ("direct_both_ways", (3, 17, 9, 21), (35, 4, 5), (1, 1), ((1, 2), (4, 3))),
    ("direct_stride2", (2, 32, 17, 20), (32, 4, 3), (2, 3), ((1, 2), (0, 1))),
    ("direct_few_positions", (2, 1, 3, 3), (17, 3, 2), (1, 1), ((3, 0), (0, 0))),
    ("direct_gap", (2, 16, 19, 19), (16, 1, 2), (4, 3), NO_PADDING),
    ("folded", (2, 3, 37, 35), (32, 3, 3), (1, 1), SAME),
    ("folded_stride", (1, 5, 30, 70), (9, 4, 5), (3, 2), ((0, 2), (3, 1))),
    ("winograd", (2, 64, 27, 30), (48, 3, 3), (1, 1), SAME),
    ("winograd_unpadded", (3, 48, 22, 21), (64, 3, 3), (1, 1), NO_PADDING),
]
# Fewer multiplications of larger numbers: see docs/measuring-method.md for the gate of 1e-5.
WINOGRAD_ULPS = 80.0


def convolution_cases() -> Iterator[KernelCase]:
    for (label, x_nchw, filters, stride, padding), layout in itertools.product(
        CONVOLUTIONS, ("NCHW", "NHWC")
    ):
        (K, R, S), C = filters, x_nchw[1]
        P = output_size(x_nchw[2], R, stride[0], padding[0])
        Q = output_size(x_nchw[3], S, stride[1], padding[1])
        x = np.ascontiguousarray(from_nchw(draw(*x_nchw), layout))
        w = np.ascontiguousarray(from_kcrs(draw(K, C, R, S), layout))
        g = np.ascontiguousarray(from_nchw(draw(x_nchw[0], K, P, Q, seed=1), layout))
        b = draw(K, seed=2)
        window = {"stride": stride, "padding": padding, "layout": layout}
        name = f"{layout}-{label}"
        ulps = {"tolerance_ulps": WINOGRAD_ULPS} if label.startswith("winograd") else {}
        yield KernelCase("conv2d", (x, w), window, conv_forward, label=name, **ulps)
        for relu in (False, True):
            attributes = {**window, "relu": relu}
            label_relu = f"{name}-relu{int(relu)}"
            yield KernelCase(
                "conv2d_epilogue", (x, w, b), attributes, conv_epilogue, label=label_relu, **ulps
            )
        yield KernelCase(
            "conv2d_input_gradient",
            (g, w),
            {**window, "input_shape": x.shape},
            conv_input_gradient,
            label=name,
            **ulps,
        )
        yield KernelCase(
            "conv2d_filter_gradient",
            (x, g),
            {**window, "filter_shape": w.shape},
            conv_filter_gradient,
            label=name,
            **ulps,
        )


def matrix_cases() -> Iterator[KernelCase]:
    sizes = [
        (3, 4, 5),
        (600, 5, 500),
        (1, 7, 3),
        (8, 1, 8),
        (150, 33, 40),
        (2, 2000, 3),
        (400, 9, 700),
    ]
    # A small batch and a matrix too large for the caches, whose sides no tile divides.
    sizes += [(1, 523, 517), (2, 600, 500), (3, 1100, 251), (7, 520, 531), (17, 530, 512)]
    for (N, depth, M), ta, tb in itertools.product(sizes, (False, True), (False, True)):
        a = draw(depth, N) if ta else draw(N, depth)
        b = draw(M, depth, seed=1) if tb else draw(depth, M, seed=1)
        flags = {"transpose_a": ta, "transpose_b": tb}
        label = f"{N}x{depth}x{M}-ta{int(ta)}-tb{int(tb)}"
        yield KernelCase("matmul", (a, b), flags, matmul_oracle, label=label)
        w = draw(N, M, seed=2)
        update = {**flags, "scale": 0.25}
        yield KernelCase(
            "matmul_update", (w, a, b), update, update_oracle, label=label, updates=True
        )
        for relu in (False, True):
            yield KernelCase(
                "matmul_epilogue",
                (a, b, draw(M, seed=3)),
                {**flags, "relu": relu},
                epilogue_oracle,
                label=f"{label}-relu{int(relu)}",
            )


def pooling_cases() -> Iterator[KernelCase]:
    settings = [
        ("2x2", (2, 3, 6, 8), (2, 2), (2, 2), NO_PADDING),
        ("overlap", (2, 3, 7, 7), (3, 3), (2, 2), SAME),
        ("uneven", (1, 2, 5, 9), (1, 4), (1, 3), ((0, 0), (2, 1))),
        ("gap", (1, 2, 9, 8), (2, 2), (3, 4), NO_PADDING),
    ]
    for (label, shape, window, stride, padding), layout in itertools.product(
        settings, ("NCHW", "NHWC")
    ):
        x = np.ascontiguousarray(from_nchw(np.round(draw(*shape) * 2) / 2, layout))
        attributes = {"window": window, "stride": stride, "padding": padding, "layout": layout}
        y, offsets = pool_oracle(x, **attributes)
        offsets = np.ascontiguousarray(offsets.astype(np.uint8))
        g = draw(*y.shape, seed=1)
        name = f"{layout}-{label}"
        yield KernelCase(
            "max_pool2d", (x,), attributes, pool_oracle, ("float", "uint8"), label=name
        )
        yield KernelCase(
            "max_pool2d_gradient",
            (g, offsets),
            {**attributes, "input_shape": x.shape},
            pool_gradient_oracle,
            label=name,
        )
        yield KernelCase(
            "max_pool2d_gather", (x, offsets), attributes, pool_gather_oracle, label=name
        )
        yield KernelCase("average_pool2d", (x,), attributes, average_oracle, label=name)
        yield KernelCase(
            "average_pool2d_gradient",
            (g,),
            {**attributes, "input_shape": x.shape},
            average_gradient_oracle,
            label=name,
        )


def loss_cases() -> Iterator[KernelCase]:
    for N, classes, label_dtype in ((1, 2, "int64"), (4, 7, "int32"), (3, 1000, "int64")):
        logits = draw(N, classes) * 10
        labels = np.random.default_rng(N).integers(0, classes, N).astype(label_dtype)
        p, u, g = softmax(logits / 10), draw(N, classes, seed=1), np.array(1.5)
        yield KernelCase(
            "softmax_cross_entropy", (logits, labels), {}, loss_oracle, ("float", "float")
        )
        yield KernelCase(
            "softmax_cross_entropy_gradient", (logits, p, labels, g), {}, loss_gradient_oracle
        )
        yield KernelCase(
            "softmax_cross_entropy_gradient_input",
            (u, logits, p, g),
            {},
            loss_gradient_input_oracle,
        )
        yield KernelCase(
            "softmax_cross_entropy_gradient_seed",
            (u, logits, p, labels),
            {},
            loss_gradient_seed_oracle,
        )


def reduction_cases() -> Iterator[KernelCase]:
    settings = [
        ((3, 4), (0, 1)),
        ((3, 1, 4), (1,)),
        ((2, 3, 4, 5), (0, 2)),
        ((70000,), (0,)),
        ((33, 1100), (1,)),
        ((1100, 33), (0,)),
        ((5, 1, 9000), (0, 1)),
        ((2, 8, 50, 51), (0, 2, 3)),
        ((2, 50, 51, 8), (0, 1, 2)),
        ((40, 3, 20, 20), (1, 3)),
        ((40, 3, 20, 20), (0, 2)),
    ]
    for (shape, axes), keepdims in itertools.product(settings, (False, True)):
        attributes = {"axes": axes, "keepdims": keepdims}
        for name, oracle in (("sum", sum_oracle), ("max", max_oracle)):
            yield KernelCase(
                name,
                (draw(*shape) + 1,),
                attributes,
                oracle,
                label=f"{list(shape)}-{list(axes)}-keep{int(keepdims)}",
            )


def sum_oracle(x, *, axes, keepdims):
    return np.sum(x, axis=axes, keepdims=keepdims)


def max_oracle(x, *, axes, keepdims):
    return np.max(x, axis=axes, keepdims=keepdims)


def reshape_oracle(x, *, shape):
    return np.array(list(x.flat)).reshape(shape)


def transpose_oracle(x, *, axes):
    return np.transpose(x, axes)


def broadcast_oracle(x, *, shape):
    return x + np.zeros(shape)


def shaping_cases() -> Iterator[KernelCase]:
    x = draw(2, 3, 4)
    yield KernelCase("reshape", (x,), {"shape": (4, 6)}, reshape_oracle)
    yield KernelCase("reshape", (draw(1),), {"shape": ()}, reshape_oracle)
    for axes in itertools.permutations(range(3)):
        label = f"small-{list(axes)}"
        yield KernelCase("transpose", (x,), {"axes": axes}, transpose_oracle, label=label)
    for shape, axes in (
        ((300, 301), (1, 0)),
        ((2, 40, 30, 41), (0, 2, 3, 1)),
        ((2, 30, 41, 40), (0, 3, 1, 2)),
        ((40, 1, 50, 60), (2, 1, 0, 3)),
        ((70, 1, 1000), (2, 1, 0)),
    ):
        label = f"{list(shape)}-{list(axes)}"
        yield KernelCase(
            "transpose", (draw(*shape),), {"axes": axes}, transpose_oracle, label=label
        )
    for small, shape in (((), (2, 3)), ((3,), (2, 3)), ((4, 1), (2, 4, 3)), ((2, 3), (2, 3))):
        label = f"{list(small)}-{list(shape)}"
        yield KernelCase(
            "broadcast_to", (draw(*small),), {"shape": shape}, broadcast_oracle, label=label
        )
    bounds = {"starts": (0, 1, 0), "stops": (2, 3, 4), "steps": (1, 1, 3)}
    yield KernelCase("slice", (x,), bounds, slice_oracle)
    empty = {"starts": (0, 1, 2), "stops": (2, 1, 2), "steps": (1, 1, 1)}
    yield KernelCase("slice", (x,), empty, slice_oracle, label="empty")
    widths = {"low": (0, 1, 2), "high": (1, 0, 3), "interior": (0, 2, 1)}
    yield KernelCase("pad", (x,), widths, pad_oracle)
    yield KernelCase("pad", (draw(3),), {"low": (2,), "high": (0,), "interior": (0,)}, pad_oracle)


def concatenate_cases() -> Iterator[KernelCase]:
    for axis, shapes in (
        (0, ((2, 3), (4, 3))),
        (1, ((2, 0), (2, 1), (2, 5))),
        (2, ((3, 1, 2), (3, 1, 2))),
    ):
        parts = tuple(draw(*shape, seed=place) for place, shape in enumerate(shapes))
        yield KernelCase("concatenate", parts, {"axis": axis}, concatenate_oracle)


def concatenate_oracle(*parts, axis):
    moved = [row for part in parts for row in np.moveaxis(part, axis, 0)]
    return np.moveaxis(np.array(moved), 0, axis)


def state_cases() -> Iterator[KernelCase]:
    for shape in ((3, 4), (70000,), ()):
        var, value, scalar = draw(*shape), draw(*shape, seed=1), np.array(0.5)
        for other, kind in ((value, "same"), (scalar, "scalar")):
            label = f"{list(shape)}-{kind}"
            yield KernelCase("assign", (var, other), {}, assign_oracle, label=label, updates=True)
            yield KernelCase(
                "assign_sub", (var, other), {}, assign_sub_oracle, label=label, updates=True
            )
            yield KernelCase(
                "assign_sub_scaled",
                (var, other),
                {"scale": 0.1},
                assign_sub_scaled_oracle,
                label=label,
                updates=True,
            )


def assign_oracle(var, value):
    return value + np.zeros_like(var)


def assign_sub_oracle(var, delta):
    return var - delta


def assign_sub_scaled_oracle(var, delta, *, scale):
    return var - scale * delta


def all_cases() -> list[KernelCase]:
    return [
        *convolution_cases(),
        *matrix_cases(),
        *pooling_cases(),
        *loss_cases(),
        *reduction_cases(),
        *shaping_cases(),
        *concatenate_cases(),
        *state_cases(),
    ]


# Running ---------------------------------------------------------------------------------------


def typed_operands(case: KernelCase, dtype: str) -> list[np.ndarray]:
    """Fresh contiguous copies of the operands, floating ones in `dtype`."""
    return [
        np.array(each, dtype=dtype if each.dtype.kind == "f" else each.dtype, order="C")
        for each in case.operands
    ]


def expected_outputs(case: KernelCase, operands: list[np.ndarray]) -> list[np.ndarray]:
    """What the oracle gives for the operands as rounded to their dtype."""
    exact = [each.astype(np.float64) if each.dtype.kind == "f" else each for each in operands]
    result = case.oracle(*exact, **case.attributes)
    return [np.asarray(each) for each in (result if isinstance(result, tuple) else (result,))]


def make_request(case: KernelCase, operands, expected, dtype: str) -> KernelRequest:
    names = [dtype if name == "float" else name for name in case.output_dtypes]
    return KernelRequest(
        inputs=tuple(spec(each.shape, str(each.dtype)) for each in operands),
        outputs=tuple(spec(e.shape, name) for e, name in zip(expected, names, strict=True)),
        attributes=case.attributes,
        threads=2,
    )


def poisoned(shape, dtype) -> np.ndarray:
    """NaN everywhere, or the largest byte for the offsets."""
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 255, dtype)


def workspace_of(nbytes: int) -> list[np.ndarray]:
    """The workspace argument, aligned and poisoned; none where no byte is asked for."""
    if not nbytes:
        return []
    room = np.full(nbytes + 64, 255, np.uint8)
    start = -room.ctypes.data % 64
    return [room[start : start + nbytes]]


def run_kernel(row: Kernel, request: KernelRequest, operands) -> list[np.ndarray]:
    """Outputs of one call into poisoned buffers."""
    outputs = [poisoned(each.shape, each.numpy_dtype) for each in request.outputs]
    prepared = row.prepare(request)
    prepared.run(*outputs, *operands, *workspace_of(prepared.workspace_bytes))
    return outputs


def matching_rows(primitive: str, device: str, request: KernelRequest) -> list[Kernel]:
    """All rows that take the request, not only the first."""
    return [row for row in kernels_of(primitive, device) if row.when(request)]


def worst_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference relative to the norm of what was expected."""
    difference = np.linalg.norm(np.asarray(actual, np.float64).ravel() - expected.ravel())
    if not np.isfinite(difference):
        return float("inf")
    scale = np.linalg.norm(expected.ravel())
    return float(difference / scale) if scale else float(difference)
