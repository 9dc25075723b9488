"""Workloads made of layers, small enough to be computed in any engine and by hand."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from benchctl_engines.contract import EngineOptions, Outputs
from benchctl_engines.layers import (
    SGD,
    Activation,
    Adam,
    AveragePool2D,
    BatchNormalization,
    Conv2D,
    Conv2DTranspose,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    LeakyReLU,
    MaxPool2D,
    Reshape,
    Sequential,
    binary_cross_entropy,
    mean_squared_error,
)
from benchctl_workloads import Tolerance, Workload

NOISE = 6


def generator(layout="NHWC"):
    """Noise to images 8x8x1: every layer of a DCGAN's generator, few channels."""
    layers = [
        Dense(4 * 4 * 6, bias=False),
        BatchNormalization(),
        LeakyReLU(),
        Reshape((4, 4, 6)),
        Conv2DTranspose(4, 5, padding="same", bias=False),
        BatchNormalization(),
        LeakyReLU(),
        Conv2DTranspose(1, 5, 2, "same", "tanh"),
    ]
    return Sequential(layers, (NOISE,), layout=layout, name="generator")


def discriminator(layout="NHWC", rate=0.3):
    """Images to one logit."""
    layers = [
        Conv2D(4, 5, 2, "same"),
        LeakyReLU(),
        Dropout(rate),
        Flatten(),
        Dense(1),
    ]
    return Sequential(layers, (8, 8, 1), layout=layout, name="discriminator")


class SmallGan(Workload):
    """One step of both networks: two objectives over one forward pass, Adam, moving averages."""

    name = "small_gan"
    # A gradient near 0 has the sign of its rounding: a large epsilon keeps Adam continuous.
    optimizers: ClassVar = {
        "generator_loss": Adam(0.01, epsilon=0.01, name="generator_adam"),
        "discriminator_loss": SGD(0.1, momentum=0.9),
    }

    def __init__(self, layout="NHWC", rate=0.3):
        self.generator = generator(layout)
        self.discriminator = discriminator(layout, rate)
        self.layout = layout

    def inputs(self, case, rng):
        real = rng.uniform(-1, 1, (5, 8, 8, 1)).astype("float32")
        if self.layout == "NCHW":
            real = np.ascontiguousarray(real.transpose(0, 3, 1, 2))
        return {"real": real, "noise": rng.standard_normal((5, NOISE), dtype="float32")}

    def parameters(self, case, rng):
        made = {}
        for model, optimizer in zip(self._models(), self.optimizers.values(), strict=True):
            arrays = model.initial_parameters(rng)
            made |= arrays | optimizer.slots({name: arrays[name] for name in model.trainable})
        return made

    def _models(self):
        return self.generator, self.discriminator

    def program(self, ops, parameters, inputs, case):
        updates = {}
        fake = self.generator.forward(ops, parameters, inputs["noise"], True, updates)
        judge = self.discriminator.forward
        on_real = judge(ops, parameters, inputs["real"], True, updates)
        on_fake = judge(ops, parameters, fake, True, updates)
        found_out = ops.add(
            binary_cross_entropy(ops, on_real, 1), binary_cross_entropy(ops, on_fake, 0)
        )
        values = {
            "generator_loss": binary_cross_entropy(ops, on_fake, 1.0),
            "discriminator_loss": found_out,
            "fake": fake,
        }
        return Outputs(values=values, updates=updates)

    def step(self, case):
        return "training"

    def objectives(self, case):
        names = self.optimizers
        return dict(zip(names, (each.trainable for each in self._models()), strict=True))

    def update(self, ops, parameters, gradients, case):
        new = {}
        for optimizer, names in zip(
            self.optimizers.values(), self.objectives(case).values(), strict=True
        ):
            own = {name: gradients[name] for name in names}
            new |= optimizer.update(ops, parameters, own)
        return new

    def tolerance(self, case, output):
        return Tolerance(relative=2e-3 if output.startswith("parameter/") else 1e-4, absolute=1e-6)


class SmallNet(Workload):
    """A training step of one model and one optimizer, and by a switch its forward pass."""

    name = "small_net"

    def __init__(
        self, optimizer=None, layers=None, shape=(9, 8, 2), layout="NHWC", dtype="float32"
    ):
        self.optimizer = optimizer
        self.layout = layout
        self.dtype = dtype
        self.model = Sequential(layers or self.layers(), shape, layout=layout)

    @staticmethod
    def layers():
        return [
            Conv2D(4, 3, padding="same", activation="relu"),
            MaxPool2D(3, 2, "same"),
            Conv2D(5, 3, activation="leaky_relu"),
            BatchNormalization(),
            AveragePool2D(2, 1, "same"),
            GlobalAveragePool2D(),
            Dense(3, "sigmoid"),
            Dense(2),
            Activation("tanh"),
        ]

    def inputs(self, case, rng):
        shapes = self.model.input_shapes[0], self.model.output_shapes[0]
        x, y = (self.stored(rng.standard_normal((4, *shape))) for shape in shapes)
        return {"x": x.astype(self.dtype), "y": y.astype(self.dtype)}

    def stored(self, x):
        if self.layout == "NCHW" and x.ndim == 4:
            return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return x

    def parameters(self, case, rng):
        arrays = self.model.initial_parameters(rng)
        if self.optimizer is not None:
            arrays |= self.optimizer.slots({name: arrays[name] for name in self.model.trainable})
        return {name: array.astype(self.dtype) for name, array in arrays.items()}

    def program(self, ops, parameters, inputs, case):
        updates = {}
        training = self.optimizer is not None
        y = self.model.forward(ops, parameters, inputs["x"], training, updates)
        if not training:
            return Outputs(values={"y": y})
        loss = mean_squared_error(ops, y, inputs["y"])
        return Outputs(values={"loss": loss}, updates=updates)

    def step(self, case):
        return "forward" if self.optimizer is None else "training"

    def objectives(self, case):
        return {"loss": self.model.trainable}

    def update(self, ops, parameters, gradients, case):
        return self.optimizer.update(ops, parameters, gradients)

    def tolerance(self, case, output):
        return Tolerance(relative=2e-3 if output.startswith("parameter/") else 1e-4, absolute=1e-6)


class Masked(SmallNet):
    """What a dropout lets through of ones, at two places."""

    def __init__(self, rate=0.3):
        super().__init__(None, [Dropout(rate)], (50, 40, 1))

    def inputs(self, case, rng):
        return {"x": np.ones((4, 50, 40, 1), "float32")}

    def program(self, ops, parameters, inputs, case):
        x = inputs["x"]
        once = self.model.forward(ops, parameters, x, True)
        again = self.model.forward(ops, parameters, x, True)
        return Outputs(values={"a": once, "b": again, "off": self.model.forward(ops, {}, x)})


def drawn(workload, seed=5):
    rng = np.random.default_rng(seed)
    return workload.parameters({}, rng), workload.inputs({}, rng)


def steps_of(engine, workload, count=3, switches=None, seed=0, arrays=None):
    """The outputs of the first steps on one engine."""
    parameters, inputs = arrays or drawn(workload)
    copies = {name: array.copy() for name, array in parameters.items()}
    options = EngineOptions(threads=2, seed=seed, switches=switches or {})
    runner = engine.prepare(workload, {}, copies, inputs, options)
    runner.build()
    runner.compile()
    results = []
    for _ in range(count):
        runner.step()
        results.append({name: np.array(array) for name, array in runner.outputs().items()})
    runner.close()
    return results
