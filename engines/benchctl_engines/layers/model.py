"""Models: layers joined from inputs to outputs, as a description that every engine can run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import Array
from .initializers import Shape
from .layer import LAYOUTS, Call, Layer, LayerError, ParameterSpec
from .summary import LayerRow, summary_text
from .weights import load_arrays, save_arrays


class Symbol:
    """Stands for one value of a model before there is any array: its shape and where it comes from.

    `layer` is None for an input.
    """

    __slots__ = ("layer", "parents", "shape")

    def __init__(self, shape: Shape, layer: Layer | None, parents: tuple[Symbol, ...]) -> None:
        self.shape = shape
        self.layer = layer
        self.parents = parents

    def __repr__(self) -> str:
        return f"Symbol(shape={self.shape}, made by {self.layer or 'Input'})"


class Input(Symbol):
    """An input of a model: the shape of one example, an image as (height, width, channels)."""

    __slots__ = ()

    def __init__(self, shape: Sequence[int]) -> None:
        sizes = tuple(int(size) for size in shape)
        if not sizes or min(sizes) < 1:
            raise LayerError(
                f"Input expected the sizes of one example, without the batch, received {shape}"
            )
        super().__init__(sizes, None, ())


class Model:
    """What lies between symbols: the layers in an order in which they can run.

    A model holds no arrays: `initial_parameters` or `load_weights` gives them, and `forward` takes
    them back as the handles of an engine. Names are `<model>/<layer>/<array>`, without the first
    part where the model has no name. `layout` says how images are stored.
    """

    def __init__(
        self,
        inputs: Symbol | Sequence[Symbol],
        outputs: Symbol | Sequence[Symbol],
        *,
        layout: str = "NHWC",
        name: str = "",
    ) -> None:
        if layout not in LAYOUTS:
            raise LayerError(f"Model expected layout NHWC or NCHW, received {layout!r}")
        self.layout = layout
        self.name = name
        self._inputs = _symbols("inputs", inputs)
        self._outputs = _symbols("outputs", outputs)
        self._single = isinstance(outputs, Symbol)
        self._steps = _ordered(self._inputs, self._outputs)
        self._names = _layer_names(self._steps)
        begin = f"{name}/" if name else ""
        self._prefixes = {layer: f"{begin}{own}/" for layer, own in self._names.items()}
        self.parameter_specs: Mapping[str, ParameterSpec] = self._collect_specs()
        """All arrays by name, in the order of the layers."""

    # ----- description -------------------------------------------------------------------------

    @property
    def layers(self) -> dict[str, Layer]:
        """The layers by their names in this model, in the order in which they run."""
        return {name: layer for layer, name in self._names.items()}

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the inputs of one example."""
        return tuple(each.shape for each in self._inputs)

    @property
    def output_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the outputs of one example."""
        return tuple(each.shape for each in self._outputs)

    @property
    def trainable(self) -> tuple[str, ...]:
        """Names of the parameters that a gradient is taken of."""
        return tuple(name for name, each in self.parameter_specs.items() if each.trainable)

    @property
    def parameter_count(self) -> int:
        """How many numbers the parameters have, trainable or not."""
        return sum(each.size for each in self.parameter_specs.values())

    @property
    def multiply_adds(self) -> int:
        """Multiplications by weights in the forward pass of one example."""
        return sum(row.multiply_adds for row in self.rows())

    def rows(self) -> list[LayerRow]:
        """What each layer is, in the order in which they run; a layer used twice has two rows."""
        seen: set[Layer] = set()
        rows = []
        for step in self._steps:
            layer = _layer_of(step)
            own = [] if layer in seen else self._specs_of(layer)
            seen.add(layer)
            rows.append(
                LayerRow(
                    self._names[layer],
                    type(layer).__name__,
                    step.shape,
                    sum(each.size for _, each in own),
                    sum(each.size for _, each in own if each.trainable),
                    layer.multiply_adds(*(each.shape for each in step.parents)),
                )
            )
        return rows

    def summary(self, batch: int = 1) -> str:
        """The layers as a table: shapes, parameters, multiply-adds and bytes of a batch."""
        return summary_text(self.name or type(self).__name__, self.input_shapes, self.rows(), batch)

    # ----- arrays ------------------------------------------------------------------------------

    def initial_parameters(self, rng: np.random.Generator) -> dict[str, Array]:
        """The arrays that a training begins with, float32; one seed, one network in any layout."""
        return {name: each.draw(rng) for name, each in self.parameter_specs.items()}

    def save_weights(self, path: str | Path, parameters: Mapping[str, Array]) -> None:
        """Write the model's arrays to a file, .npz or .safetensors; others are left out.

        Raises `LayerError` where one is missing or has another shape.
        """
        chosen = {name: parameters[name] for name in self.parameter_specs if name in parameters}
        self._check_arrays("save_weights", chosen)
        save_arrays(path, chosen)

    def load_weights(self, path: str | Path) -> dict[str, Array]:
        """The arrays of a file that `save_weights` wrote; raises `LayerError`."""
        arrays = load_arrays(path)
        self._check_arrays(f"{Path(path).name}", arrays)
        return {name: arrays[name] for name in self.parameter_specs}

    def _check_arrays(self, where: str, arrays: Mapping[str, Array]) -> None:
        missing = [name for name in self.parameter_specs if name not in arrays]
        unknown = [name for name in arrays if name not in self.parameter_specs]
        if missing or unknown:
            parts = [f"lacks {', '.join(missing)}"] if missing else []
            parts += [f"has {', '.join(unknown)} besides"] if unknown else []
            raise LayerError(
                f"{where} expected the {len(self.parameter_specs)} arrays of the model, received "
                f"one that {' and '.join(parts)}; names are those of the layers, so both sides "
                "need the same model"
            )
        for name, wanted in self.parameter_specs.items():
            array = arrays[name]
            if array.shape != wanted.shape or array.dtype != np.float32:
                raise LayerError(
                    f"{where} expected {name} as float32{list(wanted.shape)}, received "
                    f"{array.dtype}{list(array.shape)}; filters are stored in the layout of the "
                    f"model, which is {self.layout}"
                )

    # ----- forward pass ------------------------------------------------------------------------

    def forward(
        self,
        ops: Any,
        parameters: Mapping[str, Any],
        x: Any,
        training: bool = False,
        updates: MutableMapping[str, Any] | None = None,
    ) -> Any:
        """The output of the model, or a tuple of them, as handles of the engine behind `ops`.

        `x` is one handle, or one for each input; images are stored in the model's layout.
        `updates` receives what a training step changes without a gradient, such as moving averages,
        for `Outputs.updates`; without it they stay as they are.
        """
        given = x if isinstance(x, tuple | list) else (x,)
        if len(given) != len(self._inputs):
            raise LayerError(
                f"forward expected {len(self._inputs)} inputs, received {len(given)}; "
                "give one handle for each symbol in the model's inputs"
            )
        values: dict[Symbol, Any] = dict(zip(self._inputs, given, strict=True))
        batch = _batch_of(given[0])
        for step in self._steps:
            layer = _layer_of(step)
            call = Call(
                ops,
                self.layout,
                training,
                tuple(each.shape for each in step.parents),
                batch,
                self._prefixes[layer],
                parameters,
                updates,
            )
            values[step] = layer.forward(call, *(values[each] for each in step.parents))
        results = tuple(values[each] for each in self._outputs)
        return results[0] if self._single else results

    # ----- parts -------------------------------------------------------------------------------

    def _collect_specs(self) -> dict[str, ParameterSpec]:
        return dict(pair for layer in self._prefixes for pair in self._specs_of(layer))

    def _specs_of(self, layer: Layer) -> list[tuple[str, ParameterSpec]]:
        """The arrays of a layer by name; raises `LayerError` where its uses want other ones."""
        found: tuple[ParameterSpec, ...] | None = None
        for step in self._steps:
            if step.layer is not layer:
                continue
            shapes = [each.shape for each in step.parents]
            specs = layer.parameters(self.layout, *shapes)
            if found is not None and [s.shape for s in specs] != [s.shape for s in found]:
                raise LayerError(
                    f"{layer} expected inputs that its one set of arrays fits, received shape "
                    f"{shapes[0]} after another; make a second layer for it"
                )
            found = specs
        return [(self._prefixes[layer] + each.name, each) for each in found or ()]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self._prefixes)} layers)"


class Sequential(Model):
    """Layers one after the other, from one input to one output."""

    def __init__(
        self,
        layers: Iterable[Layer],
        input_shape: Sequence[int],
        *,
        layout: str = "NHWC",
        name: str = "",
    ) -> None:
        start = Input(input_shape)
        end: Symbol = start
        for layer in layers:
            if not isinstance(layer, Layer):
                raise LayerError(
                    f"Sequential expected layers, received {type(layer).__name__}; "
                    "functions of the vocabulary go between two models"
                )
            end = layer(end)
        if end is start:
            raise LayerError("Sequential expected at least one layer, received none")
        super().__init__(start, end, layout=layout, name=name)


def _symbols(what: str, given: Symbol | Sequence[Symbol]) -> tuple[Symbol, ...]:
    symbols = (given,) if isinstance(given, Symbol) else tuple(given)
    for each in symbols:
        if not isinstance(each, Symbol):
            raise LayerError(
                f"Model expected {what} that Input or a layer gave, received {type(each).__name__}"
            )
        if what == "inputs" and each.layer is not None:
            raise LayerError(f"Model expected inputs made by Input, received {each!r}")
    if not symbols:
        raise LayerError(f"Model expected {what}, received none")
    return symbols


def _ordered(inputs: tuple[Symbol, ...], outputs: tuple[Symbol, ...]) -> list[Symbol]:
    """What layers make on the way to the outputs, each after what it is made from."""
    order: list[Symbol] = []
    done: set[Symbol] = set(inputs)
    stack = [(each, False) for each in reversed(outputs)]
    while stack:
        symbol, parents_done = stack.pop()
        if symbol in done:
            continue
        if symbol.layer is None:
            raise LayerError(
                f"Model expected all inputs that its outputs depend on, received outputs that "
                f"depend on another Input of shape {symbol.shape}; add it to the inputs"
            )
        if parents_done:
            done.add(symbol)
            order.append(symbol)
        else:
            stack.append((symbol, True))
            stack += [(each, False) for each in reversed(symbol.parents)]
    return order


def _layer_names(steps: Sequence[Symbol]) -> dict[Layer, str]:
    """Names in the order of the layers; those without one of their own are counted by kind."""
    layers = list(dict.fromkeys(_layer_of(step) for step in steps))
    taken: set[str] = set()
    for layer in layers:
        if layer.name in taken:
            raise LayerError(
                f"Model expected every layer to have a name of its own, received two named "
                f"{layer.name!r}; rename one, or leave the names out"
            )
        taken.update([layer.name] if layer.name else [])
    names: dict[Layer, str] = {}
    for layer in layers:
        name, count = layer.name or layer.kind, 0
        while not layer.name and name in taken:
            count += 1
            name = f"{layer.kind}_{count}"
        taken.add(name)
        names[layer] = name
    return names


def _layer_of(symbol: Symbol) -> Layer:
    assert symbol.layer is not None
    return symbol.layer


def _batch_of(x: Any) -> int:
    """The number of examples; a program that is only probed for its calls has no shapes."""
    shape = getattr(x, "shape", None)
    return 1 if shape is None else int(shape[0])
