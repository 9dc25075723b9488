"""The vocabulary in TensorFlow, computed at once, traced or put into a graph; images are NHWC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..vocabulary import NO_PADDING, Padding, Pair, transposed_size
from .python_operators import PythonOperators
from .tensorflow_control_flow import TensorflowControlFlow
from .tensorflow_random import TensorflowRandom
from .window_counts import window_counts

Tensor = Any
Axes = tuple[int, ...] | None


class TensorflowOperations(PythonOperators, TensorflowControlFlow, TensorflowRandom):
    """Native operations; see benchctl_engines.vocabulary."""

    def __init__(self) -> None:
        self._tf = import_module("tensorflow")

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        return self._tf.maximum(*self._alike(a, b))

    def greater(self, a: Tensor, b: Tensor) -> Tensor:
        return self._tf.greater(*self._alike(a, b))

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return self._tf.where(condition, *self._alike(a, b))

    def exp(self, x: Tensor) -> Tensor:
        return self._tf.exp(x)

    def log(self, x: Tensor) -> Tensor:
        return self._tf.math.log(x)

    def sqrt(self, x: Tensor) -> Tensor:
        return self._tf.sqrt(x)

    def tanh(self, x: Tensor) -> Tensor:
        return self._tf.tanh(x)

    def relu(self, x: Tensor) -> Tensor:
        return self._tf.nn.relu(x)

    def sum(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._tf.reduce_sum(x, axes, keepdims)

    def mean(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._tf.reduce_mean(x, axes, keepdims)

    def max(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._tf.reduce_max(x, axes, keepdims)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._tf.reshape(x, shape)

    def transpose(self, x: Tensor, axes: Axes = None) -> Tensor:
        return self._tf.transpose(x, axes)

    def broadcast_to(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._tf.broadcast_to(x, shape)

    def slice(
        self,
        x: Tensor,
        starts: tuple[int, ...],
        stops: tuple[int, ...],
        steps: tuple[int, ...] | None = None,
    ) -> Tensor:
        return x[tuple(map(slice, starts, stops, steps or (1,) * len(starts)))]

    def pad(self, x: Tensor, widths: tuple[Pair, ...]) -> Tensor:
        return self._tf.pad(x, widths) if widths else x

    def concatenate(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        return self._tf.concat(list(parts), axis)

    def matmul(
        self, a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False
    ) -> Tensor:
        return self._tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)

    def conv2d(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        _require_nhwc(layout)
        sizes, window = x.shape[1:3], w.shape[:2]
        return self._tf.nn.conv2d(x, w, stride, _named_padding(sizes, window, stride, padding))

    def conv2d_transpose(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        output_padding: Pair = (0, 0),
        layout: str = "NCHW",
    ) -> Tensor:
        _require_nhwc(layout)
        window = w.shape[:2]
        sizes = tuple(map(transposed_size, x.shape[1:3], window, stride, padding, output_padding))
        named = _named_padding(sizes, window, stride, padding)
        shape = (x.shape[0], *sizes, w.shape[2])
        return self._tf.nn.conv2d_transpose(x, w, shape, stride, named)

    def bias_add(self, x: Tensor, b: Tensor, axis: int = -1) -> Tensor:
        rank = len(x.shape)
        if axis % rank == rank - 1:
            return self._tf.nn.bias_add(x, b)
        return x + self._tf.reshape(b, (-1, *(1,) * (rank - 1 - axis % rank)))

    def max_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        _require_nhwc(layout)
        stride = stride or window
        named = _named_padding(x.shape[1:3], window, stride, padding)
        if not isinstance(named, str):
            # Explicit padding of poolings has no gradient on the CPU.
            x = self._tf.pad(x, named, constant_values=x.dtype.min)
            named = "VALID"
        return self._tf.nn.max_pool2d(x, window, stride, named)

    def average_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        _require_nhwc(layout)
        stride, sizes = stride or window, x.shape[1:3]
        named = _named_padding(sizes, window, stride, padding)
        if isinstance(named, str):
            return self._tf.nn.avg_pool2d(x, window, stride, named)
        means = self._tf.nn.avg_pool2d(self._tf.pad(x, named), window, stride, "VALID")
        shares = window[0] * window[1] / window_counts(sizes, window, stride, padding)
        return means * self._tf.constant(shares[:, :, None], x.dtype)

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = self._tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return self._tf.reduce_mean(losses)

    # What the layers of a network are made of, as TensorFlow's own layers compute it ------------

    def leaky_relu(self, x: Tensor, slope: float) -> Tensor:
        return self._tf.nn.leaky_relu(x, slope)

    def sigmoid(self, x: Tensor) -> Tensor:
        return self._tf.sigmoid(x)

    def softmax(self, x: Tensor, axis: int) -> Tensor:
        return self._tf.nn.softmax(x, axis)

    def batch_normalization(
        self, x: Tensor, scale: Tensor, shift: Tensor, epsilon: float, axis: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        # TensorFlow's fused kernel takes images.
        shape, channels = x.shape, x.shape[-1]
        images = x if len(shape) == 4 else self._tf.reshape(x, (-1, 1, 1, channels))
        y, mean, variance = self._tf.compat.v1.nn.fused_batch_norm(
            images, scale, shift, epsilon=epsilon, data_format="NHWC", is_training=True
        )
        # It divides the variance by one less than the number of elements.
        count = math.prod(shape) // channels
        return self._tf.reshape(y, shape), mean, variance * ((count - 1) / count)

    def _alike(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Both as tensors; a Python number takes the dtype of the other operand."""
        if isinstance(a, int | float) and not isinstance(b, int | float):
            return self._tf.convert_to_tensor(a, b.dtype), b
        a = self._tf.convert_to_tensor(a)
        return a, self._tf.convert_to_tensor(b, a.dtype)


def _require_nhwc(layout: str) -> None:
    if layout != "NHWC":
        raise ValueError(f"TensorFlow on the CPU expected layout NHWC, received {layout}")


def _named_padding(
    sizes: Sequence[int], window: Sequence[int], stride: Pair, padding: Padding
) -> Any:
    """TensorFlow's name of a padding where it has one, for which it has the faster kernels."""
    if padding == NO_PADDING:
        return "VALID"
    if padding == tuple(map(_same_padding, sizes, window, stride)):
        return "SAME"
    return [(0, 0), *padding, (0, 0)]


def _same_padding(size: int, window: int, stride: int) -> Pair:
    """What TensorFlow's "SAME" pads before and after an axis."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2
