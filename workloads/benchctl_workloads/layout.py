"""One convolution of VGG16 in either layout, forward or backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, ByHand, Case, Outputs, Step

from .by_hand import convolution as by_hand
from .initialisers import arrange_filters, arrange_images, he_normal
from .vgg_shapes import (
    IMAGE_SIZE_AXIS,
    LAYOUT_AXIS,
    PAPER_IMAGE_SIZE,
    PAPER_WIDTH,
    ConvolutionShape,
    convolution_shapes,
)
from .workload import Axis, Cost, Tolerance, Workload


def _distinct_layers() -> tuple[str, ...]:
    """The first layer of each shape: conv3_3 repeats conv3_2, and so on."""
    first: dict[tuple[int, int, int], str] = {}
    for shape in convolution_shapes(PAPER_WIDTH, PAPER_IMAGE_SIZE):
        first.setdefault((shape.C, shape.K, shape.side), shape.name)
    return tuple(first.values())


LAYERS = _distinct_layers()


class Layout(Workload):
    """A 3x3 convolution with the shape of one layer; backward gives both gradients."""

    name = "layout"
    summary = "NCHW against NHWC for each convolution shape of VGG16"
    axes = (
        Axis("layer", "conv3_2", LAYERS, sweep=LAYERS, description="whose shape"),
        LAYOUT_AXIS,
        Axis(
            "direction",
            "forward",
            ("forward", "backward"),
            sweep=("forward", "backward"),
            description="the convolution, or its gradients",
        ),
        Axis("batch", 1, sweep=(1, 16), description="images a step"),
        IMAGE_SIZE_AXIS,
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        shape, batch = _shape(case), case["batch"]
        size = (shape.side, shape.side)
        x = rng.standard_normal((batch, shape.C, *size), dtype=np.float32)
        inputs = {"x": arrange_images(x, case["layout"])}
        if case["direction"] == "backward":
            dy = rng.standard_normal((batch, shape.K, *size), dtype=np.float32)
            inputs["dy"] = arrange_images(dy, case["layout"])
        return inputs

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        shape = _shape(case)
        filters = he_normal(rng, (shape.K, shape.C, 3, 3), shape.C * 9)
        return {"w": arrange_filters(filters, case["layout"])}

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        y = ops.conv2d(
            inputs["x"], parameters["w"], padding=by_hand.SAME_PADDING, layout=case["layout"]
        )
        if case["direction"] == "forward":
            return Outputs(values={"y": y})
        return Outputs(values={}, objective=y, seed=inputs["dy"])

    def step(self, case: Case) -> Step:
        return "gradient" if case["direction"] == "backward" else "forward"

    def differentiate(self, case: Case) -> tuple[str, ...]:
        return ("x", "w") if case["direction"] == "backward" else ()

    def by_hand(self, case: Case) -> ByHand:
        if case["direction"] == "forward":
            return by_hand.ForwardStep(case["layout"])
        return by_hand.BackwardStep(case["layout"])

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """Of the largest element, what F(6x6) of Winograd's filtering needs at 512 channels, twice.

        Sums as they are written stay ten times below.
        """
        return Tolerance(relative=5e-5)

    def cost(self, case: Case) -> Cost:
        shape, batch = _shape(case), case["batch"]
        image, filters = shape.side**2, shape.K * shape.C * 9
        flops = 2 * shape.multiply_adds * batch
        moved = batch * image * (shape.C + shape.K) + filters  # x, w and y
        if case["direction"] == "backward":
            flops *= 2
            moved += batch * image * shape.C + filters  # x, w and dy in; dx and dw out
        return Cost(flops, 4 * moved, filters)

    def title(self, case: Case) -> str:
        shape = _shape(case)
        text = f"{shape.name} {case['direction']}, {shape.C} to {shape.K} channels, "
        return text + f"{shape.side}x{shape.side}, batch {case['batch']}, {case['layout']}"


def _shape(case: Case) -> ConvolutionShape:
    shapes = convolution_shapes(PAPER_WIDTH, case["image_size"])
    return next(shape for shape in shapes if shape.name == case["layer"])
