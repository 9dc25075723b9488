"""Layers without weights: poolings, activations, and what changes or joins shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from .activations import LEAKY_SLOPE, activated, leaky_relu, require_activation
from .initializers import Shape
from .layer import Call, Layer, LayerError, image, pair, positive
from .windows import padding_of, positions, require_padding

_TO_NHWC = (0, 2, 3, 1)
_TO_NCHW = (0, 3, 1, 2)


class _Pooling(Layer):
    """Windows over images (H, W, C): (P, Q, C)."""

    def __init__(
        self,
        window: int | Sequence[int] = 2,
        stride: int | Sequence[int] | None = None,
        padding: str = "valid",
        name: str = "",
    ) -> None:
        super().__init__(name)
        word = type(self).__name__
        self.window = pair(word, "window", window)
        self.stride = self.window if stride is None else pair(word, "stride", stride)
        self.padding = require_padding(word, padding)

    def output_shape(self, *shapes: Shape) -> Shape:
        H, W, C = image(self, shapes[0])
        return (*positions(self, self.padding, (H, W), self.window, self.stride), C)

    operation: ClassVar[str]

    def forward(self, call: Call, *xs: Any) -> Any:
        H, W, _ = call.shapes[0]
        padding = padding_of(self.padding, (H, W), self.window, self.stride)
        pool = getattr(call.ops, self.operation)
        return pool(xs[0], self.window, self.stride, padding, call.layout)


class MaxPool2D(_Pooling):
    """The largest element of each window; `stride` is the window unless given."""

    kind = "max_pool2d"
    operation = "max_pool2d"


class AveragePool2D(_Pooling):
    """The mean of each window, padding not counted; `stride` is the window unless given."""

    kind = "average_pool2d"
    operation = "average_pool2d"


class GlobalAveragePool2D(Layer):
    """The mean of each channel: (H, W, C) to (C,)."""

    kind = "global_average_pool2d"

    def output_shape(self, *shapes: Shape) -> Shape:
        return (image(self, shapes[0])[2],)

    def forward(self, call: Call, *xs: Any) -> Any:
        return call.ops.mean(xs[0], (2, 3) if call.layout == "NCHW" else (1, 2))


class Flatten(Layer):
    """Everything of an example as one vector, images in the order height, width, channels."""

    kind = "flatten"

    def output_shape(self, *shapes: Shape) -> Shape:
        return (math.prod(shapes[0]),)

    def forward(self, call: Call, *xs: Any) -> Any:
        x = xs[0]
        if call.channel_axis == 1:
            x = call.ops.transpose(x, _TO_NHWC)
        return call.ops.reshape(x, (call.batch, math.prod(call.shapes[0])))


class Reshape(Layer):
    """The elements of an example, in the order of `Flatten`, under another shape."""

    kind = "reshape"

    def __init__(self, shape: Sequence[int], name: str = "") -> None:
        super().__init__(name)
        self.shape = tuple(positive("Reshape", "each size", size) for size in shape)

    def output_shape(self, *shapes: Shape) -> Shape:
        if math.prod(self.shape) != math.prod(shapes[0]):
            raise LayerError(
                f"{self} expected inputs of {math.prod(self.shape)} elements for {self.shape}, "
                f"received shape {shapes[0]} with {math.prod(shapes[0])}"
            )
        return self.shape

    def forward(self, call: Call, *xs: Any) -> Any:
        x = xs[0]
        if call.channel_axis == 1:
            x = call.ops.transpose(x, _TO_NHWC)
        x = call.ops.reshape(x, (call.batch, *self.shape))
        if call.layout == "NCHW" and len(self.shape) == 3:
            x = call.ops.transpose(x, _TO_NCHW)
        return x


class Activation(Layer):
    """An activation by name; softmax goes along the channels."""

    kind = "activation"

    def __init__(self, function: str, name: str = "") -> None:
        super().__init__(name)
        self.function = require_activation("Activation", function or "none")

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, call: Call, *xs: Any) -> Any:
        return activated(call.ops, self.function, xs[0], call.channel_axis)


class ReLU(Activation):
    """max(x, 0)."""

    kind = "relu"

    def __init__(self, name: str = "") -> None:
        super().__init__("relu", name)


class LeakyReLU(Layer):
    """x where it is positive, slope * x elsewhere."""

    kind = "leaky_relu"

    def __init__(self, slope: float = LEAKY_SLOPE, name: str = "") -> None:
        super().__init__(name)
        self.slope = slope

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, call: Call, *xs: Any) -> Any:
        return leaky_relu(call.ops, xs[0], self.slope)


class Concatenate(Layer):
    """Inputs side by side along the last axis: the channels of images, the features of vectors."""

    kind = "concatenate"
    inputs = None

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes) < 2 or len({each[:-1] for each in shapes}) > 1:
            received = " and ".join(map(str, shapes)) or "none"
            raise LayerError(
                f"{self} expected two or more inputs that differ in their last size only, "
                f"received {received}"
            )
        return (*shapes[0][:-1], sum(each[-1] for each in shapes))

    def forward(self, call: Call, *xs: Any) -> Any:
        axis = call.channel_axis
        return call.ops.concatenate(xs, len(call.shapes[0]) if axis == -1 else axis)


class Add(Layer):
    """The sum of inputs of one shape."""

    kind = "add"
    inputs = None

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes) < 2 or len(set(shapes)) > 1:
            received = " and ".join(map(str, shapes)) or "none"
            raise LayerError(
                f"{self} expected two or more inputs of one shape, received {received}"
            )
        return shapes[0]

    def forward(self, call: Call, *xs: Any) -> Any:
        total = xs[0]
        for each in xs[1:]:
            total = call.ops.add(total, each)
        return total
