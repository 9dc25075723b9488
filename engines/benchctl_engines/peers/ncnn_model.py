"""A forward program as a model of ncnn: a chain of layers, written in its text and binary format.

ncnn has no batch axis: the layers are those of one image. Layer parameters are numbered, see
https://github.com/Tencent/ncnn/wiki/operation-param-weight-table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..contract import Array
from .inference_runtimes import UnsupportedProgramError, require_operation
from .probed_program import ProbedCall, ProbedProgram, ProbedValue

_MAGIC = 7767517
_FLOAT32_WEIGHTS = bytes(4)
_HINT = "choose a workload of convolutions, poolings and dense layers, or another engine"


@dataclass(slots=True)
class ChainLayer:
    """One layer: the call it comes from and what ncnn does in the same layer."""

    kind: str
    call: ProbedCall
    bias: str = ""
    relu: bool = False


@dataclass(slots=True)
class Chain:
    """Layers from one input to one output; `shape` is the last reshaping, batch included."""

    input_name: str
    output_name: str
    layers: list[ChainLayer] = field(default_factory=list)
    shape: tuple[int, ...] | None = None


_KINDS = {
    "conv2d": ("Convolution", "x", "w"),
    "matmul": ("InnerProduct", "a", "b"),
    "max_pool2d": ("Pooling", "x", ""),
}


def chain_of(program: ProbedProgram) -> Chain:
    """The program as a chain; raises `UnsupportedProgramError` with the reason."""
    if program.values is None:
        raise _not_a_chain("the program looks at its arrays, so that its calls cannot be listed")
    if len(program.values) != 1:
        raise _not_a_chain(f"the program has {len(program.values)} outputs, a chain has one")
    (output_name, last), *_ = program.values.items()
    if not program.calls:
        raise _not_a_chain("the program calls no operation")
    current: ProbedValue = next(iter(program.calls[0].arguments.values()))
    if getattr(current, "kind", "") != "input":
        raise _not_a_chain("the first operation does not take an input")
    chain = Chain(current.name, output_name)
    for call in program.calls:
        require_operation("ncnn", call)
        if next(iter(call.arguments.values())) is not current:
            raise _not_a_chain(f"{call.operation} takes another value than the last result")
        _append(chain, call)
        current = call.result
    if last is not current:
        raise _not_a_chain("the output is not the last result")
    if not chain.layers:
        raise _not_a_chain("the program has no layer")
    return chain


def _append(chain: Chain, call: ProbedCall) -> None:
    """Add what a call does as a layer or to the layer before."""
    before = chain.layers[-1] if chain.layers and chain.shape is None else None
    if call.operation == "reshape":
        chain.shape = tuple(call.arguments["shape"])
    elif call.operation == "bias_add" and _takes_bias(before, call):
        assert before is not None
        before.bias = _parameter(call, "b")
    elif call.operation == "relu" and before is not None and before.kind != "Pooling":
        before.relu = True
    elif call.operation in _KINDS:
        kind, _, weight = _KINDS[call.operation]
        if weight:
            _parameter(call, weight)
        _require_shape(chain, call)
        if call.operation == "matmul" and call.arguments["transpose_a"]:
            raise _not_a_chain("the images of a matmul are columns")
        chain.layers.append(ChainLayer(kind, call))
        chain.shape = None
    else:
        raise _not_a_chain(f"no layer is written for {call.operation} in this place")


def _takes_bias(layer: ChainLayer | None, call: ProbedCall) -> bool:
    if layer is None or layer.kind == "Pooling" or layer.bias or layer.relu:
        return False
    return call.arguments["axis"] in ((1, -3) if layer.kind == "Convolution" else (1, -1))


def _require_shape(chain: Chain, call: ProbedCall) -> None:
    """A dense layer flattens an image; no other layer reads an image in another shape."""
    if chain.shape is not None and call.operation != "matmul":
        raise _not_a_chain(f"a reshape to {chain.shape} stands before {call.operation}")


def _parameter(call: ProbedCall, argument: str) -> str:
    value = call.arguments[argument]
    if getattr(value, "kind", "") != "parameter":
        raise _not_a_chain(f"the operand {argument} of {call.operation} is no parameter")
    return str(value.name)


def _not_a_chain(why: str) -> UnsupportedProgramError:
    return UnsupportedProgramError(f"ncnn runs a chain of layers here: {why}", _HINT)


# ----- files ------------------------------------------------------------------------------------


def layer_lines(chain: Chain, parameters: Mapping[str, Array]) -> list[str]:
    """The lines of the text file, the input's first."""
    lines = ["Input input 0 1 blob_0"]
    for number, layer in enumerate(chain.layers):
        shape = _stored_weight(layer, parameters).shape if layer.kind != "Pooling" else ()
        numbers = " ".join(f"{key}={value}" for key, value in _layer_numbers(layer, shape).items())
        blobs = f"1 1 blob_{number} blob_{number + 1}"
        lines.append(f"{layer.kind} layer_{number + 1} {blobs} {numbers}")
    return lines


def last_blob(chain: Chain) -> str:
    """The name of the result."""
    return f"blob_{len(chain.layers)}"


def write_model(chain: Chain, parameters: Mapping[str, Array], folder: Path) -> tuple[Path, Path]:
    """Write the text and the binary file; gives their paths."""
    lines = layer_lines(chain, parameters)
    text, binary = folder / "model.param", folder / "model.bin"
    text.write_text("\n".join([str(_MAGIC), f"{len(lines)} {len(lines)}", *lines, ""]))
    with binary.open("wb") as file:
        for layer in chain.layers:
            if layer.kind != "Pooling":
                _write_weights(file, layer, parameters)
    return text, binary


def _write_weights(file: BinaryIO, layer: ChainLayer, parameters: Mapping[str, Array]) -> None:
    file.write(_FLOAT32_WEIGHTS)
    file.write(np.ascontiguousarray(_stored_weight(layer, parameters), np.float32).data)
    if layer.bias:
        file.write(np.ascontiguousarray(parameters[layer.bias], np.float32).data)


def _stored_weight(layer: ChainLayer, parameters: Mapping[str, Array]) -> Array:
    """Filters [K, C, R, S], or a dense weight [outputs, inputs]."""
    if layer.kind == "Convolution":
        return parameters[layer.call.arguments["w"].name]
    weight = parameters[layer.call.arguments["b"].name]
    return weight if layer.call.arguments["transpose_b"] else weight.T


def _layer_numbers(layer: ChainLayer, weight: tuple[int, ...]) -> dict[int, int]:
    """The numbered parameters of a layer."""
    arguments = layer.call.arguments
    if layer.kind == "Pooling":
        return _pooling_numbers(arguments)
    size, bias, relu = math.prod(weight), int(bool(layer.bias)), int(layer.relu)
    if layer.kind == "InnerProduct":
        return {0: weight[0], 1: bias, 2: size, 9: relu}
    (top, bottom), (left, right) = arguments["padding"]
    down, across = arguments["stride"]
    window = {0: weight[0], 1: weight[3], 11: weight[2], 3: across, 13: down}
    padding = {4: left, 15: right, 14: top, 16: bottom}
    return window | padding | {5: bias, 6: size, 9: relu}


def _pooling_numbers(arguments: Mapping[str, Any]) -> dict[int, int]:
    (top, bottom), (left, right) = arguments["padding"]
    height, width = arguments["window"]
    down, across = arguments["stride"] or arguments["window"]
    # Kind 0 is the maximum; pad mode 1 leaves out windows that reach beyond the padding.
    window = {0: 0, 1: width, 11: height, 2: across, 12: down, 5: 1}
    return window | {3: left, 14: right, 13: top, 15: bottom}
