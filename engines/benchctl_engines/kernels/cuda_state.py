"""Kernels of a GPU that change a variable: their output is the variable's own buffer."""

from __future__ import annotations

from typing import Any

from ..primitives.specs import spec
from .cuda_loop_source import Body
from .cuda_loops import prepare_copy, prepare_loop, prepare_move
from .cuda_source import C_TYPES
from .cuda_walk import Place, dense_strides, spread
from .loop_source import broadcast_axes
from .table import KernelRequest, Prepared, kernel


def _places(request: KernelRequest) -> tuple[Place, Place, Place]:
    """Those of the output, of the variable and of the value, which may be a scalar."""
    shape = request.outputs[0].shape
    whole = Place(dense_strides(shape))
    return whole, whole, spread(shape, broadcast_axes(request.inputs[1].shape, shape))


@kernel("assign", "gpu", "copy")
def prepare_assign(request: KernelRequest) -> Prepared:
    """out = value, repeated where it is a scalar."""
    out, value = request.outputs[0], request.inputs[1]
    whole, _, place = _places(request)
    if value.size == out.size:
        write = prepare_copy(request).run
    else:
        write = prepare_move(request, out.shape, whole, place).run

    def assign(out: Any, var: Any, value: Any) -> None:
        write(out, value)

    return Prepared(assign)


def _is_arithmetic(request: KernelRequest) -> bool:
    """All but truth values, whose difference NumPy refuses as well."""
    return request.outputs[0].dtype != "bool"


@kernel("assign_sub", "gpu", "generated_loop", when=_is_arithmetic)
def prepare_assign_sub(request: KernelRequest) -> Prepared:
    """out = var - delta."""
    dtype = request.outputs[0].dtype
    lines = ("y0 = subtract(x0, x1);",)
    body = Body(f"assign_sub_{dtype}", (dtype, dtype), (dtype,), lines, in_place=True)
    return prepare_loop(request, body, request.outputs[0].shape, _places(request))


def scaled_body(dtype: str, scale: float) -> tuple[Body, int | float]:
    """var - s0 * delta, the product rounded, and s0 in the variable's dtype."""
    # A byte travels as an int32: signatures know no smaller type.
    number = "int" if dtype == "uint8" else C_TYPES[dtype]
    lines = (f"y0 = subtract(x0, multiply(({C_TYPES[dtype]})s0, x1));",)
    name = f"assign_sub_scaled_{dtype}"
    body = Body(name, (dtype, dtype), (dtype,), lines, numbers=(number,), in_place=True)
    return body, spec((), dtype).numpy_dtype.type(scale).item()


@kernel("assign_sub_scaled", "gpu", "generated_loop", when=_is_arithmetic)
def prepare_assign_sub_scaled(request: KernelRequest) -> Prepared:
    """out = var - scale * delta."""
    out = request.outputs[0]
    body, scale = scaled_body(out.dtype, request.attributes["scale"])
    return prepare_loop(request, body, out.shape, _places(request), (scale,))
