"""The vocabulary in JAX, as jax.jit traces it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..vocabulary import NO_PADDING, Padding, Pair

Tensor = Any
Axes = tuple[int, ...] | None
_DIMENSIONS = {"NCHW": ("NCHW", "OIHW", "NCHW"), "NHWC": ("NHWC", "HWIO", "NHWC")}


class JaxOperations:
    """Native operations; see benchctl_engines.vocabulary."""

    def __init__(self) -> None:
        self._jax = import_module("jax")
        self._np = import_module("jax.numpy")

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def subtract(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return a / b

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        # jnp.maximum would share the gradient of a tie.
        return self._np.where(b > a, b, a)

    def greater(self, a: Tensor, b: Tensor) -> Tensor:
        return a > b

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return self._np.where(condition, a, b)

    def negative(self, x: Tensor) -> Tensor:
        return -x

    def exp(self, x: Tensor) -> Tensor:
        return self._np.exp(x)

    def log(self, x: Tensor) -> Tensor:
        return self._np.log(x)

    def sqrt(self, x: Tensor) -> Tensor:
        return self._np.sqrt(x)

    def tanh(self, x: Tensor) -> Tensor:
        return self._np.tanh(x)

    def relu(self, x: Tensor) -> Tensor:
        return self._jax.nn.relu(x)

    def sum(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._np.sum(x, axes, keepdims=keepdims)

    def mean(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._np.mean(x, axes, keepdims=keepdims)

    def max(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._np.max(x, axes, keepdims=keepdims)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._np.reshape(x, shape)

    def transpose(self, x: Tensor, axes: Axes = None) -> Tensor:
        return self._np.transpose(x, axes)

    def broadcast_to(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._np.broadcast_to(x, shape)

    def slice(
        self,
        x: Tensor,
        starts: tuple[int, ...],
        stops: tuple[int, ...],
        steps: tuple[int, ...] | None = None,
    ) -> Tensor:
        return self._jax.lax.slice(x, starts, stops, steps)

    def pad(self, x: Tensor, widths: tuple[Pair, ...]) -> Tensor:
        return self._np.pad(x, widths) if widths else x

    def matmul(
        self, a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False
    ) -> Tensor:
        return (a.T if transpose_a else a) @ (b.T if transpose_b else b)

    def conv2d(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        return self._jax.lax.conv_general_dilated(
            x, w, stride, padding, dimension_numbers=_DIMENSIONS[layout]
        )

    def bias_add(self, x: Tensor, b: Tensor, axis: int = -1) -> Tensor:
        trailing = x.ndim - 1 - axis % x.ndim
        return x + b.reshape(-1, *(1,) * trailing)

    def max_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        def of_images(rows_and_columns: Any, other: Any) -> tuple[Any, ...]:
            """The same for every axis: `other` for images and channels."""
            if layout == "NCHW":
                return (other, other, *rows_and_columns)
            return (other, *rows_and_columns, other)

        return self._jax.lax.reduce_window(
            x,
            -self._np.inf,
            self._jax.lax.max,
            of_images(window, 1),
            of_images(stride or window, 1),
            of_images(padding, (0, 0)),
        )

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        chosen = self._np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        return self._np.mean(self._jax.nn.logsumexp(logits, axis=1) - chosen)
