"""A whole step of a workload as a list of calls: what the static engine's graph has in it.

The graph is the one that the engine differentiates, before any pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..contract import Array, Case, Program
from ..static.gradients import is_control
from ..static.graph import Node, Value
from ..static.step_graph import pruned
from ..static.workload_graph import WorkloadGraph, workload_graph
from .inference_runtimes import UnsupportedProgramError
from .recorded_program import RecordedCall, RecordedValue, Recording


def record_step(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> Recording:
    """The calls of one step; inputs, parameters and outputs have the names of the program.

    A gradient step returns `grad_<name>` too, and a training step takes the parameters as inputs
    and returns their new values as `parameter/<name>`. Raises `UnsupportedProgramError` for a
    program with random numbers.
    """
    made = workload_graph(workload, case, parameters, inputs)
    wanted = {**made.fetches, **{f"parameter/{name}": new for name, new in made.updates.items()}}
    recording = Recording()
    values: dict[Value, RecordedValue] = {}
    taken = {*inputs, *parameters}
    names = {value: name for name, value in wanted.items() if name not in taken}
    sources = _sources(made)
    nodes = pruned(made.graph.nodes, tuple(wanted.values())).nodes
    used = {operand for node in nodes for operand in node.operands}
    for node in nodes:
        if node.is_source:
            values[node.outputs[0]] = _source(node, sources, recording, parameters)
            continue
        if is_control(node):
            raise UnsupportedProgramError(
                f"the program has a {node.primitive.name}, and an exported step is one list of "
                f"operations   (made at {node.origin.describe()})",
                "export a case without branches and loops",
            )
        results = tuple(
            RecordedValue(names.get(each, f"value_{len(values) + place}"), each.spec, recording)
            for place, each in enumerate(node.outputs)
        )
        values.update(zip(node.outputs, results, strict=True))
        operands = tuple(values[each] for each in node.operands)
        recording.calls.append(
            RecordedCall(
                node.primitive.name,
                operands,
                node.attributes,
                results[0],
                tuple(values[each] for each in node.outputs[1:] if each in used),
            )
        )
    recording.values = {name: values[value] for name, value in wanted.items()}
    return recording


def _sources(made: WorkloadGraph) -> dict[Node, str]:
    known = {**made.placeholders, **made.variables}
    return {value.node: name for name, value in known.items()}


def _source(
    node: Node,
    names: Mapping[Node, str],
    recording: Recording,
    parameters: Mapping[str, Array],
) -> RecordedValue:
    value = node.outputs[0]
    if node.primitive.name == "constant":
        name = node.name if node.name in parameters else f"constant_{len(recording.arrays)}"
        return recording.hold(name, node.payload)
    known = names.get(node)
    if known is None:
        raise UnsupportedProgramError(
            f"the program draws random numbers ({node.name}), which ONNX cannot repeat",
            "export a case without them",
        )
    recording.inputs[known] = RecordedValue(known, value.spec, recording)
    if known in parameters:
        recording.initial[known] = np.asarray(parameters[known])
    return recording.inputs[known]
