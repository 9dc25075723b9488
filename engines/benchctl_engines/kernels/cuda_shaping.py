"""Kernels of a GPU that move elements without computing; bits are moved, whatever they mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..primitives.specs import TensorSpec
from .axes import merge_axes, transposed_matrices
from .cuda_loops import moved_as, prepare_copy, prepare_move
from .cuda_source import C_TYPES, THREADS, driver_of, index_for, source
from .cuda_walk import Place, dense_strides, spread
from .loop_source import broadcast_axes
from .table import KernelRequest, Prepared, kernel

TILE = 32
SMALLEST_TILED_SIDE = 8
"""A matrix with fewer rows or columns leaves most of a tile's threads without an element."""

kernel("reshape", "gpu", "copy")(prepare_copy)


def _whole(spec: TensorSpec) -> Place:
    return Place(dense_strides(spec.shape))


def _as_matrices(request: KernelRequest) -> tuple[int, int, int] | None:
    return transposed_matrices(request.inputs[0].shape, request.attributes["axes"])


def _keeps_order(request: KernelRequest) -> bool:
    _, order = merge_axes(request.inputs[0].shape, request.attributes["axes"])
    return len(order) <= 1 or not request.inputs[0].size


def _is_tiled(request: KernelRequest) -> bool:
    sizes = _as_matrices(request)
    return sizes is not None and min(sizes[1:]) >= SMALLEST_TILED_SIDE


@kernel("transpose", "gpu", "copy", when=_keeps_order)
def prepare_transpose_copy(request: KernelRequest) -> Prepared:
    """Only axes of size 1 change places, or there is no element."""
    return prepare_copy(request)


@kernel("transpose", "gpu", "tiled", when=_is_tiled)
def prepare_transpose_tiled(request: KernelRequest) -> Prepared:
    """Transposed matrices, NCHW to NHWC and back among them, through shared memory."""
    sizes = _as_matrices(request)
    assert sizes is not None
    A, M, N = sizes
    tiles_m, tiles_n = -(-M // TILE), -(-N // TILE)
    index = index_for(request.inputs[0])
    word = C_TYPES[moved_as(request)]
    module = driver_of(request).module(source(index, "transposes", WORD=word))
    launch = module.function("transpose_matrices", "PP" + index.letter * 4).launch
    grid, block = (A * tiles_m * tiles_n, 1, 1), (THREADS, 1, 1)

    def transpose_tiled(out: Any, x: Any) -> None:
        launch(grid, block, (out.pointer, x.pointer, M, N, tiles_m, tiles_n))

    return Prepared(transpose_tiled)


@kernel("transpose", "gpu", "strided")
def prepare_transpose_strided(request: KernelRequest) -> Prepared:
    """Axes in another order; the output is written along its rows."""
    out = request.outputs[0]
    strides = dense_strides(request.inputs[0].shape)
    x = Place(tuple(strides[axis] for axis in request.attributes["axes"]))
    return prepare_move(request, out.shape, _whole(out), x)


def _is_same_size(request: KernelRequest) -> bool:
    return request.inputs[0].size == request.outputs[0].size


@kernel("broadcast_to", "gpu", "copy", when=_is_same_size)
def prepare_broadcast_copy(request: KernelRequest) -> Prepared:
    """New axes are of size 1."""
    return prepare_copy(request)


@kernel("broadcast_to", "gpu", "strided")
def prepare_broadcast(request: KernelRequest) -> Prepared:
    """Repeated along axes of size 1 and new leading axes."""
    out = request.outputs[0]
    x = spread(out.shape, broadcast_axes(request.inputs[0].shape, out.shape))
    return prepare_move(request, out.shape, _whole(out), x)


@kernel("slice", "gpu", "copy", when=_is_same_size)
def prepare_slice_copy(request: KernelRequest) -> Prepared:
    """Everything."""
    return prepare_copy(request)


@kernel("slice", "gpu", "strided")
def prepare_slice(request: KernelRequest) -> Prepared:
    """x[start:stop:step] on every axis."""
    attributes, out = request.attributes, request.outputs[0]
    strides = dense_strides(request.inputs[0].shape)
    x = Place(
        tuple(step * stride for step, stride in zip(attributes["steps"], strides, strict=True)),
        sum(start * stride for start, stride in zip(attributes["starts"], strides, strict=True)),
    )
    return prepare_move(request, out.shape, _whole(out), x)


@kernel("pad", "gpu", "copy", when=_is_same_size)
def prepare_pad_copy(request: KernelRequest) -> Prepared:
    """Nothing is added."""
    return prepare_copy(request)


@kernel("pad", "gpu", "fill_and_strided")
def prepare_pad(request: KernelRequest) -> Prepared:
    """Zeros before, after and between the elements of each axis."""
    attributes, out = request.attributes, request.outputs[0]
    strides = dense_strides(out.shape)
    steps = tuple(interior + 1 for interior in attributes["interior"])
    target = Place(
        tuple(step * stride for step, stride in zip(steps, strides, strict=True)),
        sum(low * stride for low, stride in zip(attributes["low"], strides, strict=True)),
    )
    x = request.inputs[0]
    move = prepare_move(request, x.shape, target, _whole(x)).run
    fill, nbytes = driver_of(request).fill, out.nbytes

    def pad(out: Any, x: Any) -> None:
        if nbytes:
            fill(out.pointer, nbytes, 0)
            move(out, x)

    return Prepared(pad)


@kernel("concatenate", "gpu", "strided")
def prepare_concatenate(request: KernelRequest) -> Prepared:
    """Arrays side by side, one move each."""
    out, axis = request.outputs[0], request.attributes["axis"]
    strides = dense_strides(out.shape)
    moves, start = [], 0
    for place, part in enumerate(request.inputs):
        target = Place(strides, start * strides[axis])
        one = replace(request, inputs=(part,))
        if part.size:
            moves.append((place, prepare_move(one, part.shape, target, _whole(part)).run))
        start += part.shape[axis]

    def concatenate(out: Any, *parts: Any) -> None:
        for place, move in moves:
            move(out, parts[place])

    return Prepared(concatenate)
