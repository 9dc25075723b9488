"""Changing a variable in place. A read in the same step sees the value before the change."""

from __future__ import annotations

from .primitive import Primitive
from .specs import ShapeError, TensorSpec


def _assign_infer(variable: TensorSpec, value: TensorSpec) -> TensorSpec:
    if value is not variable and not (value.dtype == variable.dtype and value.rank == 0):
        raise ShapeError(f"assign expected a value like {variable}, received {value}")
    return variable


def _scaled_infer(variable: TensorSpec, gradient: TensorSpec, *, scale: float) -> TensorSpec:
    return _assign_infer(variable, gradient)


assign = Primitive("assign", _assign_infer, inplace=((0, 0),), effect="update")
assign_sub = Primitive("assign_sub", _assign_infer, inplace=((0, 0),), effect="update")
# variable - scale * gradient, made by the pass fuse_updates.
assign_sub_scaled = Primitive(
    "assign_sub_scaled", _scaled_infer, inplace=((0, 0),), effect="update"
)
