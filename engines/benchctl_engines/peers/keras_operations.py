"""The vocabulary in keras.ops; images are NHWC."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from ..vocabulary import NO_PADDING, Padding, Pair, transposed_size
from .tensorflow_random import TensorflowRandom
from .window_counts import window_counts

Tensor = Any
Axes = tuple[int, ...] | None


class KerasOperations(TensorflowRandom):
    """Native operations; see benchctl_engines.vocabulary."""

    def __init__(self) -> None:
        keras = import_module("keras")
        self._ops = keras.ops
        self._standard_dtype = keras.backend.standardize_dtype

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return self._ops.add(a, b)

    def subtract(self, a: Tensor, b: Tensor) -> Tensor:
        return self._ops.subtract(a, b)

    def multiply(self, a: Tensor, b: Tensor) -> Tensor:
        return self._ops.multiply(a, b)

    def divide(self, a: Tensor, b: Tensor) -> Tensor:
        return self._ops.divide(a, b)

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        return self._ops.maximum(a, b)

    def greater(self, a: Tensor, b: Tensor) -> Tensor:
        return self._ops.greater(a, b)

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return self._ops.where(condition, a, b)

    def negative(self, x: Tensor) -> Tensor:
        return self._ops.negative(x)

    def exp(self, x: Tensor) -> Tensor:
        return self._ops.exp(x)

    def log(self, x: Tensor) -> Tensor:
        return self._ops.log(x)

    def sqrt(self, x: Tensor) -> Tensor:
        return self._ops.sqrt(x)

    def tanh(self, x: Tensor) -> Tensor:
        return self._ops.tanh(x)

    def relu(self, x: Tensor) -> Tensor:
        return self._ops.relu(x)

    def sum(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._ops.sum(x, axis=axes, keepdims=keepdims)

    def mean(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._ops.mean(x, axis=axes, keepdims=keepdims)

    def max(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return self._ops.max(x, axis=axes, keepdims=keepdims)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._ops.reshape(x, shape)

    def transpose(self, x: Tensor, axes: Axes = None) -> Tensor:
        return self._ops.transpose(x, axes)

    def broadcast_to(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return self._ops.broadcast_to(x, shape)

    def slice(
        self,
        x: Tensor,
        starts: tuple[int, ...],
        stops: tuple[int, ...],
        steps: tuple[int, ...] | None = None,
    ) -> Tensor:
        return x[tuple(map(slice, starts, stops, steps or (1,) * len(starts)))]

    def pad(self, x: Tensor, widths: tuple[Pair, ...]) -> Tensor:
        return self._ops.pad(x, widths) if widths else x

    def concatenate(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        return self._ops.concatenate(list(parts), axis=axis)

    def matmul(
        self, a: Tensor, b: Tensor, transpose_a: bool = False, transpose_b: bool = False
    ) -> Tensor:
        left = self._ops.transpose(a) if transpose_a else a
        right = self._ops.transpose(b) if transpose_b else b
        return self._ops.matmul(left, right)

    def conv2d(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        _require_nhwc(layout)
        named, x = self._padded(x, tuple(w.shape[:2]), stride, padding)
        return self._ops.conv(x, w, strides=stride, padding=named, data_format="channels_last")

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
        window, sizes = tuple(w.shape[:2]), tuple(x.shape[1:3])
        result = tuple(map(transposed_size, sizes, window, stride, padding, output_padding))
        same = tuple(
            (max(size - step, 0) // 2, max(size - step, 0) - max(size - step, 0) // 2)
            for size, step in zip(window, stride, strict=True)
        )
        stretched = tuple(size * step for size, step in zip(sizes, stride, strict=True))
        if tuple(map(tuple, padding)) == same and result == stretched:
            return self._transposed(x, w, stride, "same")
        whole = self._transposed(x, w, stride, "valid")
        starts = [near for near, _ in padding]
        behind = [
            max(start + size - there, 0)
            for start, size, there in zip(starts, result, whole.shape[1:3], strict=True)
        ]
        if any(behind):
            whole = self._ops.pad(whole, ((0, 0), (0, behind[0]), (0, behind[1]), (0, 0)))
        rows, columns = (
            slice(start, start + size) for start, size in zip(starts, result, strict=True)
        )
        return whole[:, rows, columns, :]

    def _transposed(self, x: Tensor, w: Tensor, stride: Pair, padding: str) -> Tensor:
        return self._ops.conv_transpose(
            x, w, strides=stride, padding=padding, data_format="channels_last"
        )

    def bias_add(self, x: Tensor, b: Tensor, axis: int = -1) -> Tensor:
        rank = len(x.shape)
        if axis % rank != rank - 1:
            b = self._ops.reshape(b, (-1, *(1,) * (rank - 1 - axis % rank)))
        return self._ops.add(x, b)

    def max_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        _require_nhwc(layout)
        if padding != NO_PADDING:
            lowest = float(np.finfo(self._standard_dtype(x.dtype)).min)
            x = self._ops.pad(x, ((0, 0), *padding, (0, 0)), constant_values=lowest)
        return self._ops.max_pool(
            x, window, strides=stride or window, padding="valid", data_format="channels_last"
        )

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
        if padding != NO_PADDING:
            x = self._ops.pad(x, ((0, 0), *padding, (0, 0)))
        means = self._ops.average_pool(
            x, window, strides=stride, padding="valid", data_format="channels_last"
        )
        if padding == NO_PADDING:
            return means
        shares = window[0] * window[1] / window_counts(sizes, window, stride, padding)
        return self._ops.multiply(means, self._ops.cast(shares[:, :, None], x.dtype))

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        losses = self._ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return self._ops.mean(losses)

    def _padded(self, x: Tensor, window: Pair, stride: Pair, padding: Padding) -> tuple[str, Any]:
        """A padding as Keras names it, or the image padded beforehand."""
        if padding == NO_PADDING:
            return "valid", x
        # "same" of an odd window at stride 1 is what Keras's users write.
        halves = tuple(((size - 1) // 2, size // 2) for size in window)
        if tuple(stride) == (1, 1) and tuple(map(tuple, padding)) == halves:
            return "same", x
        return "valid", self._ops.pad(x, ((0, 0), *padding, (0, 0)))


def _require_nhwc(layout: str) -> None:
    if layout != "NHWC":
        raise ValueError(f"Keras on TensorFlow expected layout NHWC, received {layout}")
