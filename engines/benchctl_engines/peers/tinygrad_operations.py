"""The vocabulary in tinygrad, as TinyJit captures it.

Its convolution takes NCHW; an image in NHWC is permuted around it. That moves no array: the kernel
that makes the image writes it in the order that the convolution reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

from ..vocabulary import NO_PADDING, Padding, Pair
from .python_operators import PythonOperators

Tensor = Any
Axes = tuple[int, ...] | None
_TO_NCHW = (0, 3, 1, 2)
_TO_NHWC = (0, 2, 3, 1)
_RSCK_TO_KCRS = (3, 2, 0, 1)


class TinygradOperations(PythonOperators):
    """Native operations; see benchctl_engines.vocabulary."""

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        # Tensor.maximum would share the gradient of a tie.
        return (b > a).where(b, a)

    def greater(self, a: Tensor, b: Tensor) -> Tensor:
        return a > b

    def where(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return condition.where(a, b)

    def exp(self, x: Tensor) -> Tensor:
        return x.exp()

    def log(self, x: Tensor) -> Tensor:
        return x.log()

    def sqrt(self, x: Tensor) -> Tensor:
        return x.sqrt()

    def tanh(self, x: Tensor) -> Tensor:
        return x.tanh()

    def relu(self, x: Tensor) -> Tensor:
        return x.relu()

    def sum(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return x.sum(axes, keepdim=keepdims)

    def mean(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return x.mean(axes, keepdim=keepdims)

    def max(self, x: Tensor, axes: Axes = None, keepdims: bool = False) -> Tensor:
        return x.max(axes, keepdim=keepdims)

    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return x.reshape(shape)

    def transpose(self, x: Tensor, axes: Axes = None) -> Tensor:
        return x.permute(axes if axes is not None else tuple(reversed(range(x.ndim))))

    def broadcast_to(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        return x.expand(shape)

    def slice(
        self,
        x: Tensor,
        starts: tuple[int, ...],
        stops: tuple[int, ...],
        steps: tuple[int, ...] | None = None,
    ) -> Tensor:
        return x[tuple(map(slice, starts, stops, steps or (1,) * len(starts)))]

    def pad(self, x: Tensor, widths: tuple[Pair, ...]) -> Tensor:
        return x.pad(widths) if widths else x

    def concatenate(self, parts: Sequence[Tensor], axis: int = 0) -> Tensor:
        first, *others = parts
        return first.cat(*others, dim=axis)

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
        rows, columns = padding
        sides = (*columns, *rows)
        if layout == "NCHW":
            return x.conv2d(w, stride=stride, padding=sides)
        # Without `contiguous` the kernel before would write in NHWC, and this one read across.
        x, w = x.permute(_TO_NCHW).contiguous(), w.permute(_RSCK_TO_KCRS)
        return x.conv2d(w, stride=stride, padding=sides).permute(_TO_NHWC)

    def conv2d_transpose(
        self,
        x: Tensor,
        w: Tensor,
        stride: Pair = (1, 1),
        padding: Padding = NO_PADDING,
        output_padding: Pair = (0, 0),
        layout: str = "NCHW",
    ) -> Tensor:
        rows, columns = padding
        options = {
            "stride": stride,
            "padding": (*columns, *rows),
            "output_padding": output_padding,
        }
        if layout == "NCHW":
            return x.conv_transpose2d(w, **options)
        x, w = x.permute(_TO_NCHW).contiguous(), w.permute(_RSCK_TO_KCRS)
        return x.conv_transpose2d(w, **options).permute(_TO_NHWC)

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
        # Tensor.max_pool2d would share the gradient of a tie, and its backward is slower.
        none = (0, 0)
        sides = (none, none, *padding) if layout == "NCHW" else (none, *padding, none)
        if padding != NO_PADDING:
            x = x.pad(sides, value=-inf)
        # Computed once, not within each kernel of the convolution before that reads the gradient.
        x = x.contiguous_backward()
        first, *others = _places(x, window, stride or window, layout)
        for each in others:
            first = self.maximum(first, each)
        return first

    def average_pool2d(
        self,
        x: Tensor,
        window: Pair = (2, 2),
        stride: Pair | None = None,
        padding: Padding = NO_PADDING,
        layout: str = "NCHW",
    ) -> Tensor:
        rows, columns = padding
        x = x if layout == "NCHW" else x.permute(_TO_NCHW)
        sides = (*columns, *rows)
        y = x.avg_pool2d(window, stride or window, padding=sides, count_include_pad=False)
        return y if layout == "NCHW" else y.permute(_TO_NHWC)

    def softmax_cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.sparse_categorical_crossentropy(labels)


def _places(x: Tensor, window: Pair, stride: Pair, layout: str) -> Iterator[Tensor]:
    """For every place in a window, row by row, what all windows have there: [.., P, Q, ..]."""
    axis = 2 if layout == "NCHW" else 1
    rows, columns = (
        [slice(place, size - length + place + 1, step) for place in range(length)]
        for size, length, step in zip(x.shape[axis : axis + 2], window, stride, strict=True)
    )
    before = (slice(None),) * axis
    for row in rows:
        for column in columns:
            yield x[(*before, row, column)]
