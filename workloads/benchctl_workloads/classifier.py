"""The classifier of VGG16, fc6 to fc8, as dense layers or as convolutions over the same weights.

Canonical weights are [inputs, outputs] with the inputs in the order C, H, W. As convolutions, fc6
is a filter as large as the maps and fc7 and fc8 are 1x1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array

from .initialisers import LINEAR_GAIN, RELU_GAIN, he_normal, small_biases
from .vgg_shapes import CLASSES, DenseShape
from .workload import Tolerance


def classifier_parameters(
    rng: np.random.Generator, shapes: tuple[DenseShape, ...], layout: str, head: str
) -> dict[str, Array]:
    """`<name>_weight` and `<name>_bias` of each layer, arranged for the layout and head."""
    parameters = {}
    for shape in shapes:
        gain = LINEAR_GAIN if shape is shapes[-1] else RELU_GAIN
        weight = he_normal(rng, (shape.inputs, shape.outputs), shape.inputs, gain)
        parameters[f"{shape.name}_weight"] = arrange_dense(weight, shape, layout, head)
        parameters[f"{shape.name}_bias"] = small_biases(rng, shape.outputs)
    return parameters


def arrange_dense(weight: Array, shape: DenseShape, layout: str, head: str) -> Array:
    """A canonical weight [C*H*W, K] as the layout and head store it."""
    if head == "fc" and (layout == "NCHW" or shape.side == 1):
        return weight
    maps = weight.reshape(-1, shape.side, shape.side, shape.outputs)  # C H W K
    if layout == "NCHW":
        return np.ascontiguousarray(maps.transpose(3, 0, 1, 2))  # K C H W
    filters = np.ascontiguousarray(maps.transpose(1, 2, 0, 3))  # H W C K
    return filters.reshape(weight.shape) if head == "fc" else filters


def classify(
    ops: Any,
    parameters: Mapping[str, Any],
    features: Any,
    batch: int,
    shapes: tuple[DenseShape, ...],
    layout: str,
    head: str,
) -> Any:
    """Logits [N, classes] of features in `layout`."""
    x = ops.reshape(features, (batch, shapes[0].inputs)) if head == "fc" else features
    for shape in shapes:
        weight, bias = parameters[f"{shape.name}_weight"], parameters[f"{shape.name}_bias"]
        if head == "fc":
            x = ops.bias_add(ops.matmul(x, weight), bias, axis=-1)
        else:
            x = ops.conv2d(x, weight, layout=layout)
            x = ops.bias_add(x, bias, axis=1 if layout == "NCHW" else -1)
        if shape is not shapes[-1]:
            x = ops.relu(x)
    return x if head == "fc" else ops.reshape(x, (batch, CLASSES))


def network_tolerance(output: str) -> Tolerance:
    """How far the logits, the loss and the update of each parameter may be from float64.

    The gradient of a network with ReLU and max pooling is not continuous: an activation that
    float32 rounds to the other side of 0, or of its neighbour in a pooling window, moves its whole
    gradient. In 300 random networks the worst element of an update below fc8 was off by at most
    6 %, of fc8, which no ReLU follows, by 2e-5. The sharp checks are the loss here and each
    operation's gradient in the tests.
    """
    if output == "logits":
        return Tolerance(relative=5e-5)
    if output == "loss":
        return Tolerance(relative=1e-5)
    return Tolerance(relative=1e-3 if output.startswith("parameter/fc8") else 0.2)


def training_bytes(parameter_count: int, input_scalars: int, batch: int) -> int:
    """Bytes of a training step: float32 inputs read, parameters read and written, int64 labels."""
    return 4 * (input_scalars + 2 * parameter_count + 1) + 8 * batch
