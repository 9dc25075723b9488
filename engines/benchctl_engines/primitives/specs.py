"""Shapes and dtypes: all that a shape rule sees, and the errors it raises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

DTYPES = ("float32", "float64", "bool", "uint8", "int32", "int64")
"""What a program may ask for."""

HALVES = ("float16", "bfloat16")
"""What a GPU may store in place of float32, where its engine was told to; see half_storage.py."""

_ITEM_BYTES = {**{name: np.dtype(name).itemsize for name in DTYPES}, **dict.fromkeys(HALVES, 2)}
_FLOATING = ("float32", "float64", *HALVES)


class ShapeError(ValueError):
    """Operands whose shapes or dtypes do not fit an operation."""


@dataclass(frozen=True, eq=False)
class TensorSpec:
    """Shape and dtype of a tensor. Instances are interned by `spec`, so identity is equality."""

    shape: tuple[int, ...]
    dtype: str

    @cached_property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @cached_property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.size * self.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return _ITEM_BYTES[self.dtype]

    @cached_property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """NumPy's dtype of such a tensor on the host, where a half is held as a float32."""
        return np.dtype("float32" if self.half else self.dtype)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def floating(self) -> bool:
        """Whether gradients can flow through such a tensor."""
        return self.dtype in _FLOATING

    @property
    def half(self) -> bool:
        """Whether an element is a float of 16 bits."""
        return self.dtype in HALVES

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    def __reduce__(self) -> tuple[object, ...]:
        return (spec, (self.shape, self.dtype))


@cache
def spec(shape: tuple[int, ...], dtype: str) -> TensorSpec:
    """The one `TensorSpec` of this shape and dtype; raises `ShapeError` on an unknown dtype."""
    if dtype not in _ITEM_BYTES:
        raise _unknown(dtype)
    return TensorSpec(shape, dtype)


def summed_dtype(dtype: str) -> str:
    """What sums of a dtype are stored as: of halves float32, whose range they may need."""
    return "float32" if dtype in HALVES else dtype


def stated_dtype(dtype: str) -> str:
    """A dtype that a program stated; raises `ShapeError` on one that it may not."""
    if dtype not in DTYPES:
        raise _unknown(dtype)
    return dtype


def _unknown(dtype: str) -> ShapeError:
    return ShapeError(f"expected a dtype among {', '.join(DTYPES)}, received {dtype}")


def broadcast_shapes(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of operands broadcast together by NumPy's rule; raises `ShapeError`."""
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    rank = max(len(shape) for shape in shapes)
    result = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if -axis <= len(shape)} - {1}
        if len(sizes) > 1:
            received = " and ".join(str(shape) for shape in shapes)
            raise ShapeError(f"{name} expected shapes that broadcast together, received {received}")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def same_dtype(name: str, *specs: TensorSpec) -> str:
    """The dtype that all operands share; raises `ShapeError` where they differ."""
    dtype = specs[0].dtype
    for operand in specs[1:]:
        if operand.dtype != dtype:
            received = " and ".join(str(each) for each in specs)
            raise ShapeError(f"{name} expected operands of one dtype, received {received}")
    return dtype


def normalise_axes(name: str, axes: tuple[int, ...] | None, rank: int) -> tuple[int, ...]:
    """Axes as sorted non-negative numbers, all of them for None; raises `ShapeError`."""
    if axes is None:
        return tuple(range(rank))
    for axis in axes:
        if not -rank <= axis < rank:
            raise ShapeError(f"{name} expected axes of a rank-{rank} tensor, received {axes}")
    result = tuple(sorted(axis % rank for axis in axes))
    if len(set(result)) != len(result):
        raise ShapeError(f"{name} expected each axis once, received {axes}")
    return result


def array_dtype(array: Any, beside: Sequence[TensorSpec]) -> str:
    """The dtype that an array adopts beside tensors: its own, or the half stored in its place."""
    halves = [each.dtype for each in beside if each.half]
    own = stated_dtype(array.dtype.name)
    return halves[0] if halves and own == "float32" else own


def number_dtype(number: Any, beside: Sequence[TensorSpec]) -> str:
    """The dtype that a plain number adopts beside tensors of these specs."""
    if isinstance(number, bool | np.bool_):
        return "bool"
    floating = [each.dtype for each in beside if each.floating]
    if floating:
        return floating[0]
    numeric = [each.dtype for each in beside if each.dtype != "bool"]
    return numeric[0] if isinstance(number, int | np.integer) and numeric else "float32"


Padding2d = tuple[tuple[int, int], tuple[int, int]]


def split_nchw(name: str, shape: tuple[int, ...], layout: str) -> tuple[int, int, int, int]:
    """(N, C, H, W) of a 4-D shape in `layout` ("NCHW" or "NHWC"); raises `ShapeError`."""
    if layout not in ("NCHW", "NHWC"):
        raise ShapeError(f"{name} expected layout NCHW or NHWC, received {layout!r}")
    if len(shape) != 4:
        raise ShapeError(f"{name} expected a rank-4 tensor in {layout}, received shape {shape}")
    if layout == "NCHW":
        return shape[0], shape[1], shape[2], shape[3]
    return shape[0], shape[3], shape[1], shape[2]


def join_nchw(N: int, C: int, H: int, W: int, layout: str) -> tuple[int, int, int, int]:
    """The shape in `layout` with these sizes."""
    return (N, C, H, W) if layout == "NCHW" else (N, H, W, C)


def split_filter(name: str, shape: tuple[int, ...], layout: str) -> tuple[int, int, int, int]:
    """(K, C, R, S) of a filter: stored [K, C, R, S] for NCHW and [R, S, C, K] for NHWC."""
    if len(shape) != 4:
        raise ShapeError(f"{name} expected a rank-4 filter, received shape {shape}")
    if layout == "NCHW":
        return shape[0], shape[1], shape[2], shape[3]
    return shape[3], shape[2], shape[0], shape[1]


def window_output(name: str, size: int, window: int, stride: int, padding: tuple[int, int]) -> int:
    """Number of positions of a window along one axis; raises `ShapeError` where none fits."""
    padded = size + padding[0] + padding[1]
    if stride < 1 or window < 1 or min(padding) < 0:
        raise ShapeError(
            f"{name} expected window and stride of at least 1 and padding of at least 0, "
            f"received window {window}, stride {stride}, padding {padding}"
        )
    if padded < window:
        raise ShapeError(
            f"{name} expected an input of at least {window} along the window, received {size} "
            f"padded to {padded}"
        )
    return (padded - window) // stride + 1
