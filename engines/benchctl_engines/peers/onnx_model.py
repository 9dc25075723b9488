"""A recorded program as an ONNX model: one node a call, parameters as initializers."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..contract import Array, Case, Program
from .inference_runtimes import UnsupportedProgramError
from .onnx_gradients import GRADIENT_RULES
from .onnx_nodes import NODE_RULES, NodeRule
from .recorded_program import RecordedCall, RecordedValue, Recording, record_program
from .recorded_step import record_step

OPSET = 21
IR_VERSION = 10
RULES: Mapping[str, NodeRule] = {**NODE_RULES, **GRADIENT_RULES}
# A bias along this axis is an operand of the node that makes what it is added to.
_BIAS_AXES = {"conv2d": 1, "matmul": 1}


class OnnxModel:
    """The model and how its names belong to those of the program.

    `inputs` gives the graph's name of each program input that is used, `outputs` of each value.
    `any_layout` allows images that are not NCHW, at the price of transposes around every node.
    """

    def __init__(self, recording: Recording, *, any_layout: bool = False) -> None:
        self._onnx: Any = importlib.import_module("onnx")
        self.any_layout = any_layout
        self._recording = recording
        self._nodes: list[Any] = []
        self._initializers: dict[str, Array] = {}
        self._translate_calls()
        self.outputs = {name: self._output(each) for name, each in recording.values.items()}
        used = {name for node in self._nodes for name in node.input}
        self.inputs = {
            name: value.name for name, value in recording.inputs.items() if value.name in used
        }
        self.proto = self._make_model()

    @property
    def operations(self) -> tuple[str, ...]:
        """The operation of each node, in order."""
        return tuple(node.op_type for node in self._nodes)

    # Nodes, as the rules of onnx_nodes add them ----------------------------------------------

    def operand(self, value: RecordedValue) -> str:
        """The name of a value; a parameter or constant in use becomes an initializer."""
        array = self._recording.arrays.get(value.name)
        if array is not None:
            self._initializers[value.name] = array
        return value.name

    def constant(self, array: Array) -> str:
        """The name of a new initializer."""
        name = f"given_{len(self._initializers)}"
        self._initializers[name] = array
        return name

    def sizes(self, sizes: Sequence[int]) -> str:
        """Whole numbers as a new initializer."""
        return self.constant(np.array(sizes, np.int64))

    def element_type(self, dtype: str) -> int:
        """ONNX's number of a type of elements."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def node(
        self,
        operation: str,
        operands: Sequence[str],
        result: str = "",
        more: Sequence[str] = (),
        **attributes: Any,
    ) -> str:
        """Add a node and give the name of its first result, a new one where none is given."""
        result = result or f"step_{len(self._nodes)}"
        results = [result, *more]
        made = self._onnx.helper.make_node(operation, list(operands), results, **attributes)
        self._nodes.append(made)
        return result

    # Parts ---------------------------------------------------------------------------------

    def _translate_calls(self) -> None:
        merged = _calls_with_bias(self._recording)
        skipped = {producer.result.name for producer in merged.values()}
        for call in self._recording.calls:
            if call.result.name in skipped:
                continue
            producer = merged.get(call.result.name)
            if producer is not None:
                _rule(producer)(self, producer, call.result.name, self.operand(call.operands[1]))
            else:
                _rule(call)(self, call, call.result.name, "")

    def _output(self, value: RecordedValue) -> str:
        """The graph's output for a value; an input or parameter must pass through a node."""
        if any(call.result is value for call in self._recording.calls):
            return value.name
        return self.node("Identity", [self.operand(value)])

    def _make_model(self) -> Any:
        onnx, helper = self._onnx, self._onnx.helper
        used = [each for name, each in self._recording.inputs.items() if name in self.inputs]
        results = dict(zip(self.outputs.values(), self._recording.values.values(), strict=True))
        graph = helper.make_graph(
            self._nodes,
            "program",
            [self._value_info(each.name, each) for each in used],
            [self._value_info(name, each) for name, each in results.items()],
            [
                _initializer(onnx, name, array)
                for name, array in {**self._initializers, **self._recording.initial}.items()
            ],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def _value_info(self, name: str, value: RecordedValue) -> Any:
        kind = self.element_type(value.dtype)
        return self._onnx.helper.make_tensor_value_info(name, kind, value.shape)


def _initializer(onnx: Any, name: str, array: Array) -> Any:
    """A tensor with raw data, which needs no conversion of its elements."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True)


def _calls_with_bias(recording: Recording) -> dict[str, RecordedCall]:
    """By the result of a `bias_add`, the convolution or product that can take its bias."""
    uses = Counter(each.name for call in recording.calls for each in call.operands)
    uses.update(each.name for each in recording.values.values())
    made = {call.result.name: call for call in recording.calls}
    merged = {}
    for call in recording.calls:
        producer = made.get(call.operands[0].name) if call.primitive == "bias_add" else None
        if (
            producer is not None
            and _BIAS_AXES.get(producer.primitive) == call.attributes["axis"]
            and uses[producer.result.name] == 1
        ):
            merged[call.result.name] = producer
    return merged


def _rule(call: RecordedCall) -> NodeRule:
    rule = RULES.get(call.primitive)
    if rule is None:
        raise UnsupportedProgramError(
            f"no ONNX node is written for the operation {call.primitive}",
            "choose another engine",
        )
    return rule


def onnx_model(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> OnnxModel:
    """The forward program of a case as a model."""
    return OnnxModel(record_program(workload, case, parameters, inputs))


def onnx_step(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> OnnxModel:
    """A whole step of a case as a model, from the static engine's graph: see `record_step`."""
    return OnnxModel(record_step(workload, case, parameters, inputs), any_layout=True)
