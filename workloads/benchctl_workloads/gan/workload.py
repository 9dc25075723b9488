"""The workload `gan`: one training step of both networks, or pictures and what is thought of them.

The lecture trains each network with its own loss and Adam over one forward pass: what the
discriminator makes of real and of generated images is its loss, what it makes of generated ones
alone the generator's. Dropout asks for the vocabulary's random numbers, and noise is an input.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchctl_engines.contract import Array, Case, Objectives, Outputs, Step
from benchctl_engines.layers import Adam, Sequential, binary_cross_entropy

from ..digits.sources import SOURCES, SYNTHETIC, DataAxis, draw_images
from ..digits.strokes import SIDE
from ..workload import Axis, Cost, Tolerance, Workload
from .networks import LECTURE_WIDTH, NOISE, Networks, networks

LEARNING_RATE = 1e-4
GENERATOR_LOSS = "generator_loss"
DISCRIMINATOR_LOSS = "discriminator_loss"
OPTIMIZERS: Mapping[str, Adam] = {
    GENERATOR_LOSS: Adam(LEARNING_RATE, name="generator_adam"),
    DISCRIMINATOR_LOSS: Adam(LEARNING_RATE, name="discriminator_adam"),
}
"""By the loss that each makes smaller, the generator's first, as in `Networks`."""
_ADAM_FLOPS = 13
"""For each number: 3 for the first moment, 4 for the second, 6 for the step."""


class Gan(Workload):
    """A DCGAN on images 28x28, with the initial weights of Keras."""

    name = "gan"
    summary = "training step of the lecture's DCGAN, or its pictures"
    axes = (
        Axis(
            "mode",
            "training",
            ("training", "inference"),
            description="a step of both networks, or pictures and the discriminator's decisions",
        ),
        Axis("batch", 256, sweep=(32, 256), description="images a step, of either kind"),
        Axis(
            "layout",
            "NHWC",
            ("NHWC", "NCHW"),
            sweep=("NHWC", "NCHW"),
            description="order of image axes",
        ),
        Axis(
            "width",
            LECTURE_WIDTH,
            description="channels of the discriminator's first layer; all others scale",
        ),
        DataAxis("data", SYNTHETIC, SOURCES, description="real images; or a path: idx, npz"),
    )

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        batch = case["batch"]
        inputs = {"noise": rng.standard_normal((batch, NOISE), dtype=np.float32)}
        if case["mode"] == "training":
            real = draw_images(case["data"], batch, rng)
            inputs["real"] = real.reshape(stored_shape(batch, case["layout"]))
        return inputs

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        made = {}
        for model, optimizer in zip(_models(case), OPTIMIZERS.values(), strict=True):
            arrays = model.initial_parameters(rng)
            made.update(arrays)
            if case["mode"] == "training":
                made.update(optimizer.slots({name: arrays[name] for name in model.trainable}))
        return made

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        both = _networks(case)
        training = case["mode"] == "training"
        updates: dict[str, Any] = {}
        fake = both.generator.forward(ops, parameters, inputs["noise"], training, updates)
        judge = both.discriminator.forward
        if not training:
            decisions = judge(ops, parameters, fake)
            return Outputs(values={"images": fake, "decisions": decisions})
        on_real = judge(ops, parameters, inputs["real"], True, updates)
        on_fake = judge(ops, parameters, fake, True, updates)
        mistakes = ops.add(
            binary_cross_entropy(ops, on_real, 1), binary_cross_entropy(ops, on_fake, 0)
        )
        values = {
            GENERATOR_LOSS: binary_cross_entropy(ops, on_fake, 1),
            DISCRIMINATOR_LOSS: mistakes,
        }
        return Outputs(values=values, updates=updates)

    def step(self, case: Case) -> Step:
        return "training" if case["mode"] == "training" else "forward"

    def objectives(self, case: Case) -> Objectives | None:
        if case["mode"] != "training":
            return None
        trained = (model.trainable for model in _models(case))
        return dict(zip(OPTIMIZERS, trained, strict=True))

    def update(
        self, ops: Any, parameters: Mapping[str, Any], gradients: Mapping[str, Any], case: Case
    ) -> Mapping[str, Any]:
        new: dict[str, Any] = {}
        for model, optimizer in zip(_models(case), OPTIMIZERS.values(), strict=True):
            own = {name: gradients[name] for name in model.trainable}
            new.update(optimizer.update(ops, parameters, own))
        return new

    def tolerance(self, case: Case, output: str) -> Tolerance:
        return gan_tolerance(output)

    def cost(self, case: Case) -> Cost:
        both, batch = _networks(case), case["batch"]
        generator, discriminator = both.generator, both.discriminator
        parameters = generator.parameter_count + discriminator.parameter_count
        forward = generator.multiply_adds + discriminator.multiply_adds
        pixels = SIDE**2
        if case["mode"] == "inference":
            moved = 4 * (parameters + batch * (NOISE + pixels + 1))
            return Cost(2 * forward * batch, moved, parameters)
        # Forward, gradient of the weights, gradient of the input. Neither noise nor images need
        # theirs, but the generator needs that of its images through the whole discriminator.
        made = 3 * generator.multiply_adds - generator.rows()[0].multiply_adds
        judged = 3 * discriminator.multiply_adds - discriminator.rows()[0].multiply_adds
        passes = made + 2 * judged + discriminator.multiply_adds
        trained = _trained_count(generator) + _trained_count(discriminator)
        moved = 4 * (2 * (parameters + 2 * trained) + batch * (NOISE + pixels) + 2)
        return Cost(2 * passes * batch + _ADAM_FLOPS * trained, moved, parameters)

    def title(self, case: Case) -> str:
        text = f"{case['mode']}, batch {case['batch']}, "
        if case["mode"] == "training":
            source = case["data"]
            word = source if source in SOURCES else Path(source).name
            text += f"{word} images, "
        text += case["layout"]
        return text if case["width"] == LECTURE_WIDTH else f"{text}, width {case['width']}"


def stored_shape(batch: int, layout: str) -> tuple[int, ...]:
    """Shape of a batch of images in `layout`."""
    return (batch, SIDE, SIDE, 1) if layout == "NHWC" else (batch, 1, SIDE, SIDE)


def gan_tolerance(output: str) -> Tolerance:
    """How far an output of a step may be from float64.

    Adam moves a weight by the learning rate whatever the size of its gradient, so that a gradient
    near 0 may move it either way: a weight is judged by its moments and by the losses of the steps
    that follow. In 60 networks moments were off by at most 7e-6 of the largest, losses by 2e-7 and
    by 7e-6 after four more steps. The room of the moments is for activations that float32 rounds to
    the other side of a leaky ReLU's kink.
    """
    if output in (GENERATOR_LOSS, DISCRIMINATOR_LOSS):
        return Tolerance(relative=1e-5)
    name = output.removeprefix("parameter/")
    if name == output:
        return Tolerance(relative=1e-4)
    if "/moment_" in name:
        return Tolerance(relative=0.05)
    if name.endswith(("/moving_mean", "/moving_variance", "/weight_1", "/weight_2")):
        return Tolerance(relative=1e-4)
    return Tolerance(relative=0.0, absolute=2.2 * LEARNING_RATE)


def _networks(case: Case) -> Networks:
    return networks(case["width"], case["layout"])


def _models(case: Case) -> tuple[Sequential, Sequential]:
    both = _networks(case)
    return both.generator, both.discriminator


def _trained_count(model: Sequential) -> int:
    return sum(row.trainable_parameters for row in model.rows())
