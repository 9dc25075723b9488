"""Reductions over axes, and the reduction that undoes broadcasting."""

from __future__ import annotations

from typing import Any

from .primitive import Primitive, Saved
from .shaping import broadcast_to, reshape
from .specs import ShapeError, TensorSpec, spec, summed_dtype


def _reduced(name: str) -> Any:
    def infer(x: TensorSpec, *, axes: tuple[int, ...], keepdims: bool) -> TensorSpec:
        if not x.floating:
            raise ShapeError(f"{name} expected float32 or float64, received {x}")
        if name == "max" and any(x.shape[axis] == 0 for axis in axes):
            raise ShapeError(f"max expected at least one element along axes {axes}, received {x}")
        dtype = summed_dtype(x.dtype) if name == "sum" else x.dtype
        return spec(reduced_shape(x.shape, axes, keepdims), dtype)

    return infer


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """Shape after reducing `axes`."""
    if keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


sum_primitive = Primitive("sum", _reduced("sum"))
max_primitive = Primitive("max", _reduced("max"), saves_inputs=(0,), saves_outputs=(0,))


def in_dtype(x: Any, dtype: str) -> Any:
    """x, cast where it has another dtype: a gradient has that of what it belongs to."""
    from .elementwise import cast

    return x if x.spec.dtype == dtype else cast(x, dtype=dtype)


def narrow_sum(x: Any, axes: tuple[int, ...], keepdims: bool = False) -> Any:
    """The sum in the dtype of x, for gradients of halves: their own sum is float32."""
    return in_dtype(sum_primitive(x, axes=axes, keepdims=keepdims), x.spec.dtype)


def _expand(g: Any, saved: Saved) -> Any:
    shape = saved.specs[0].shape
    if not g.spec.shape:
        return broadcast_to(g, shape=shape) if shape else g
    kept = reduced_shape(shape, saved.attributes["axes"], True)
    if g.spec.shape != kept:
        g = reshape(g, shape=kept)
    return broadcast_to(g, shape=shape) if kept != shape else g


@sum_primitive.pullback
def sum_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (_expand(in_dtype(g, saved.specs[0].dtype), saved),)


@max_primitive.pullback
def max_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    from .elementwise import cast, divide, equal, where

    x = saved.input(0)
    winners = equal(x, _expand(saved.output(), saved))
    axes = saved.attributes["axes"]
    ones = cast(winners, dtype=saved.specs[0].dtype)
    count = narrow_sum(ones, axes, saved.attributes["keepdims"])
    return (where(winners, _expand(divide(g, count), saved), 0.0),)


def sum_to(g: Any, target: TensorSpec, needed: bool = True) -> Any:
    """The gradient of an operand that was broadcast: sum over what broadcasting repeated."""
    if not needed:
        return None
    if g.spec.shape == target.shape:
        return g
    shape: tuple[int, ...] = g.spec.shape
    extra = len(shape) - target.rank
    axes = tuple(range(extra)) + tuple(
        extra + axis
        for axis, size in enumerate(target.shape)
        if size == 1 and shape[extra + axis] != 1
    )
    summed = narrow_sum(g, axes)
    return summed if summed.spec.shape == target.shape else reshape(summed, shape=target.shape)
