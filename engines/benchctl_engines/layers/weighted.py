"""Layers with weights: dense, convolution and transposed convolution.

Axis letters: C channels in, K channels out, H W input, R S filter, P Q output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .activations import activated, require_activation
from .initializers import Initializer, Shape, find_initializer
from .layer import Call, Layer, LayerError, ParameterSpec, image, pair, positive
from .windows import (
    padding_of,
    positions,
    require_padding,
    transposed_padding,
    transposed_positions,
)

# Filters are drawn [K, C, R, S].
_STORED = {"NCHW": (0, 1, 2, 3), "NHWC": (2, 3, 1, 0)}


def _filters(
    layout: str, shape: tuple[int, int, int, int], make: str | Initializer, fans: tuple[int, int]
) -> ParameterSpec:
    """Filters [K, C, R, S] as the layout stores them."""
    axes = _STORED[layout]
    stored = tuple(shape[axis] for axis in axes)
    return ParameterSpec("weight", stored, make, *fans, drawn=axes)


class Dense(Layer):
    """x w + b over the last axis of vectors: (features,) to (units,)."""

    kind = "dense"

    def __init__(
        self,
        units: int,
        activation: str = "",
        *,
        bias: bool = True,
        initializer: str | Initializer = "glorot_uniform",
        name: str = "",
    ) -> None:
        super().__init__(name)
        self.units = positive("Dense", "units", units)
        self.activation = require_activation("Dense", activation)
        self.bias = bias
        self.initializer = find_initializer(initializer)

    def output_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if len(shape) != 1:
            raise LayerError(
                f"{self} expected vectors, received shape {shape}; put a Flatten before it"
            )
        return (self.units,)

    def parameters(self, layout: str, *shapes: Shape) -> tuple[ParameterSpec, ...]:
        ((features,),) = shapes
        fans = features, self.units
        weight = ParameterSpec("weight", (features, self.units), self.initializer, *fans)
        return (weight, ParameterSpec("bias", (self.units,))) if self.bias else (weight,)

    def forward(self, call: Call, *xs: Any) -> Any:
        y = call.ops.matmul(xs[0], call.parameter("weight"))
        if self.bias:
            y = call.ops.bias_add(y, call.parameter("bias"))
        return activated(call.ops, self.activation, y, -1)

    def multiply_adds(self, *shapes: Shape) -> int:
        ((features,),) = shapes
        return features * self.units


class _Convolution(Layer):
    """What both convolutions are made of."""

    def __init__(
        self,
        filters: int,
        window: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: str = "valid",
        activation: str = "",
        *,
        bias: bool = True,
        initializer: str | Initializer = "glorot_uniform",
        name: str = "",
    ) -> None:
        super().__init__(name)
        word = type(self).__name__
        self.filters = positive(word, "filters", filters)
        self.window = pair(word, "window", window)
        self.stride = pair(word, "stride", stride)
        self.padding = require_padding(word, padding)
        self.activation = require_activation(word, activation)
        self.bias = bias
        self.initializer = find_initializer(initializer)

    def _with_bias(self, weight: ParameterSpec) -> tuple[ParameterSpec, ...]:
        return (weight, ParameterSpec("bias", (self.filters,))) if self.bias else (weight,)

    def _finished(self, call: Call, y: Any) -> Any:
        axis = call.channel_axis
        if self.bias:
            y = call.ops.bias_add(y, call.parameter("bias"), axis)
        return activated(call.ops, self.activation, y, axis)


class Conv2D(_Convolution):
    """Cross-correlation of images (H, W, C) with `filters` filters: (P, Q, filters)."""

    kind = "conv2d"

    def output_shape(self, *shapes: Shape) -> Shape:
        H, W, _ = image(self, shapes[0])
        return (*positions(self, self.padding, (H, W), self.window, self.stride), self.filters)

    def parameters(self, layout: str, *shapes: Shape) -> tuple[ParameterSpec, ...]:
        C, (R, S) = shapes[0][2], self.window
        fans = C * R * S, self.filters * R * S
        return self._with_bias(_filters(layout, (self.filters, C, R, S), self.initializer, fans))

    def forward(self, call: Call, *xs: Any) -> Any:
        H, W, _ = call.shapes[0]
        padding = padding_of(self.padding, (H, W), self.window, self.stride)
        weight = call.parameter("weight")
        y = call.ops.conv2d(xs[0], weight, self.stride, padding, call.layout)
        return self._finished(call, y)

    def multiply_adds(self, *shapes: Shape) -> int:
        C, (R, S), (P, Q, K) = shapes[0][2], self.window, self.output_shape(*shapes)
        return P * Q * K * C * R * S


class Conv2DTranspose(_Convolution):
    """The convolution that makes larger images: (P, Q, K) to (H, W, filters).

    It carries images as the gradient of a convolution is carried from its output to its input.
    With padding "same" H is P times the stride.
    """

    kind = "conv2d_transpose"

    def output_shape(self, *shapes: Shape) -> Shape:
        P, Q, _ = image(self, shapes[0])
        sizes = transposed_positions(self.padding, (P, Q), self.window, self.stride)
        return (*sizes, self.filters)

    def parameters(self, layout: str, *shapes: Shape) -> tuple[ParameterSpec, ...]:
        # The filters of the convolution in the other direction: its input has the channels C.
        K, (R, S) = shapes[0][2], self.window
        fans = K * R * S, self.filters * R * S
        return self._with_bias(_filters(layout, (K, self.filters, R, S), self.initializer, fans))

    def forward(self, call: Call, *xs: Any) -> Any:
        padding, more = transposed_padding(self.padding, self.window, self.stride)
        weight = call.parameter("weight")
        y = call.ops.conv2d_transpose(xs[0], weight, self.stride, padding, more, call.layout)
        return self._finished(call, y)

    def multiply_adds(self, *shapes: Shape) -> int:
        (P, Q, K), (R, S) = shapes[0], self.window
        return P * Q * K * self.filters * R * S
