"""The workload `input_pipeline`: a training step that takes its batch from a pipeline.

How much of preparing hides behind the step? With a = the step on batches that were ready, b = with
preparing and prefetch=0, c = with a thread that works ahead, it is (b - c) / (b - a).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from ..by_hand.classifier import ClassifierStep
from ..classifier import classifier_parameters, classify, training_bytes
from ..datasets import Dataset
from ..digits.strokes import CLASSES, SIDE
from ..vgg_shapes import DenseShape
from ..workload import Axis, Cost, Tolerance, Workload
from .pictures import (
    PIXELS,
    features_of,
    square_sums_numpy,
    square_sums_python,
    stored_pictures,
    turned_to_negatives,
)

BATCHES = 8
"""Batches of an epoch."""
READY = "none"
_DECODERS: Mapping[str, Callable[[Array], Array]] = {
    READY: square_sums_numpy,
    "numpy": square_sums_numpy,
    "python": square_sums_python,
}


class InputPipeline(Workload):
    """Two dense layers, softmax cross-entropy, SGD; pictures decoded, shrunk and augmented."""

    name = "input_pipeline"
    summary = "training step that takes its batch from a pipeline: does preparing hide behind it?"
    axes = (
        Axis(
            "prepare",
            "numpy",
            tuple(_DECODERS),
            sweep=tuple(_DECODERS),
            description="none: batches are ready; numpy releases Python's lock, python holds it",
        ),
        Axis(
            "prefetch",
            2,
            (0, 1, 2, 4, 8),
            sweep=(0, 2),
            description="batches that a thread makes ahead; 0: no thread",
        ),
        Axis(
            "side",
            112,
            (28, 56, 112, 224),
            description="side of the stored pictures: how much there is to prepare",
        ),
        Axis("batch", 64, sweep=(16, 64), description="pictures a step"),
        Axis("width", 1024, description="units of the hidden layer: how much a step computes"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        with _prepared(case, rng).epoch() as batches:
            first: dict[str, Array] = next(batches)
            return first

    def feed(self, case: Case, rng: np.random.Generator) -> Iterator[Mapping[str, Array]]:
        """Batches of one epoch after another, each shuffled and augmented anew.

        Where nothing is to be prepared, those of the first epoch again and again.
        """
        batches = _prepared(case, rng)
        if case["prepare"] == READY:
            ready = list(batches)
            stacked = {name: np.stack([each[name] for each in ready]) for name in ready[0]}
            batches = Dataset.from_arrays(stacked)
        return batches.repeat().prefetch(case["prefetch"]).epoch()

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        return classifier_parameters(rng, _shapes(case), "NCHW", "fc")

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        features, batch = inputs["features"], case["batch"]
        logits = classify(ops, parameters, features, batch, _shapes(case), "NCHW", "fc")
        loss = ops.softmax_cross_entropy(logits, inputs["labels"])
        return Outputs(values={"loss": loss}, objective=loss)

    def step(self, case: Case) -> Step:
        return "training"

    def by_hand(self, case: Case) -> ByHand:
        return ClassifierStep(_shapes(case), "NCHW", "fc", self.learning_rate(case))

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """Sharp for the loss; see `classifier.network_tolerance` for what ReLUs do to updates."""
        if output == "loss":
            return Tolerance(relative=1e-5)
        return Tolerance(relative=1e-3 if output.startswith("parameter/output") else 0.2)

    def cost(self, case: Case) -> Cost:
        """That of the network: what preparing costs is to be found out."""
        shapes, batch = _shapes(case), case["batch"]
        parameters = sum(shape.parameter_count for shape in shapes)
        multiply_adds = sum(shape.multiply_adds for shape in shapes)
        # Forward, gradient of the weights, gradient of the input: the features need no gradient.
        passes = 3 * multiply_adds - shapes[0].multiply_adds
        moved = training_bytes(parameters, batch * PIXELS, batch)
        return Cost(2 * passes * batch + 2 * parameters, moved, parameters)

    def title(self, case: Case) -> str:
        ahead = f"{case['prefetch']} batches ahead" if case["prefetch"] else "nothing ahead"
        if case["prepare"] == READY:
            text = f"batches of {case['batch']} ready, {ahead}"
        else:
            picture = f"{case['batch']} pictures of {case['side']}x{case['side']}"
            text = f"{picture} prepared in {case['prepare']}, {ahead}"
        return f"{text}, width {case['width']}"


def _prepared(case: Case, rng: np.random.Generator) -> Dataset:
    """An epoch of prepared batches, without a thread."""
    count = BATCHES * case["batch"]
    pictures, labels = stored_pictures(rng, count, case["side"])
    seed = int(rng.integers(2**32))
    decode, square = _DECODERS[case["prepare"]], case["side"] // SIDE

    def decoded(batch: dict[str, Array]) -> dict[str, Array]:
        features = features_of(decode(batch["pictures"]), square)
        return {"features": features, "labels": batch["labels"]}

    def augmented(batch: dict[str, Array], own: np.random.Generator) -> dict[str, Array]:
        return {**batch, "features": turned_to_negatives(batch["features"], own)}

    stored = Dataset.from_arrays({"pictures": pictures, "labels": labels})
    # Half of them mix well enough, and show that not everything has to be held.
    batches = stored.shuffle(count // 2, seed).batch(case["batch"])
    return batches.map(decoded).map(augmented, seed)


def _shapes(case: Case) -> tuple[DenseShape, ...]:
    width = case["width"]
    return (
        DenseShape("hidden", PIXELS, width, 1),
        DenseShape("output", width, CLASSES, 1),
    )
