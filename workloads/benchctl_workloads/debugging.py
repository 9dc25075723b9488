"""A program with a mistake in it, to see what each engine says of it, and one without.

`benchctl run debugging -a fault=wrong_shape` ends with the error of each engine. Without a fault it
shows what looking for NaNs costs: `--engine static --engine static:check_nan=on`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from .by_hand.debugging import DebuggingStep
from .initialisers import he_normal
from .workload import Axis, Cost, Tolerance, Workload

FEATURES = 32
HIDDEN = 64
CLASSES = 10


class Debugging(Workload):
    """The gradient of a small network, right or with one mistake."""

    name = "debugging"
    summary = "a small gradient with a mistake to choose, to see the errors"
    axes = (
        Axis(
            "fault",
            "none",
            ("none", "wrong_shape", "nan", "missing_input"),
            sweep=("none",),
            description="the mistake: a product of matrices that do not fit, the root of a "
            "negative number, an input that nobody gives",
        ),
        Axis("rows", 256, sweep=(256,), description="rows of the input"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        x = rng.standard_normal((case["rows"], FEATURES), dtype=np.float32)
        shift = rng.standard_normal(CLASSES, dtype=np.float32)
        return {"x": x} if case["fault"] == "missing_input" else {"x": x, "shift": shift}

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        return {
            "w1": he_normal(rng, (FEATURES, HIDDEN), FEATURES),
            "w2": he_normal(rng, (HIDDEN, CLASSES), HIDDEN),
        }

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        hidden = ops.relu(ops.matmul(inputs["x"], parameters["w1"]))
        if case["fault"] == "wrong_shape":
            hidden = ops.transpose(hidden)
        scores = ops.add(ops.matmul(hidden, parameters["w2"]), inputs["shift"])
        squares = ops.multiply(scores, scores)
        if case["fault"] == "nan":
            squares = ops.negative(squares)
        length = ops.sqrt(ops.add(ops.sum(squares, (1,)), 1.0))
        loss = ops.mean(length)
        return Outputs(values={"loss": loss}, objective=loss)

    def reference(
        self, case: Case, parameters: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        """What the program without the mistake gives: the mistake is for the engines to find."""
        shift = inputs.get("shift", np.zeros(CLASSES))
        return DebuggingStep("none")(dict(parameters), {**inputs, "shift": shift})

    def step(self, case: Case) -> Step:
        return "gradient"

    def differentiate(self, case: Case) -> tuple[str, ...]:
        return ("w1", "w2")

    def by_hand(self, case: Case) -> ByHand:
        return DebuggingStep(case["fault"])

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """Of the gradients, room for an activation that float32 rounds to a ReLU's other side."""
        return Tolerance(relative=1e-5 if output == "loss" else 1e-2)

    def cost(self, case: Case) -> Cost:
        rows, parameters = case["rows"], FEATURES * HIDDEN + HIDDEN * CLASSES
        # Forward, gradient of the weights, gradient of the input: x needs no gradient.
        flops = 2 * rows * (3 * parameters - FEATURES * HIDDEN)
        moved = 4 * (rows * FEATURES + CLASSES + 2 * parameters + 1)
        return Cost(flops, moved, parameters)

    def title(self, case: Case) -> str:
        fault = {
            "none": "no mistake",
            "wrong_shape": "a wrong shape",
            "nan": "a NaN",
            "missing_input": "a missing input",
        }[case["fault"]]
        return f"{fault}, {case['rows']} rows"
