"""Batch normalisation (Ioffe and Szegedy 2015) and dropout (Srivastava et al. 2014)."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from ..vocabulary import own_operation
from .initializers import Shape
from .layer import Call, Layer, LayerError, ParameterSpec


class BatchNormalization(Layer):
    """Each channel with mean 0 and variance 1 over batch and positions, then scaled and shifted.

    In training the statistics are those of the batch (the variance divides by the number of
    elements), and the moving averages go on to momentum * old + (1 - momentum) * new. Otherwise the
    moving averages are the statistics.
    """

    kind = "batch_normalization"

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3, name: str = "") -> None:
        super().__init__(name)
        if not 0.0 <= momentum <= 1.0:
            raise LayerError(
                f"BatchNormalization expected a momentum from 0 to 1, received {momentum}"
            )
        if epsilon <= 0.0:
            raise LayerError(
                f"BatchNormalization expected an epsilon above 0, received {epsilon}; a channel "
                "that is the same everywhere would be divided by 0"
            )
        self.momentum = momentum
        self.epsilon = epsilon

    def output_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) not in (1, 3):
            raise LayerError(
                f"{self} expected vectors or images (height, width, channels), "
                f"received shape {shapes[0]}"
            )
        return shapes[0]

    def parameters(self, layout: str, *shapes: Shape) -> tuple[ParameterSpec, ...]:
        shape = (shapes[0][-1],)
        return (
            ParameterSpec("scale", shape, "ones"),
            ParameterSpec("shift", shape),
            ParameterSpec("moving_mean", shape, trainable=False),
            ParameterSpec("moving_variance", shape, "ones", trainable=False),
        )

    def forward(self, call: Call, *xs: Any) -> Any:
        ops, x, axis = call.ops, xs[0], call.channel_axis
        scale, shift = call.parameter("scale"), call.parameter("shift")
        if not call.training:
            variance = ops.add(call.parameter("moving_variance"), self.epsilon)
            factor = ops.divide(scale, ops.sqrt(variance))
            offset = ops.subtract(shift, ops.multiply(call.parameter("moving_mean"), factor))
            return ops.bias_add(ops.multiply(x, _beside(call, factor)), offset, axis)
        several = call.batch * math.prod(call.shapes[0][:-1]) > 1
        own = own_operation(ops, "batch_normalization") if several else None
        normalize = own or partial(_normalized, call)
        y, mean, variance = normalize(x, scale, shift, self.epsilon, axis)
        for name, new in (("moving_mean", mean), ("moving_variance", variance)):
            kept = ops.multiply(call.latest(name), self.momentum)
            call.update(name, ops.add(kept, ops.multiply(new, 1.0 - self.momentum)))
        return y


def _normalized(
    call: Call, x: Any, scale: Any, shift: Any, epsilon: float, axis: int
) -> tuple[Any, Any, Any]:
    """`LayerOperations.batch_normalization`, written in the vocabulary."""
    ops = call.ops
    mean = ops.mean(x, _all_but_channels(call))
    centred = ops.bias_add(x, ops.negative(mean), axis)
    variance = ops.mean(ops.multiply(centred, centred), _all_but_channels(call))
    factor = ops.divide(scale, ops.sqrt(ops.add(variance, epsilon)))
    return ops.bias_add(ops.multiply(centred, _beside(call, factor)), shift, axis), mean, variance


def _all_but_channels(call: Call) -> tuple[int, ...]:
    if len(call.shapes[0]) == 1:
        return (0,)
    return (0, 2, 3) if call.layout == "NCHW" else (0, 1, 2)


def _beside(call: Call, vector: Any) -> Any:
    """A number for each channel, of a shape that broadcasts beside x."""
    if call.channel_axis == -1:
        return vector
    return call.ops.reshape(vector, (call.shapes[0][-1], 1, 1))


class Dropout(Layer):
    """In training each element is 0 with probability `rate`, the others grow by 1 / (1 - rate).

    Which, says a counter: the same seed, place in the program and step give the same elements on
    every engine that has the vocabulary's random numbers.
    """

    kind = "dropout"

    def __init__(self, rate: float, name: str = "") -> None:
        super().__init__(name)
        if not 0.0 <= rate < 1.0:
            raise LayerError(
                f"Dropout expected a rate of at least 0 and below 1, received {rate}; it is the "
                "share that is dropped"
            )
        self.rate = rate

    def output_shape(self, *shapes: Shape) -> Shape:
        return shapes[0]

    def forward(self, call: Call, *xs: Any) -> Any:
        if not call.training or self.rate == 0.0:
            return xs[0]
        ops = call.ops
        own = own_operation(ops, "dropout")
        if own is not None:
            return own(xs[0], self.rate)
        # Single precision whatever x has: the float64 reference must drop the same elements.
        kept = ops.greater(ops.random_uniform(call.stored(call.shapes[0])), self.rate)
        return ops.where(kept, ops.multiply(xs[0], 1.0 / (1.0 - self.rate)), 0.0)
