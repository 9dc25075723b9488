"""Inputs of many shapes: what a static graph pays for sentences that are not all of one length.

A step goes through a number of batches [rows, features], whose rows differ in number. A static
engine compiles a program for each shape that it meets and keeps the last few; an eager one has
nothing to compile. With few lengths every program is there again when it is needed; with more than
are kept, in turn, none is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step
from benchctl_engines.manual.array_module import array_module

from .workload import Axis, Cost, Tolerance, Workload

FEATURES = 16
CLASSES = 4
BATCHES = 32
MOST_ROWS = 256


class DynamicShapes(Workload):
    """A dense layer over the rows of an input, and a second over their mean or over each."""

    name = "dynamic_shapes"
    summary = "batches of changing shape: programs kept, or compiled anew"
    varying_shapes = True
    axes = (
        Axis(
            "lengths",
            4,
            (1, 4, 16, 32),
            sweep=(1, 4, 16, 32),
            description=f"different numbers of rows among the {BATCHES} batches of a step",
        ),
        Axis(
            "varying",
            "length",
            ("length", "batch"),
            description="rows are words of one sentence, averaged, or sentences of a batch",
        ),
        Axis("width", 32, description="units of the first layer"),
        Axis("mode", "forward", ("forward", "gradient"), description="what one step computes"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """One batch, of any of the lengths."""
        return _batch(_rows(case)[int(rng.integers(case["lengths"]))], rng)

    def batches(self, case: Case, rng: np.random.Generator) -> list[dict[str, Array]]:
        """Every length in turn until there are enough, in an order of the round's own."""
        rows = _rows(case)
        order = rng.permutation(len(rows))
        return [_batch(rows[order[place % len(rows)]], rng) for place in range(BATCHES)]

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        width = case["width"]
        return {
            "w1": rng.standard_normal((FEATURES, width), dtype="float32") * np.float32(0.25),
            "b1": rng.standard_normal((width,), dtype="float32") * np.float32(0.1),
            "w2": rng.standard_normal((width, CLASSES), dtype="float32") * np.float32(0.25),
        }

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        hidden = ops.bias_add(ops.matmul(inputs["x"], parameters["w1"]), parameters["b1"])
        hidden = ops.relu(hidden)
        if case["varying"] == "length":
            hidden = ops.mean(hidden, (0,), keepdims=True)
        scores = ops.matmul(hidden, parameters["w2"])
        loss = ops.mean(ops.multiply(scores, scores))
        return Outputs(values={"scores": scores, "loss": loss}, objective=loss)

    def step(self, case: Case) -> Step:
        return "gradient" if case["mode"] == "gradient" else "forward"

    def differentiate(self, case: Case) -> tuple[str, ...]:
        return ("w1", "b1", "w2")

    def by_hand(self, case: Case) -> ByHand:
        averaged, gradient = case["varying"] == "length", case["mode"] == "gradient"

        def run(parameters: dict[str, Array], inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            return _by_hand(parameters, inputs["x"], averaged, gradient)

        return run

    def tolerance(self, case: Case, output: str) -> Tolerance:
        return Tolerance(relative=1e-5, absolute=1e-6)

    def cost(self, case: Case) -> Cost:
        """Of all batches of a step; the data needs no gradient."""
        width, gradient = case["width"], case["mode"] == "gradient"
        parameters = FEATURES * width + width + width * CLASSES
        flops = moved = 0
        for rows in _rows(case) * (BATCHES // case["lengths"]):
            scored = 1 if case["varying"] == "length" else rows
            layer, head = 2 * rows * FEATURES * width, 2 * scored * width * CLASSES
            flops += 2 * layer + 3 * head if gradient else layer + head
            moved += rows * FEATURES + scored * CLASSES + 1 + parameters * (2 if gradient else 1)
        return Cost(flops, 4 * moved, parameters)

    def title(self, case: Case) -> str:
        lengths = case["lengths"]
        shapes = "one length" if lengths == 1 else f"{lengths} lengths in turn"
        what = "sentences" if case["varying"] == "length" else "batches of sentences"
        return f"{BATCHES} {what} of {shapes}, {case['mode']}, width {case['width']}"


def _rows(case: Case) -> list[int]:
    """The different numbers of rows, evenly spread up to the largest."""
    count = case["lengths"]
    return [MOST_ROWS * place // count for place in range(1, count + 1)]


def _batch(rows: int, rng: np.random.Generator) -> dict[str, Array]:
    return {"x": rng.standard_normal((rows, FEATURES), dtype="float32")}


def _by_hand(
    parameters: Mapping[str, Array], x: Array, averaged: bool, gradient: bool
) -> Mapping[str, Array]:
    w1, b1, w2 = (parameters[name] for name in ("w1", "b1", "w2"))
    hidden = array_module(x).maximum(x @ w1 + b1, 0)
    read = hidden.mean(axis=0, keepdims=True) if averaged else hidden
    scores = read @ w2
    results = {"scores": scores, "loss": (scores * scores).mean()}
    if not gradient:
        return results
    dscores = scores * (2.0 / scores.size)
    dread = dscores @ w2.T
    # Every row has an equal share in the mean.
    dhidden = (dread / len(x) if averaged else dread) * (hidden > 0)
    return {
        **results,
        "grad_w1": x.T @ dhidden,
        "grad_b1": dhidden.sum(axis=0),
        "grad_w2": read.T @ dscores,
    }
