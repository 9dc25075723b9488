"""The workload `layer_api`: does a layer API cost time, and how many lines does it save?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from ..by_hand.digit_classifier import DigitClassifierStep
from ..classifier import training_bytes
from ..digits.strokes import CLASSES, SIDE
from ..workload import Axis, Cost, Tolerance, Workload
from . import plain, with_layers

STYLES = {"layers": with_layers, "plain": plain}


class LayerApi(Workload):
    """A training step of one classifier of digits, in two styles of writing it."""

    name = "layer_api"
    summary = "a classifier written with layers or without"
    axes = (
        Axis(
            "style",
            "layers",
            tuple(STYLES),
            sweep=tuple(STYLES),
            description="how the network is written",
        ),
        Axis("batch", 32, sweep=(32,), description="images a step"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        images = rng.standard_normal((case["batch"], SIDE, SIDE, 1), dtype=np.float32)
        return {"images": images, "labels": rng.integers(0, CLASSES, (case["batch"],))}

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        made: dict[str, Array] = STYLES[case["style"]].initial_parameters(rng)
        return made

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        logits = STYLES[case["style"]].classify(ops, parameters, inputs["images"])
        loss = ops.softmax_cross_entropy(logits, inputs["labels"])
        return Outputs(values={"loss": loss}, objective=loss)

    def step(self, case: Case) -> Step:
        return "training"

    def by_hand(self, case: Case) -> ByHand:
        return DigitClassifierStep(self.learning_rate(case))

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """As for VGG16: an activation that float32 rounds to a kink's other side moves much."""
        return Tolerance(relative=1e-5 if output == "loss" else 0.2)

    def cost(self, case: Case) -> Cost:
        model, batch = with_layers.MODEL, case["batch"]
        # Forward, gradient of the weights, gradient of the input: the images need no gradient.
        passes = 3 * model.multiply_adds - model.rows()[0].multiply_adds
        moved = training_bytes(model.parameter_count, batch * SIDE * SIDE, batch)
        flops = 2 * passes * batch + 2 * model.parameter_count
        return Cost(flops, moved, model.parameter_count)

    def title(self, case: Case) -> str:
        written = "with layers" if case["style"] == "layers" else "in plain operations"
        return f"classifier of digits {written}, batch {case['batch']}"
