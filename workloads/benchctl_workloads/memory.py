"""Who keeps activations: a chain of dense layers whose peak of memory tells.

A layer's activation is large beside its weights. A forward pass needs two of them at a time,
however deep the chain; a training step needs all, and nobody more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from .by_hand.memory import MemoryStep
from .initialisers import he_normal, small_biases
from .vgg_shapes import MODE_AXIS
from .workload import Axis, Cost, Tolerance, Workload


class MemoryChain(Workload):
    """`depth` dense layers with ReLU over many rows, and the mean of their squared result."""

    name = "memory"
    summary = "a deep chain of layers whose peak of memory shows who keeps activations"
    axes = (
        MODE_AXIS,
        Axis("depth", 16, sweep=(8, 32), description="number of layers"),
        Axis("rows", 16384, description="rows of an activation"),
        Axis("width", 64, description="columns of an activation"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        return {"x": rng.standard_normal((case["rows"], case["width"]), dtype=np.float32)}

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        width, parameters = case["width"], {}
        for layer in layers_of(case):
            parameters[f"{layer}_weight"] = he_normal(rng, (width, width), width)
            parameters[f"{layer}_bias"] = small_biases(rng, width)
        return parameters

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        x = inputs["x"]
        for layer in layers_of(case):
            x = ops.matmul(x, parameters[f"{layer}_weight"])
            x = ops.relu(ops.bias_add(x, parameters[f"{layer}_bias"]))
        if case["mode"] == "inference":
            return Outputs(values={"mean": ops.mean(x, (0,))})
        loss = ops.mean(ops.multiply(x, x))
        return Outputs(values={"loss": loss}, objective=loss)

    def step(self, case: Case) -> Step:
        return "training" if case["mode"] == "training" else "forward"

    def by_hand(self, case: Case) -> ByHand:
        rate = self.learning_rate(case) if case["mode"] == "training" else None
        return MemoryStep(layers_of(case), rate)

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """Sums over all rows leave little of what a ReLU at its kink moves in one of them."""
        if output == "loss":
            return Tolerance(relative=1e-5)
        return Tolerance(relative=5e-5 if output == "mean" else 1e-2)

    def cost(self, case: Case) -> Cost:
        rows, width, depth = case["rows"], case["width"], case["depth"]
        parameters = depth * (width * width + width)
        products = depth * rows * width * width
        if case["mode"] == "inference":
            return Cost(2 * products, 4 * (rows * width + parameters + width), parameters)
        # Forward, gradient of the weights, gradient of the input: the rows need no gradient.
        passes = 3 * products - rows * width * width
        moved = 4 * (rows * width + 2 * parameters + 1)
        return Cost(2 * passes + 2 * parameters, moved, parameters)

    def title(self, case: Case) -> str:
        size = f"{case['rows']}x{case['width']}"
        return f"{case['mode']}, {case['depth']} layers over {size}"


def layers_of(case: Case) -> tuple[str, ...]:
    """The names of the layers."""
    return tuple(f"layer{number}" for number in range(1, case["depth"] + 1))
