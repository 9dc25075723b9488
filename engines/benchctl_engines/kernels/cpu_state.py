"""Kernels that change a variable: their output is the variable's own buffer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .table import KernelRequest, Prepared, kernel
from .workspace import Pieces

Array = npt.NDArray[Any]

# Below this NumPy's call is done before a compiled loop has started its threads.
COMPILED_UPDATE_ELEMENTS = 1 << 16


@kernel("assign", "cpu", "copy")
def prepare_assign(request: KernelRequest) -> Prepared:
    """out = value, broadcast where it is a scalar."""

    def assign(out: Array, var: Array, value: Array) -> None:
        np.copyto(out, value)

    return Prepared(assign)


def _is_large_update(request: KernelRequest) -> bool:
    var, delta = request.inputs
    return var.shape == delta.shape and var.size >= COMPILED_UPDATE_ELEMENTS and var.floating


@kernel("assign_sub", "cpu", "loop", when=_is_large_update)
def prepare_assign_sub_large(request: KernelRequest) -> Prepared:
    """out = var - delta, on all threads."""
    from .loops_state import subtract

    size = request.outputs[0].size

    def assign_sub_large(out: Array, var: Array, delta: Array) -> None:
        subtract(out.reshape(size), var.reshape(size), delta.reshape(size))

    return Prepared(assign_sub_large)


@kernel("assign_sub", "cpu", "numpy")
def prepare_assign_sub(request: KernelRequest) -> Prepared:
    """out = var - delta, broadcast where delta is a scalar."""

    def assign_sub(out: Array, var: Array, delta: Array) -> None:
        np.subtract(var, delta, out=out)

    return Prepared(assign_sub)


@kernel("assign_sub_scaled", "cpu", "loop", when=_is_large_update)
def prepare_assign_sub_scaled_large(request: KernelRequest) -> Prepared:
    """out = var - scale * delta, on all threads."""
    from .loops_state import subtract_scaled

    size = request.outputs[0].size
    scale = request.outputs[0].numpy_dtype.type(request.attributes["scale"])

    def assign_sub_scaled_large(out: Array, var: Array, delta: Array) -> None:
        subtract_scaled(out.reshape(size), var.reshape(size), delta.reshape(size), scale)

    return Prepared(assign_sub_scaled_large)


@kernel("assign_sub_scaled", "cpu", "numpy")
def prepare_assign_sub_scaled(request: KernelRequest) -> Prepared:
    """out = var - scale * delta, broadcast where delta is a scalar."""
    scale: Any = request.outputs[0].numpy_dtype.type(request.attributes["scale"])
    delta_spec = request.inputs[1]
    pieces = Pieces()
    step_piece = pieces.add(delta_spec.shape, delta_spec.numpy_dtype)

    def assign_sub_scaled(out: Array, var: Array, delta: Array, workspace: Array) -> None:
        step = pieces.view(workspace, step_piece).reshape(delta.shape)
        np.multiply(delta, scale, out=step)
        np.subtract(var, step, out=out)

    # an empty variable leaves nothing to scale, yet the kernel takes its workspace
    return Prepared(assign_sub_scaled, max(pieces.nbytes, 1))
