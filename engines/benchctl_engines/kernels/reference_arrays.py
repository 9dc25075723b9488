"""Reference kernels of matrix products, reductions, shapes and state."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]


def _product(request: KernelRequest, a: Array, b: Array) -> Array:
    left = a.T if request.attributes["transpose_a"] else a
    right = b.T if request.attributes["transpose_b"] else b
    result: Array = left @ right
    return result


@kernel("matmul", "reference", "numpy")
def prepare_matmul(request: KernelRequest) -> Prepared:
    """op(a) @ op(b)."""

    def matmul(out: Array, a: Array, b: Array) -> None:
        out[...] = _product(request, a, b)

    return Prepared(matmul)


@kernel("matmul_update", "reference", "numpy")
def prepare_matmul_update(request: KernelRequest) -> Prepared:
    """w - scale * op(a) @ op(b)."""

    def matmul_update(out: Array, w: Array, a: Array, b: Array) -> None:
        out[...] = w - request.attributes["scale"] * _product(request, a, b)

    return Prepared(matmul_update)


@kernel("matmul_epilogue", "reference", "numpy")
def prepare_matmul_epilogue(request: KernelRequest) -> Prepared:
    """op(a) @ op(b) + bias, then ReLU where asked."""

    def matmul_epilogue(out: Array, a: Array, b: Array, bias: Array) -> None:
        result = _product(request, a, b) + bias
        out[...] = np.maximum(result, 0) if request.attributes["relu"] else result

    return Prepared(matmul_epilogue)


@kernel("sum", "reference", "numpy")
def prepare_sum(request: KernelRequest) -> Prepared:
    """Sum over axes."""
    attributes = request.attributes

    def sum_over(out: Array, x: Array) -> None:
        out[...] = x.sum(axis=attributes["axes"], keepdims=attributes["keepdims"])

    return Prepared(sum_over)


@kernel("max", "reference", "numpy")
def prepare_max(request: KernelRequest) -> Prepared:
    """Maximum over axes."""
    attributes = request.attributes

    def max_over(out: Array, x: Array) -> None:
        out[...] = x.max(axis=attributes["axes"], keepdims=attributes["keepdims"])

    return Prepared(max_over)


@kernel("reshape", "reference", "numpy")
def prepare_reshape(request: KernelRequest) -> Prepared:
    """The same elements in row-major order."""

    def reshape(out: Array, x: Array) -> None:
        out[...] = x.reshape(request.attributes["shape"])

    return Prepared(reshape)


@kernel("transpose", "reference", "numpy")
def prepare_transpose(request: KernelRequest) -> Prepared:
    """Axes in another order."""

    def transpose(out: Array, x: Array) -> None:
        out[...] = x.transpose(request.attributes["axes"])

    return Prepared(transpose)


@kernel("broadcast_to", "reference", "numpy")
def prepare_broadcast_to(request: KernelRequest) -> Prepared:
    """Repeated along axes of size 1 and new leading axes."""

    def broadcast_to(out: Array, x: Array) -> None:
        out[...] = np.broadcast_to(x, request.attributes["shape"])

    return Prepared(broadcast_to)


@kernel("slice", "reference", "numpy")
def prepare_slice(request: KernelRequest) -> Prepared:
    """x[start:stop:step] on every axis."""
    attributes = request.attributes

    def slice_copy(out: Array, x: Array) -> None:
        bounds = zip(attributes["starts"], attributes["stops"], attributes["steps"], strict=True)
        for axis, (start, stop, step) in enumerate(bounds):
            x = x.take(np.arange(start, stop, step), axis=axis)
        out[...] = x

    return Prepared(slice_copy)


@kernel("pad", "reference", "numpy")
def prepare_pad(request: KernelRequest) -> Prepared:
    """Zeros before, after and between the elements of each axis."""
    attributes = request.attributes

    def pad(out: Array, x: Array) -> None:
        places = [
            low + np.arange(size) * (interior + 1)
            for low, interior, size in zip(
                attributes["low"], attributes["interior"], x.shape, strict=True
            )
        ]
        out[...] = 0
        out[np.ix_(*places)] = x

    return Prepared(pad)


@kernel("concatenate", "reference", "numpy")
def prepare_concatenate(request: KernelRequest) -> Prepared:
    """Arrays side by side."""

    def concatenate(out: Array, *parts: Array) -> None:
        out[...] = np.concatenate(parts, request.attributes["axis"])

    return Prepared(concatenate)


@kernel("assign", "reference", "numpy")
def prepare_assign(request: KernelRequest) -> Prepared:
    """The value, in the variable's own buffer."""

    def assign(out: Array, var: Array, value: Array) -> None:
        out[...] = value

    return Prepared(assign)


@kernel("assign_sub", "reference", "numpy")
def prepare_assign_sub(request: KernelRequest) -> Prepared:
    """var - delta, in the variable's own buffer."""

    def assign_sub(out: Array, var: Array, delta: Array) -> None:
        out[...] = var - delta

    return Prepared(assign_sub)


@kernel("assign_sub_scaled", "reference", "numpy")
def prepare_assign_sub_scaled(request: KernelRequest) -> Prepared:
    """var - scale * delta, in the variable's own buffer."""

    def assign_sub_scaled(out: Array, var: Array, delta: Array) -> None:
        out[...] = var - request.attributes["scale"] * delta

    return Prepared(assign_sub_scaled)
