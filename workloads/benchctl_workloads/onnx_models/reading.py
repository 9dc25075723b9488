"""An ONNX file as plain nodes and arrays; the only module here that knows the package onnx."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchctl_engines.contract import Array

DEFAULT_DOMAINS = ("", "ai.onnx")


class ModelError(ValueError):
    """A model that cannot be run; `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Node:
    """One node: `label` names it in messages; a missing optional input is an empty name."""

    operation: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def input(self, place: int) -> str:
        """The name of an input, empty where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


@dataclass(frozen=True, slots=True)
class InputInfo:
    """An input that must be given; a size that the file leaves open is its name."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """What a file holds."""

    name: str
    opset: int
    nodes: tuple[Node, ...]
    arrays: Mapping[str, Array]
    inputs: tuple[InputInfo, ...]
    outputs: tuple[str, ...]
    ir_version: int = 0
    path: Path | None = None

    def reads(self, name: str) -> bool:
        """Whether a node reads a value, or the model returns it."""
        return name in self.outputs or any(name in node.inputs for node in self.nodes)


def read_model(path: Path) -> OnnxGraph:
    """The graph of a file; raises `ModelError`."""
    if find_spec("onnx") is None:
        raise ModelError("reading it needs the package onnx", 'pip install "benchctl[onnxruntime]"')
    onnx: Any = importlib.import_module("onnx")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelError(f"no valid ONNX model: {first}", "export it again") from error
    return replace(graph_of_model(model, path.stem), path=path)


def graph_of_model(model: Any, name: str) -> OnnxGraph:
    """The graph of a model that is loaded already."""
    onnx: Any = importlib.import_module("onnx")
    graph = model.graph
    if graph.sparse_initializer:
        raise ModelError("sparse initializers are not supported")
    arrays = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    opsets = {each.domain: each.version for each in model.opset_import}
    return OnnxGraph(
        name=name,
        opset=max((opsets.get(domain, 0) for domain in DEFAULT_DOMAINS), default=0),
        nodes=tuple(_node(onnx, each, place) for place, each in enumerate(graph.node)),
        arrays=arrays,
        inputs=tuple(_input(onnx, each) for each in graph.input if each.name not in arrays),
        outputs=tuple(each.name for each in graph.output),
        ir_version=model.ir_version,
    )


def sized_content(graph: OnnxGraph, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    """The file's content with the shapes of its inputs and outputs filled in."""
    onnx: Any = importlib.import_module("onnx")
    assert graph.path is not None, "only a file can be handed on"
    model = onnx.load(str(graph.path))
    for each in (*model.graph.input, *model.graph.output):
        if each.name not in shapes:
            continue
        kind = each.type.tensor_type.elem_type
        info = onnx.helper.make_tensor_value_info(each.name, kind, shapes[each.name])
        each.CopyFrom(info)
    content: bytes = model.SerializeToString()
    return content


def _node(onnx: Any, proto: Any, place: int) -> Node:
    label = f"{proto.op_type} node {proto.name or f'number {place}'}"
    if proto.domain not in DEFAULT_DOMAINS:
        raise ModelError(f"{label} is of the domain {proto.domain}, which is not ONNX's own")
    attributes = {each.name: _attribute(onnx, each) for each in proto.attribute}
    return Node(proto.op_type, label, tuple(proto.input), tuple(proto.output), attributes)


def _attribute(onnx: Any, proto: Any) -> Any:
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value


def _input(onnx: Any, proto: Any) -> InputInfo:
    tensor = proto.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    shape = tuple(
        size.dim_value if size.HasField("dim_value") else size.dim_param or f"{proto.name}_{axis}"
        for axis, size in enumerate(tensor.shape.dim)
    )
    return InputInfo(proto.name, dtype, shape)


def evaluate_node(node: Node, opset: int, arrays: Mapping[str, Array]) -> tuple[Array, ...]:
    """The outputs of a node whose inputs are all known, by ONNX's own reference."""
    onnx: Any = importlib.import_module("onnx")
    reference: Any = importlib.import_module("onnx.reference")
    helper = onnx.helper
    given = dict.fromkeys(name for name in node.inputs if name)
    made = helper.make_node(
        node.operation, list(node.inputs), list(node.outputs), **_writable(onnx, node.attributes)
    )
    graph = helper.make_graph(
        [made],
        "one",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(arrays[name].dtype), arrays[name].shape
            )
            for name in given
        ],
        [onnx.ValueInfoProto(name=name) for name in node.outputs if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    results = reference.ReferenceEvaluator(model).run(None, {name: arrays[name] for name in given})
    return tuple(np.asarray(each) for each in results)


def _writable(onnx: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in attributes.items()
    }
