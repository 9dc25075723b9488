"""Primitives that compute nothing: where the values of a graph come from."""

from __future__ import annotations

from ..primitives.primitive import Primitive
from ..primitives.specs import TensorSpec, spec


def _declared(*, shape: tuple[int, ...], dtype: str) -> TensorSpec:
    return spec(shape, dtype)


def _counter() -> TensorSpec:
    return spec((), "int64")


placeholder_source = Primitive("placeholder", _declared)
constant_source = Primitive("constant", _declared)
variable_source = Primitive("variable", _declared)
step_source = Primitive("step", _counter)
