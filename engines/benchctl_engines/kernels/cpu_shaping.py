"""Kernels that move elements without computing; each writes a contiguous output."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .axes import transposed_matrices
from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]

# Below this a strided copy by NumPy is as fast as starting threads.
COMPILED_TRANSPOSE_ELEMENTS = 1 << 16
TRANSPOSE_BLOCK = 32


@kernel("reshape", "cpu", "copy")
def prepare_reshape(request: KernelRequest) -> Prepared:
    """The same elements in row-major order."""
    size = request.inputs[0].size

    def reshape(out: Array, x: Array) -> None:
        np.copyto(out.reshape(size), x.reshape(size))

    return Prepared(reshape)


def _as_matrices(request: KernelRequest) -> tuple[int, int, int] | None:
    return transposed_matrices(request.inputs[0].shape, request.attributes["axes"])


def _is_large_matrices(request: KernelRequest) -> bool:
    large = request.inputs[0].size >= COMPILED_TRANSPOSE_ELEMENTS
    return large and _as_matrices(request) is not None


@kernel("transpose", "cpu", "loop_blocked", when=_is_large_matrices)
def prepare_transpose_blocked(request: KernelRequest) -> Prepared:
    """Transposed matrices, NCHW to NHWC and back among them, block by block."""
    from .loops_shaping import transpose_matrices

    sizes = _as_matrices(request)
    assert sizes is not None
    A, M, N = sizes

    def transpose_blocked(out: Array, x: Array) -> None:
        transpose_matrices(out.reshape(A, N, M), x.reshape(A, M, N), TRANSPOSE_BLOCK)

    return Prepared(transpose_blocked)


@kernel("transpose", "cpu", "copy")
def prepare_transpose(request: KernelRequest) -> Prepared:
    """Axes in another order."""
    axes = request.attributes["axes"]

    def transpose(out: Array, x: Array) -> None:
        np.copyto(out, x.transpose(axes))

    return Prepared(transpose)


def _is_scalar(request: KernelRequest) -> bool:
    return request.inputs[0].rank == 0


@kernel("broadcast_to", "cpu", "fill", when=_is_scalar)
def prepare_fill(request: KernelRequest) -> Prepared:
    """One number everywhere; half the call time of a copy."""

    def fill(out: Array, x: Array) -> None:
        out.fill(x)

    return Prepared(fill)


@kernel("broadcast_to", "cpu", "copy")
def prepare_broadcast_to(request: KernelRequest) -> Prepared:
    """Repeated along axes of size 1 and new leading axes."""

    def broadcast_to(out: Array, x: Array) -> None:
        np.copyto(out, x)

    return Prepared(broadcast_to)


@kernel("slice", "cpu", "copy")
def prepare_slice(request: KernelRequest) -> Prepared:
    """x[start:stop:step] on every axis."""
    attributes = request.attributes
    index = tuple(
        slice(start, stop, step)
        for start, stop, step in zip(
            attributes["starts"], attributes["stops"], attributes["steps"], strict=True
        )
    )

    def slice_copy(out: Array, x: Array) -> None:
        np.copyto(out, x[index])

    return Prepared(slice_copy)


def _pads_outwards(request: KernelRequest) -> bool:
    attributes = request.attributes
    return all(width >= 0 for name in ("low", "high", "interior") for width in attributes[name])


@kernel("pad", "cpu", "fill_and_copy", when=_pads_outwards)
def prepare_pad(request: KernelRequest) -> Prepared:
    """Zeros before, after and between the elements of each axis."""
    attributes = request.attributes
    index = tuple(
        slice(low, low + max((size - 1) * (interior + 1) + 1, 0) if size else low, interior + 1)
        for low, interior, size in zip(
            attributes["low"], attributes["interior"], request.inputs[0].shape, strict=True
        )
    )

    def pad(out: Array, x: Array) -> None:
        out.fill(0)
        out[index] = x

    return Prepared(pad)


@kernel("concatenate", "cpu", "copy")
def prepare_concatenate(request: KernelRequest) -> Prepared:
    """Arrays side by side along an axis."""
    axis = request.attributes["axis"]

    def concatenate(out: Array, *parts: Array) -> None:
        np.concatenate(parts, axis, out=out)

    return Prepared(concatenate)
