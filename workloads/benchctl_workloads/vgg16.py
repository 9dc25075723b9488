"""VGG16: thirteen 3x3 convolutions and a classifier, forward or as one training step.

Every axis combination computes the same numbers from one seed: layout and head only change how
images and weights are stored and which operations are used.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from .by_hand.vgg16 import Vgg16Step
from .classifier import classifier_parameters, classify, network_tolerance, training_bytes
from .initialisers import arrange_filters, arrange_images, he_normal, random_images, small_biases
from .vgg_shapes import (
    CLASSES,
    HEAD_AXIS,
    IMAGE_CHANNELS,
    IMAGE_SIZE_AXIS,
    LAYOUT_AXIS,
    MODE_AXIS,
    PAPER_WIDTH,
    POOLINGS,
    ConvolutionShape,
    DenseShape,
    classifier_shapes,
    classifier_width,
    convolution_shapes,
    feature_channels,
)
from .workload import Axis, Cost, Tolerance, Workload

_SAME = ((1, 1), (1, 1))


class Vgg16(Workload):
    """VGG16 with He-initialised weights on random images, 1000 classes."""

    name = "vgg16"
    summary = "VGG16 forward pass or training step"
    axes = (
        LAYOUT_AXIS,
        HEAD_AXIS,
        MODE_AXIS,
        Axis("batch", 1, sweep=(1, 16), description="images a step"),
        IMAGE_SIZE_AXIS,
        Axis("width", PAPER_WIDTH, description="channels of the first block; all others scale"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        batch, size = case["batch"], case["image_size"]
        images = random_images(rng, (batch, IMAGE_CHANNELS, size, size))
        inputs = {"images": arrange_images(images, case["layout"])}
        if case["mode"] == "training":
            inputs["labels"] = rng.integers(0, CLASSES, (batch,))
        return inputs

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        parameters = {}
        for shape in convolutions_of(case):
            filters = he_normal(rng, (shape.K, shape.C, 3, 3), shape.C * 9)
            parameters[f"{shape.name}_weight"] = arrange_filters(filters, case["layout"])
            parameters[f"{shape.name}_bias"] = small_biases(rng, shape.K)
        head = classifier_parameters(rng, classifier_of(case), case["layout"], case["head"])
        return parameters | head

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        maps = features(ops, parameters, inputs["images"], case)
        shapes, layout = classifier_of(case), case["layout"]
        logits = classify(ops, parameters, maps, case["batch"], shapes, layout, case["head"])
        if case["mode"] == "inference":
            return Outputs(values={"logits": logits})
        loss = ops.softmax_cross_entropy(logits, inputs["labels"])
        return Outputs(values={"loss": loss}, objective=loss)

    def step(self, case: Case) -> Step:
        return "training" if case["mode"] == "training" else "forward"

    def learning_rate(self, case: Case) -> float:
        """Small enough for repeated steps on one image to converge at the paper's size."""
        return 0.001

    def by_hand(self, case: Case) -> ByHand:
        return Vgg16Step(
            convolutions_of(case),
            classifier_of(case),
            case["layout"],
            case["head"],
            self.learning_rate(case) if case["mode"] == "training" else None,
        )

    def tolerance(self, case: Case, output: str) -> Tolerance:
        return network_tolerance(output)

    def cost(self, case: Case) -> Cost:
        convolutions, dense = convolutions_of(case), classifier_of(case)
        batch, pixels = case["batch"], case["image_size"] ** 2 * IMAGE_CHANNELS
        layers: tuple[ConvolutionShape | DenseShape, ...] = (*convolutions, *dense)
        parameters = sum(layer.parameter_count for layer in layers)
        multiply_adds = sum(layer.multiply_adds for layer in layers)
        if case["mode"] == "inference":
            moved = 4 * (batch * (pixels + CLASSES) + parameters)
            return Cost(2 * multiply_adds * batch, moved, parameters)
        # Forward, gradient of the weights, gradient of the input: the images need no gradient.
        passes = 3 * multiply_adds - convolutions[0].multiply_adds
        moved = training_bytes(parameters, batch * pixels, batch)
        return Cost(2 * passes * batch + 2 * parameters, moved, parameters)

    def title(self, case: Case) -> str:
        size = case["image_size"]
        text = f"{case['mode']}, batch {case['batch']} of {size}x{size}, "
        text += f"{case['layout']}, {case['head']} head"
        return text if case["width"] == PAPER_WIDTH else f"{text}, width {case['width']}"


def features(
    ops: Any,
    parameters: Mapping[str, Any],
    images: Any,
    case: Case,
    seen: MutableMapping[str, Any] | None = None,
) -> Any:
    """The maps after the last pooling; `seen` receives each convolution after its ReLU, by name."""
    x, layout = images, case["layout"]
    for shape in convolutions_of(case):
        x = ops.conv2d(x, parameters[f"{shape.name}_weight"], padding=_SAME, layout=layout)
        bias = parameters[f"{shape.name}_bias"]
        x = ops.relu(ops.bias_add(x, bias, axis=1 if layout == "NCHW" else -1))
        if seen is not None:
            seen[shape.name] = x
        if shape.pooled:
            x = ops.max_pool2d(x, (2, 2), layout=layout)
    return x


def convolutions_of(case: Case) -> tuple[ConvolutionShape, ...]:
    """The thirteen convolutions of a case."""
    return convolution_shapes(case["width"], case["image_size"])


def classifier_of(case: Case) -> tuple[DenseShape, ...]:
    """fc6 to fc8 of a case."""
    width = case["width"]
    side = case["image_size"] // 2**POOLINGS
    return classifier_shapes(feature_channels(width), side, classifier_width(width))
