"""What a layer is: configuration, specs of its parameters, and a forward pass in the vocabulary.

A layer holds no array and knows no engine. Shapes are those of one example, without the batch, and
images are written (height, width, channels) whatever their layout: the layout says how they are
stored, and belongs to the model.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..contract import Array
from .initializers import Initializer, Shape, find_initializer

LAYOUTS = ("NHWC", "NCHW")


class LayerError(ValueError):
    """A layer that cannot be what was asked for: its configuration, input or parameters."""


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """One array of a layer, in the order in which it is stored.

    `drawn` are the axes of the array as it is drawn, in the order in which they are stored: one
    seed gives the same network in every layout. `trainable` is off for what a step updates without
    a gradient, such as a moving average.
    """

    name: str
    shape: Shape
    initializer: str | Initializer = "zeros"
    fan_in: int = 1
    fan_out: int = 1
    trainable: bool = True
    drawn: tuple[int, ...] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def draw(self, rng: np.random.Generator) -> Array:
        """The array that a training begins with, float32."""
        axes = self.drawn or tuple(range(len(self.shape)))
        sizes = [0] * len(self.shape)
        for size, axis in zip(self.shape, axes, strict=True):
            sizes[axis] = size
        make = find_initializer(self.initializer)
        array = make(rng, tuple(sizes), self.fan_in, self.fan_out)
        return np.ascontiguousarray(array.transpose(axes), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a layer in a forward pass.

    `parameters` are those of the whole program, `prefix` what the layer's begin with. `shapes` are
    those of the inputs, without the batch. `updates` receives new values, where somebody wants
    them.
    """

    ops: Any
    layout: str
    training: bool
    shapes: tuple[Shape, ...]
    batch: int
    prefix: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    updates: MutableMapping[str, Any] | None = None

    @property
    def channel_axis(self) -> int:
        """The axis of the channels, or of the features of what is no image."""
        return 1 if self.layout == "NCHW" and len(self.shapes[0]) == 3 else -1

    def parameter(self, name: str) -> Any:
        """The engine's own handle of a parameter; raises `LayerError`."""
        whole = self.prefix + name
        try:
            return self.parameters[whole]
        except KeyError:
            received = ", ".join(self.parameters) or "none"
            raise LayerError(
                f"the model expected a parameter {whole!r}, received {received}; pass those that "
                "initial_parameters or load_weights gave"
            ) from None

    def latest(self, name: str) -> Any:
        """What an earlier use in this step made of a parameter, or its value before the step."""
        if self.updates is not None and self.prefix + name in self.updates:
            return self.updates[self.prefix + name]
        return self.parameter(name)

    def update(self, name: str, value: Any) -> None:
        """State the value that a parameter has after the step."""
        if self.updates is not None:
            self.updates[self.prefix + name] = value

    def stored(self, shape: Shape) -> Shape:
        """A shape with its batch, as the layout stores it."""
        if self.layout == "NCHW" and len(shape) == 3:
            height, width, channels = shape
            return (self.batch, channels, height, width)
        return (self.batch, *shape)


class Layer:
    """Base of all layers; a layer is never changed once it is made.

    Calling one on what stands for an input gives what stands for its result: see `Model`.
    """

    kind: ClassVar[str] = ""
    """The word that names a layer without a name of its own."""
    inputs: ClassVar[int | None] = 1
    """How many inputs it takes, None for any number."""

    def __init__(self, name: str = "") -> None:
        if "/" in name:
            raise LayerError(
                f"{type(self).__name__} expected a name without '/', received {name!r}; the name "
                "of a parameter joins those of model and layer with it"
            )
        self.name = name

    def output_shape(self, *shapes: Shape) -> Shape:
        """Shape of the result; raises `LayerError` where the inputs do not fit."""
        raise NotImplementedError

    def parameters(self, layout: str, *shapes: Shape) -> tuple[ParameterSpec, ...]:
        """Specs of the arrays, for inputs of these shapes in this layout."""
        return ()

    def forward(self, call: Call, *xs: Any) -> Any:
        """The result, in the vocabulary `call.ops` alone."""
        raise NotImplementedError

    def multiply_adds(self, *shapes: Shape) -> int:
        """Multiplications, each with its addition, of one example: those of weights alone."""
        return 0

    def __call__(self, *inputs: Any) -> Any:
        """What stands for the result, given what stands for the inputs."""
        from .model import Symbol

        given: Sequence[Any] = inputs
        if len(inputs) == 1 and isinstance(inputs[0], tuple | list):
            given = inputs[0]
        for each in given:
            if not isinstance(each, Symbol):
                raise LayerError(
                    f"{self} expected what Input or another layer gave, received "
                    f"{type(each).__name__}; arrays go through the forward pass of a Model"
                )
        if self.inputs is not None and len(given) != self.inputs:
            raise LayerError(f"{self} expected {self.inputs} input, received {len(given)}")
        shape = self.output_shape(*(each.shape for each in given))
        return Symbol(shape, self, tuple(given))

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.name!r})" if self.name else type(self).__name__


# ----- what the configurations of several layers have in common ---------------------------------


def positive(owner: str, what: str, value: Any) -> int:
    """A whole number of at least 1; raises `LayerError`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise LayerError(f"{owner} expected {what} to be a positive whole number, received {value}")
    return int(value)


def pair(owner: str, what: str, value: int | Sequence[int]) -> tuple[int, int]:
    """(rows, columns) from one number or two; raises `LayerError`."""
    numbers = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(numbers) != 2:
        raise LayerError(f"{owner} expected {what} to be one number or two, received {value}")
    rows, columns = (positive(owner, what, each) for each in numbers)
    return rows, columns


def image(owner: Layer, shape: Shape) -> tuple[int, int, int]:
    """(H, W, C) of an image; raises `LayerError`."""
    if len(shape) != 3:
        raise LayerError(
            f"{owner} expected images (height, width, channels), received shape {shape}; put a "
            "Reshape before it"
        )
    height, width, channels = shape
    return height, width, channels
