"""Reductions over axes, and the reduction that undoes broadcasting."""

from __future__ import annotations

from typing import Any

from .primitive import Primitive, Saved
from .shaping import broadcast_to, reshape
from .specs import ShapeError, TensorSpec, spec


def _reduced(name: str) -> Any:
    def infer(x: TensorSpec, *, axes: tuple[int, ...], keepdims: bool) -> TensorSpec:
        if not x.floating:
            raise ShapeError(f"{name} expected float32 or float64, received {x}")
        if name == "max" and any(x.shape[axis] == 0 for axis in axes):
            raise ShapeError(f"max expected at least one element along axes {axes}, received {x}")
        return spec(reduced_shape(x.shape, axes, keepdims), x.dtype)

    return infer


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """Shape after reducing `axes`."""
    if keepdims:
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


sum_primitive = Primitive("sum", _reduced("sum"))
max_primitive = Primitive("max", _reduced("max"), saves_inputs=(0,), saves_outputs=(0,))


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
    return (_expand(g, saved),)


@max_primitive.pullback
def max_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    from .elementwise import cast, divide, equal, where

    x = saved.input(0)
    winners = equal(x, _expand(saved.output(), saved))
    axes = saved.attributes["axes"]
    count = sum_primitive(
        cast(winners, dtype=saved.specs[0].dtype), axes=axes, keepdims=saved.attributes["keepdims"]
    )
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
    summed = sum_primitive(g, axes=axes, keepdims=False)
    return summed if summed.spec.shape == target.shape else reshape(summed, shape=target.shape)
