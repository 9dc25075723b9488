"""The graph as a log that TensorBoard opens: every operation with its shapes, memory and time.

Names are `phase/layer/operation`, which TensorBoard folds into groups. What the engine knows and
TensorFlow does not (kernel, fused parts, layout, arena) are attributes of the node.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchctl.graphs.event_file import delimited, event_file, integer
from benchctl.graphs.places import Flow, Place, places_of
from benchctl.store.files import write_whole
from benchctl_engines.contract import GraphOperation, GraphTensor, GraphView

FILE_NAME = "events.out.tfevents.0.graph"
STEP_TAG = "step"
_DEVICE = "/job:localhost/replica:0/task:0/device:{}:0"
_TYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int64": 9,
    "bool": 10,
    "bfloat16": 14,
    "float16": 19,
}
"""tensorflow.DataType by name."""
_SOURCES = {
    "input": "Placeholder",
    "parameter": "VariableV2",
    "constant": "Const",
    "counter": "VariableV2",
}
_VERSIONS = delimited(4, integer(1, 21))
"""VersionDef.producer: any of TensorFlow's later ones."""


def write_graph(
    folder: Path,
    view: GraphView,
    *,
    device: str = "CPU",
    launch_seconds: Sequence[float] = (),
    now: Callable[[], float] = time.time,
) -> Path:
    """Write the log of one graph to a folder, in place of the last one; the path of its file.

    With the times of the launches there is a run of the step beside the graph, by which TensorBoard
    colours its nodes. Raises OSError.
    """
    names = node_names(view)
    bodies = [delimited(4, graph_def(view, names, device))]
    if launch_seconds:
        times = dict(zip((each.name for each in view.operations), launch_seconds, strict=True))
        bodies.append(
            delimited(
                8, delimited(1, STEP_TAG) + delimited(2, run_metadata(view, names, times, device))
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    write_whole(path, event_file(now(), bodies), replace=True)
    return path


def node_names(view: GraphView) -> dict[str, str]:
    """TensorBoard's names of operations and sources, each once, by the names of the graph.

    A source stands beside the operation that reads it first.
    """
    places, readers = places_of(view), Flow(view).readers
    names: dict[str, str] = {}
    taken: set[str] = set()
    for tensor in view.tensors:
        if tensor.kind == "result":
            continue
        own = tensor.name.rpartition(":")[0]
        if tensor.kind in ("parameter", "constant") and tensor.name in readers:
            place = places[readers[tensor.name][0].name]
            short = own.removeprefix(place.layer).lstrip("/._") or own
            names[tensor.name] = _unique((*_scope(place), short), taken)
        else:
            names[tensor.name] = _unique((own,), taken)
    for operation in view.operations:
        names[operation.name] = _unique((*_scope(places[operation.name]), operation.name), taken)
    return names


def _scope(place: Place) -> tuple[str, ...]:
    return (place.phase, place.layer) if place.layer else (place.phase,)


def _unique(parts: tuple[str, ...], taken: set[str]) -> str:
    # Slashes in a layer's name are groups within groups; in a parameter's they would be too.
    *scope, last = parts
    clean = [*(re.sub(r"[^A-Za-z0-9_./-]", "_", each).strip("/") for each in scope)]
    clean.append(re.sub(r"[^A-Za-z0-9_.-]", "_", last))
    name = base = "/".join(clean)
    count = 1
    while name in taken:
        name, count = f"{base}_{count}", count + 1
    taken.add(name)
    return name


# ----- messages ---------------------------------------------------------------------------------


def graph_def(view: GraphView, names: Mapping[str, str], device: str) -> bytes:
    """tensorflow.GraphDef."""
    tensors = {each.name: each for each in view.tensors}
    slots = {
        made: names[each.name] + (f":{slot}" if slot else "")
        for each in view.operations
        for slot, made in enumerate(each.outputs)
    }
    slots.update((name, names[name]) for name, each in tensors.items() if each.kind != "result")
    nodes = [
        _node(names[name], _SOURCES[each.kind], (), device, _source_attributes(each))
        for name, each in tensors.items()
        if each.kind != "result"
    ]
    for each in view.operations:
        read = [slots[name] for name in each.inputs]
        attributes = _operation_attributes(each, tensors, view)
        nodes.append(_node(names[each.name], each.primitive, read, device, attributes))
    return b"".join(delimited(1, node) for node in nodes) + _VERSIONS


def _node(
    name: str, operation: str, inputs: Sequence[str], device: str, attributes: Mapping[str, bytes]
) -> bytes:
    """tensorflow.NodeDef; attributes are AttrValue by name."""
    fields = [delimited(1, name), delimited(2, operation), *(delimited(3, each) for each in inputs)]
    fields.append(delimited(4, _DEVICE.format(device)))
    fields += [
        delimited(5, delimited(1, key) + delimited(2, each)) for key, each in attributes.items()
    ]
    return b"".join(fields)


def _source_attributes(tensor: GraphTensor) -> dict[str, bytes]:
    found = {"dtype": _type(tensor), "shape": delimited(7, _shape(tensor))}
    found["_output_shapes"] = _shapes([tensor])
    if tensor.layout:
        found["layout"] = delimited(2, tensor.layout)
    if tensor.value:
        found["number"] = delimited(2, tensor.value)
    return found


def _operation_attributes(
    operation: GraphOperation, tensors: Mapping[str, GraphTensor], view: GraphView
) -> dict[str, bytes]:
    made = [tensors[name] for name in operation.outputs]
    found = {"T": _type(made[0]), "_output_shapes": _shapes(made)}
    texts = {
        "kernel": operation.kernel,
        "fused": ", ".join(operation.parts) if len(operation.parts) > 1 else "",
        "layout": next((each.layout for each in made if each.layout), ""),
        "origin": operation.origin,
        "changes": operation.changes.rpartition(":")[0],
    }
    found.update((key, delimited(2, text)) for key, text in texts.items() if text)
    found["output_bytes"] = integer(3, sum(each.nbytes for each in made))
    places = [each.buffer for each in made if each.buffer >= 0]
    if places:
        found["arena_buffer"] = integer(3, places[0])
        found["arena_offset_bytes"] = integer(3, view.buffers[places[0]].offset_bytes)
    if operation.workspace >= 0:
        found["scratch_bytes"] = integer(3, view.buffers[operation.workspace].nbytes)
    return found


def _type(tensor: GraphTensor) -> bytes:
    """AttrValue.type; DT_INVALID for what TensorFlow has no number of."""
    return integer(6, _TYPES.get(tensor.dtype, 0))


def _shape(tensor: GraphTensor) -> bytes:
    """tensorflow.TensorShapeProto."""
    return b"".join(delimited(2, integer(1, size)) for size in tensor.shape)


def _shapes(tensors: Sequence[GraphTensor]) -> bytes:
    """AttrValue.list of shapes."""
    return delimited(1, b"".join(delimited(7, _shape(each)) for each in tensors))


def run_metadata(
    view: GraphView, names: Mapping[str, str], seconds: Mapping[str, float], device: str
) -> bytes:
    """tensorflow.RunMetadata: when each launch began and ended, and the memory that it writes.

    Launches stand one after the other, without what lies between them.
    """
    tensors = {each.name: each for each in view.tensors}
    stats, start_nanoseconds = [], 0
    for operation in view.operations:
        taken = max(round(seconds[operation.name] * 1e9), 1)
        # TensorBoard counts microseconds, and takes 0 for a node that did not run.
        microseconds = max(round(taken / 1000), 1)
        written = sum(tensors[name].nbytes for name in operation.outputs)
        stats.append(
            delimited(1, names[operation.name])
            + integer(2, start_nanoseconds // 1000)
            + integer(4, microseconds)
            + integer(5, microseconds)
            + delimited(6, delimited(1, "arena") + integer(2, written) + integer(3, written))
            + delimited(8, operation.kernel)
            + integer(13, start_nanoseconds)
            + integer(15, taken)
            + integer(16, taken)
        )
        start_nanoseconds += taken
    own = delimited(1, _DEVICE.format(device)) + b"".join(delimited(2, each) for each in stats)
    return delimited(1, delimited(1, own))
