"""Reference kernels of the elementwise primitives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]

_UFUNCS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "maximum": np.maximum,
    "greater": np.greater,
    "equal": np.equal,
    "where": np.where,
    "negative": np.negative,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sin": np.sin,
    "cos": np.cos,
}


def _register(primitive: str, function: Callable[..., Array]) -> None:
    def prepare(request: KernelRequest) -> Prepared:
        def run(out: Array, *operands: Array) -> None:
            out[...] = function(*operands)

        return Prepared(run)

    kernel(primitive, "reference", "numpy")(prepare)


for _name, _function in _UFUNCS.items():
    _register(_name, _function)


@kernel("relu", "reference", "numpy")
def prepare_relu(request: KernelRequest) -> Prepared:
    """max(x, 0)."""

    def relu(out: Array, x: Array) -> None:
        out[...] = np.maximum(x, 0)

    return Prepared(relu)


@kernel("relu_gradient", "reference", "numpy")
def prepare_relu_gradient(request: KernelRequest) -> Prepared:
    """g where the output y of the ReLU is positive, else 0."""

    def relu_gradient(out: Array, g: Array, y: Array) -> None:
        out[...] = np.where(y > 0, g, 0)

    return Prepared(relu_gradient)


@kernel("cast", "reference", "numpy")
def prepare_cast(request: KernelRequest) -> Prepared:
    """The same values in another dtype."""
    dtype = request.attributes["dtype"]

    def cast(out: Array, x: Array) -> None:
        out[...] = x.astype(dtype)

    return Prepared(cast)


@kernel("bias_add", "reference", "numpy")
def prepare_bias_add(request: KernelRequest) -> Prepared:
    """x + b with the vector b along `axis`."""
    axis = request.attributes["axis"]

    def bias_add(out: Array, x: Array, b: Array) -> None:
        shape = [1] * x.ndim
        shape[axis] = b.size
        out[...] = x + b.reshape(shape)

    return Prepared(bias_add)
