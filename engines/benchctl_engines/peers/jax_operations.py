"""The vocabulary in JAX, as jax.jit traces it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from ..vocabulary import NO_PADDING, Padding, Pair
from .counter_random import CounterRandom, Key, philox_words
from .jax_control_flow import JaxControlFlow
from .python_operators import PythonOperators
from .window_counts import window_counts

Tensor = Any
Axes = tuple[int, ...] | None
_DIMENSIONS = {"NCHW": ("NCHW", "OIHW", "NCHW"), "NHWC": ("NHWC", "HWIO", "NHWC")}


class JaxOperations(PythonOperators, JaxControlFlow, CounterRandom):
    """Native operations; see benchctl_engines.vocabulary."""

    def __init__(self) -> None:
        self._jax = import_module("jax")
        self._np = import_module("jax.numpy")

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        # jnp.maximum would share the gradient of a tie.
        return self._np.where(b > a, b, a)

    def greater(self, a: Tensor, b: Tensor) -> Tensor:
        return a > b

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return self._np.where(condition, a, b)

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

    def concatenate(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        return self._np.concatenate(list(parts), axis)

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

    def conv2d_transpose(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        output_padding: Pair = (0, 0),
        layout: str = "NCHW",
    ) -> Tensor:
        window = w.shape[2:] if layout == "NCHW" else w.shape[:2]
        # Of the convolution over x spread by the stride.
        around = [
            (size - 1 - near, size - 1 - far + more)
            for size, (near, far), more in zip(window, padding, output_padding, strict=True)
        ]
        return self._jax.lax.conv_transpose(
            x, w, stride, around, dimension_numbers=_DIMENSIONS[layout], transpose_kernel=True
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
        lax = self._jax.lax
        return self._over_windows(
            x, -self._np.inf, lax.max, window, stride or window, padding, layout
        )

    def average_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        stride, nchw = stride or window, layout == "NCHW"
        sums = self._over_windows(x, 0.0, self._jax.lax.add, window, stride, padding, layout)
        counts = window_counts(x.shape[2:] if nchw else x.shape[1:3], window, stride, padding)
        return sums / self._np.asarray(counts if nchw else counts[:, :, None], x.dtype)

    def _over_windows(
        self,
        x: Tensor,
        start: float,
        combine: Any,
        window: Pair,
        stride: Pair,
        padding: Padding,
        layout: str,
    ) -> Tensor:
        def of_images(rows_and_columns: Any, other: Any) -> tuple[Any, ...]:
            """The same for every axis: `other` for images and channels."""
            if layout == "NCHW":
                return (other, other, *rows_and_columns)
            return (other, *rows_and_columns, other)

        return self._jax.lax.reduce_window(
            x,
            start,
            combine,
            of_images(window, 1),
            of_images(stride, 1),
            of_images(padding, (0, 0)),
        )

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        chosen = self._np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
        return self._np.mean(self._jax.nn.logsumexp(logits, axis=1) - chosen)

    def _own(self, shape: tuple[int, ...], dtype: str, normal: bool, site: int) -> Tensor:
        random = self._jax.random
        key = random.fold_in(random.fold_in(random.key(self._seed), self._step[0]), site)
        return (random.normal if normal else random.uniform)(key, shape, dtype)

    def _words(self, blocks: int, key: Key) -> Tensor:
        """In whole numbers of 32 bits, the only ones that JAX has by default."""
        index = self._np.arange(blocks, dtype=np.uint32)
        counter = (index, self._np.zeros_like(index), self._step[0], self._step[1])
        words = philox_words(counter, key, _product_words, np.uint32)
        return self._np.stack(words, 1).reshape(-1)

    def _shifted(self, words: Tensor, bits: int, dtype: str) -> Tensor:
        return (words >> np.uint32(bits)).astype(dtype)

    def _normal(self, uniform: Tensor, ulp: float) -> Tensor:
        radius = self._np.sqrt(-2.0 * self._np.log(uniform[0::2] + ulp))
        angle = 2.0 * math.pi * uniform[1::2]
        parts = [radius * self._np.cos(angle), radius * self._np.sin(angle)]
        return self._np.stack(parts, 1).reshape(-1)


def _product_words(constant: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """The high and the low word of a product, from products of half words."""
    half, shift = np.uint32(0xFFFF), np.uint32(16)
    a, b = np.uint32(constant & 0xFFFF), np.uint32(constant >> 16)
    low, high = word & half, word >> shift
    middle = b * low + (a * low >> shift)
    other = a * high + (middle & half)
    return b * high + (middle >> shift) + (other >> shift), word * np.uint32(constant)
