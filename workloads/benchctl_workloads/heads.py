"""The classifier of VGG16 alone: does its form, dense or convolution, decide the time?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from .by_hand.classifier import ClassifierStep
from .classifier import classifier_parameters, classify, network_tolerance, training_bytes
from .initialisers import arrange_images, random_images
from .vgg_shapes import CLASSES, HEAD_AXIS, LAYOUT_AXIS, MODE_AXIS, DenseShape, classifier_shapes
from .workload import Axis, Cost, Tolerance, Workload


class Heads(Workload):
    """fc6 to fc8 over the maps of the last pooling, as dense layers or as convolutions."""

    name = "heads"
    summary = "VGG16's classifier as dense layers or as convolutions"
    axes = (
        HEAD_AXIS,
        LAYOUT_AXIS,
        MODE_AXIS,
        Axis("batch", 1, sweep=(1, 16), description="images a step"),
        Axis("side", 7, description="side of the maps"),
        Axis("channels", 512, description="number of maps"),
        Axis("width", 4096, description="units of fc6 and fc7"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        shape = (case["batch"], case["channels"], case["side"], case["side"])
        maps = random_images(rng, shape)
        np.maximum(maps, 0, out=maps)  # what arrives from a ReLU
        inputs = {"features": arrange_images(maps, case["layout"])}
        if case["mode"] == "training":
            inputs["labels"] = rng.integers(0, CLASSES, (case["batch"],))
        return inputs

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        return classifier_parameters(rng, _shapes(case), case["layout"], case["head"])

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        features = inputs["features"]
        logits = classify(
            ops, parameters, features, case["batch"], _shapes(case), case["layout"], case["head"]
        )
        if case["mode"] == "inference":
            return Outputs(values={"logits": logits})
        loss = ops.softmax_cross_entropy(logits, inputs["labels"])
        return Outputs(values={"loss": loss}, objective=loss)

    def step(self, case: Case) -> Step:
        return "training" if case["mode"] == "training" else "forward"

    def by_hand(self, case: Case) -> ByHand:
        learning_rate = self.learning_rate(case) if case["mode"] == "training" else None
        return ClassifierStep(_shapes(case), case["layout"], case["head"], learning_rate)

    def tolerance(self, case: Case, output: str) -> Tolerance:
        return network_tolerance(output)

    def cost(self, case: Case) -> Cost:
        shapes, batch = _shapes(case), case["batch"]
        parameters = sum(shape.parameter_count for shape in shapes)
        multiply_adds = sum(shape.multiply_adds for shape in shapes)
        scalars = batch * shapes[0].inputs
        if case["mode"] == "inference":
            moved = 4 * (scalars + batch * CLASSES + parameters)
            return Cost(2 * multiply_adds * batch, moved, parameters)
        # Forward, gradient of the weights, gradient of the input: the maps need no gradient.
        passes = 3 * multiply_adds - shapes[0].multiply_adds
        moved = training_bytes(parameters, scalars, batch)
        return Cost(2 * passes * batch + 2 * parameters, moved, parameters)

    def title(self, case: Case) -> str:
        form = "dense layers" if case["head"] == "fc" else "convolutions"
        form += f" of width {case['width']}"
        maps = f"{case['channels']} maps of {case['side']}x{case['side']}"
        return f"fc6 to fc8 as {form}, {case['mode']}, batch {case['batch']} of {maps}, " + str(
            case["layout"]
        )


def _shapes(case: Case) -> tuple[DenseShape, ...]:
    return classifier_shapes(case["channels"], case["side"], case["width"])
