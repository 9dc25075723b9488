"""Primitives that move elements without computing: reshape, transpose, slice and their kin."""

from __future__ import annotations

import math
from typing import Any

from .primitive import Primitive, Saved, same_as_first
from .specs import ShapeError, TensorSpec, broadcast_shapes, same_dtype, spec


def _reshape_infer(x: TensorSpec, *, shape: tuple[int, ...]) -> TensorSpec:
    if math.prod(shape) != x.size or min(shape, default=0) < 0:
        raise ShapeError(f"reshape expected a shape of {x.size} elements, received {shape} for {x}")
    return spec(shape, x.dtype)


def _transpose_infer(x: TensorSpec, *, axes: tuple[int, ...]) -> TensorSpec:
    if sorted(axes) != list(range(x.rank)):
        raise ShapeError(f"transpose expected an order of {x.rank} axes, received {axes} for {x}")
    return spec(tuple(x.shape[axis] for axis in axes), x.dtype)


def _broadcast_infer(x: TensorSpec, *, shape: tuple[int, ...]) -> TensorSpec:
    if broadcast_shapes("broadcast_to", x.shape, shape) != shape:
        raise ShapeError(f"broadcast_to expected a shape that {x} extends to, received {shape}")
    return spec(shape, x.dtype)


def _slice_infer(
    x: TensorSpec, *, starts: tuple[int, ...], stops: tuple[int, ...], steps: tuple[int, ...]
) -> TensorSpec:
    if not len(starts) == len(stops) == len(steps) == x.rank:
        raise ShapeError(f"slice expected {x.rank} starts, stops and steps, received {starts}")
    shape = []
    for size, start, stop, step in zip(x.shape, starts, stops, steps, strict=True):
        if not 0 <= start <= stop <= size or step < 1:
            raise ShapeError(
                f"slice expected 0 <= start <= stop <= {size} and step >= 1, "
                f"received {start}:{stop}:{step} for {x}"
            )
        shape.append(-(-(stop - start) // step))
    return spec(tuple(shape), x.dtype)


def _pad_infer(
    x: TensorSpec, *, low: tuple[int, ...], high: tuple[int, ...], interior: tuple[int, ...]
) -> TensorSpec:
    if not len(low) == len(high) == len(interior) == x.rank:
        raise ShapeError(f"pad expected {x.rank} widths, received {low}, {high}, {interior}")
    if min((*low, *high, *interior), default=0) < 0:
        raise ShapeError(f"pad expected widths of at least 0, received {low}, {high}, {interior}")
    shape = tuple(
        before + size + max(size - 1, 0) * inner + after
        for size, before, after, inner in zip(x.shape, low, high, interior, strict=True)
    )
    return spec(shape, x.dtype)


def _concatenate_infer(*parts: TensorSpec, axis: int) -> TensorSpec:
    first = parts[0]
    dtype = same_dtype("concatenate", *parts)
    for part in parts:
        others = (*part.shape[:axis], *part.shape[axis + 1 :])
        if part.rank != first.rank or others != (*first.shape[:axis], *first.shape[axis + 1 :]):
            received = " and ".join(str(each) for each in parts)
            raise ShapeError(
                f"concatenate expected shapes that differ along axis {axis} only, "
                f"received {received}"
            )
    size = sum(part.shape[axis] for part in parts)
    return spec((*first.shape[:axis], size, *first.shape[axis + 1 :]), dtype)


# Made by the static engine where a value must outlive a change of its variable.
copy = Primitive("copy", same_as_first)
reshape = Primitive("reshape", _reshape_infer, inplace=((0, 0),))
transpose = Primitive("transpose", _transpose_infer)
broadcast_to = Primitive("broadcast_to", _broadcast_infer)
slice_primitive = Primitive("slice", _slice_infer)
pad_primitive = Primitive("pad", _pad_infer)
concatenate = Primitive("concatenate", _concatenate_infer)


@reshape.pullback
def reshape_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (reshape(g, shape=saved.specs[0].shape),)


@transpose.pullback
def transpose_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    axes = saved.attributes["axes"]
    inverse = tuple(axes.index(axis) for axis in range(len(axes)))
    return (transpose(g, axes=inverse),)


@broadcast_to.pullback
def broadcast_to_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    from .reductions import sum_to

    return (sum_to(g, saved.specs[0]),)


@slice_primitive.pullback
def slice_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    starts, steps = saved.attributes["starts"], saved.attributes["steps"]
    interior = tuple(step - 1 for step in steps)
    spread = tuple(
        size + max(size - 1, 0) * inner for size, inner in zip(g.spec.shape, interior, strict=True)
    )
    high = tuple(
        whole - start - used
        for whole, start, used in zip(saved.specs[0].shape, starts, spread, strict=True)
    )
    return (pad_primitive(g, low=starts, high=high, interior=interior),)


@pad_primitive.pullback
def pad_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    low, high = saved.attributes["low"], saved.attributes["high"]
    stops = tuple(size - after for size, after in zip(g.spec.shape, high, strict=True))
    # An axis without elements has nothing between its paddings.
    starts = tuple(min(pair) for pair in zip(low, stops, strict=True))
    steps = tuple(inner + 1 for inner in saved.attributes["interior"])
    return (slice_primitive(g, starts=starts, stops=stops, steps=steps),)


@concatenate.pullback
def concatenate_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    axis, found, start = saved.attributes["axis"], [], 0
    shape = g.spec.shape
    for part, needed in zip(saved.specs, saved.needs, strict=True):
        stop = start + part.shape[axis]
        starts = tuple(start if place == axis else 0 for place in range(len(shape)))
        stops = tuple(stop if place == axis else size for place, size in enumerate(shape))
        cut = {"starts": starts, "stops": stops, "steps": (1,) * len(shape)}
        found.append(slice_primitive(g, **cut) if needed else None)
        start = stop
    return tuple(found)
