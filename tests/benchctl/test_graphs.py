"""What a graph says of itself: every launch once, edges as data flows, memory where it lies."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from drawn_graphs import SMALL_VGG, Drawn, built, drawn

from benchctl.graphs.blocks import MANY_OPERATIONS, layer_blocks
from benchctl.graphs.diagram import Diagram, diagrams_of
from benchctl.graphs.places import layer_of_parameter, places_of
from benchctl.graphs.words import view_words
from benchctl.measure.graph_message import graphs_message, read_graphs
from benchctl.measure.protocol import decode, encode
from benchctl_engines.static.description import describe_recorded
from benchctl_engines.static.step_graph import StepGraph

CASES = [
    ("xyz",),
    ("heads", "channels=4", "width=8", "side=3", "mode=training"),
    ("vgg16", *SMALL_VGG),
    ("vgg16", *SMALL_VGG, "mode=training"),
]
every_case = pytest.mark.parametrize("case", CASES, ids=" ".join)


def data_flow(step: StepGraph) -> set[tuple[str, str]]:
    """Pairs (maker, reader) of operations, read off the engine's own nodes."""
    return {
        (operand.node.name, node.name)
        for node in step.operations
        for operand in node.operands
        if not operand.node.is_source
    }


def steps_of(case: Drawn) -> dict[str, StepGraph]:
    session, fetches = case.runner._open_session(), case.runner._fetches
    return {"before": session.recorded(fetches), "after": case.program.step}


@every_case
@pytest.mark.parametrize("expand", [True, False])
def test_every_operation_is_in_one_box_and_edges_are_the_flow_of_data(case, expand: bool) -> None:
    made = drawn(*case)
    for diagram in diagrams_of(made.graphs, expand=expand):
        step = steps_of(made)[diagram.name]
        names = [name for box in diagram.boxes for name in box.operations]
        assert Counter(names) == Counter(node.name for node in step.operations)
        box_of = {name: place for place, box in enumerate(diagram.boxes) for name in box.operations}
        flow = {(box_of[one], box_of[other]) for one, other in data_flow(step)}
        flow = {(one, other) for one, other in flow if one != other}
        inner = {
            (edge.source, edge.target)
            for edge in diagram.edges
            if diagram.boxes[edge.source].operations and diagram.boxes[edge.target].operations
        }
        assert inner == flow
        assert_ends_are_inputs_and_results(diagram, step, box_of)


def assert_ends_are_inputs_and_results(
    diagram: Diagram, step: StepGraph, box_of: dict[str, int]
) -> None:
    boxes = diagram.boxes
    fed = {
        (node.name, box_of[reader.name])
        for node in step.nodes
        if node.primitive.name == "placeholder"
        for reader in step.operations
        if node.outputs[0] in reader.operands
    }
    returned = {
        (box_of[diagram.view.outputs[name].rpartition(":")[0]], name)
        for name in diagram.view.outputs
    }
    edges = [
        (boxes[edge.source], edge.source, boxes[edge.target], edge.target) for edge in diagram.edges
    ]
    assert {(b.title, to) for b, _, _, to in edges if b.kind == "input"} == fed
    assert {(start, b.title) for _, start, b, _ in edges if b.kind == "output"} == returned


def test_an_edge_that_is_missing_would_be_seen() -> None:
    made = drawn("xyz")
    step = steps_of(made)["before"]
    last = step.operations[-1]
    others = StepGraph(tuple(node for node in step.nodes if node is not last), step.fetches)
    assert data_flow(others) < data_flow(step)


@every_case
def test_launches_are_those_of_the_program_in_order(case) -> None:
    made = drawn(*case)
    assert [each.kernel for each in made.graphs.after.operations] == list(made.program.kernels)
    assert all(each.kernel == "" for each in made.graphs.before.operations)
    assert len(made.graphs.before.operations) > len(made.graphs.after.operations)


@every_case
def test_buffers_lie_where_the_arrays_of_the_program_lie(case) -> None:
    made = drawn(*case)
    after = made.graphs.after
    tensors = {each.name: each for each in after.tensors}
    bases = set()
    for launch, operation in zip(made.program.launches, after.operations, strict=True):
        for array_name, name in zip(launch.arrays, operation.outputs, strict=False):
            tensor, array = tensors[name], made.program.bound.get(array_name)
            if tensor.buffer < 0:
                continue
            assert isinstance(array, np.ndarray)
            assert (array.shape, array.nbytes) == (tensor.shape, tensor.nbytes)
            bases.add(array.ctypes.data - after.buffers[tensor.buffer].offset_bytes)
        if operation.workspace >= 0:
            scratch = made.program.bound[launch.arrays[-1]]
            assert scratch.nbytes == after.buffers[operation.workspace].nbytes
            bases.add(scratch.ctypes.data - after.buffers[operation.workspace].offset_bytes)
    assert len(bases) <= 1


@every_case
def test_a_buffer_is_in_use_from_its_first_writing_to_its_last_reading(case) -> None:
    after = drawn(*case).graphs.after
    tensors = {each.name: each for each in after.tensors}
    spans: dict[int, list[int]] = {}
    for place, operation in enumerate(after.operations):
        names = (*operation.inputs, *operation.outputs)
        for buffer in {tensors[name].buffer for name in names} | {operation.workspace}:
            if buffer >= 0:
                spans.setdefault(buffer, []).append(place)
    for number, buffer in enumerate(after.buffers):
        assert (buffer.first, buffer.last) == (min(spans[number]), max(spans[number]))
        assert buffer.offset_bytes + buffer.nbytes <= after.arena_bytes


def test_the_parts_of_fused_operations_are_the_operations_before() -> None:
    graphs = drawn("vgg16", *SMALL_VGG).graphs
    before = Counter(each.primitive for each in graphs.before.operations)
    after = Counter(part for each in graphs.after.operations for part in each.parts)
    # Images enter NHWC once; what a reshape gives needs no kernel call of another kind.
    added = after - before
    assert set(added) <= {"transpose"} and before - after == Counter()
    (fused,) = drawn("xyz").graphs.after.operations
    recorded = Counter(each.primitive for each in drawn("xyz").graphs.before.operations)
    assert Counter(fused.parts) <= recorded and fused.parts.count("sum") == 1


def test_layouts_are_those_that_the_shapes_show() -> None:
    graphs = drawn("vgg16", *SMALL_VGG).graphs
    before = {each.name: each for each in graphs.before.tensors}
    assert before["images:0"].layout == "NCHW" and before["images:0"].shape == (1, 3, 32, 32)
    assert before["conv1_1_weight:0"].layout == ""
    for view, expected in ((graphs.before, "NCHW"), (graphs.after, "NHWC")):
        images = [
            tensor
            for operation in view.operations
            if operation.primitive.startswith("conv2d")
            for tensor in view.tensors
            if tensor.name in operation.outputs
        ]
        assert len(images) == 13
        assert {each.layout for each in images} == {expected}
        for each in images:
            side = each.shape[2]
            assert each.shape[1 if expected == "NHWC" else 3] == side
    as_written = drawn("vgg16", *SMALL_VGG, passes="off").graphs
    assert {each.layout for each in as_written.after.tensors} == {"", "NCHW"}


def test_what_was_recorded_by_gradients_and_what_changes_parameters() -> None:
    graphs = drawn("vgg16", *SMALL_VGG, "mode=training").graphs
    parameters = {each.name for each in graphs.before.tensors if each.kind == "parameter"}
    for view in (graphs.before, graphs.after):
        changed = Counter(each.changes for each in view.operations if each.changes)
        assert len(changed) == len(parameters) == 32 and set(changed.values()) == {1}
    places = places_of(graphs.before)
    assert {each.phase for each in places.values()} == {"forward", "backward", "update"}
    for each in graphs.before.operations:
        if each.primitive in ("conv2d", "bias_add", "max_pool2d"):
            assert places[each.name].phase == "forward"
        if each.primitive.endswith("gradient"):
            assert places[each.name].phase == "backward"


def test_a_gradient_belongs_to_the_layer_whose_parameter_it_changes() -> None:
    for view in (
        drawn("vgg16", *SMALL_VGG, "mode=training").graphs.before,
        drawn("vgg16", *SMALL_VGG, "mode=training").graphs.after,
    ):
        places = places_of(view)
        assert {each.layer for each in places.values()} <= {
            *(f"conv{block}_{place}" for block in range(1, 6) for place in range(1, 4)),
            "fc6",
            "fc7",
            "fc8",
        }
        for each in view.operations:
            if each.changes:
                layer = places[each.name].layer
                assert each.changes in (f"{layer}_weight:0", f"{layer}_bias:0")


def test_large_graphs_are_drawn_by_layers() -> None:
    graphs = drawn("vgg16", *SMALL_VGG).graphs
    assert len(graphs.before.operations) > MANY_OPERATIONS > len(graphs.after.operations)
    before, after = diagrams_of(graphs)
    layers = [box.title for box in before.boxes if box.operations]
    assert layers == [
        f"conv{b}_{p}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for p in range(1, n + 1)
    ] + [
        "fc6",
        "fc7",
        "fc8",
    ]
    twins = {box.twin for box in after.boxes}
    assert {box.twin for box in before.boxes} == twins
    assert before.boxes[1].lines[0] == "conv2d, bias_add, relu"
    assert [box.title for box in diagrams_of(drawn("xyz").graphs)[1].boxes[3:4]] == ["fused_loop"]


def test_a_training_of_two_networks_has_layers_of_both() -> None:
    """The DCGAN's step as it is recorded: Adam, moving averages, one network used twice."""
    runner = built("gan", "width=2", "batch=8")
    outputs = [name for name in runner._names if name != "updates"]
    step = runner._open_session().recorded(runner._fetches)
    view = describe_recorded(step, outputs, runner._arrays[0].keys())
    places = places_of(view)
    for each in view.operations:
        owner = each.changes.partition(":")[0]
        if not owner:
            continue
        place = places[each.name]
        assert place.phase == "update"
        assert place.layer and (place.layer in owner), (owner, place)
    blocks = layer_blocks(view, places)
    assert sum(len(each.operations) for each in blocks) == len(view.operations)
    assert len(blocks) < len(view.operations) / 5
    forward = [each.layer for each in blocks if each.phase == "forward"]
    assert forward[0] == "generator/dense"
    assert forward.count("discriminator/conv2d") == 2


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("conv1_1_weight", "conv1_1"),
        ("generator/dense/weight", "generator/dense"),
        ("generator/batch_normalization/moving_mean", "generator/batch_normalization"),
        ("adam/moment_1/generator/dense/weight", "generator/dense"),
        ("adam/weight_1", "adam"),
        ("layer1.0.conv1.weight", "layer1.0.conv1"),
        ("w1", "w1"),
        ("_w", "_w"),
    ],
)
def test_the_layer_of_a_parameter(name: str, layer: str) -> None:
    assert layer_of_parameter(name, {"generator/dense/weight", "adam/weight_1", name}) == layer


@every_case
def test_graphs_travel_unchanged(case) -> None:
    graphs = drawn(*case).graphs
    assert read_graphs(decode(encode(graphs_message(graphs)))) == graphs


def test_a_graph_in_one_line() -> None:
    graphs = drawn("vgg16", *SMALL_VGG).graphs
    assert view_words(graphs.before).startswith("53 operations, 32 parameters of ")
    assert "arena of" in view_words(graphs.after)
    assert "launches taking 2.0 ms" in view_words(graphs.after, 0.002)
    assert view_words(drawn("xyz").graphs.after).startswith("1 launch")


def test_times_are_shared_out_among_boxes() -> None:
    graphs = drawn("vgg16", *SMALL_VGG).graphs
    seconds = [1e-3] * len(graphs.after.operations)
    (after,) = diagrams_of(graphs, ["after"], launch_seconds=seconds)
    shares = [box.share for box in after.boxes if box.operations]
    assert sum(shares) == pytest.approx(1.0) and min(shares) > 0
    assert any("1.0 ms" in line for box in after.boxes for line in box.lines)
