"""A graph as boxes and arrows with everything that is written in them, whatever the format.

Inputs and results have boxes of their own; parameters and constants are named in the box that
reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchctl.graphs.blocks import Block, is_large, layer_blocks, single_blocks
from benchctl.graphs.places import Flow, places_of
from benchctl.graphs.words import BlockWords, tensor_words, view_words
from benchctl_engines.contract import GraphView, StepGraphs

Kind = Literal["input", "output", "forward", "backward", "update"]


@dataclass(frozen=True, slots=True)
class Box:
    """One box. `tag` is a word beside the title; `operations` are the names of those in it.

    `share` is its part of the time of all launches. Boxes of two diagrams with one `twin` stand for
    the same.
    """

    kind: Kind
    title: str
    tag: str = ""
    lines: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    fused: bool = False
    share: float = 0.0
    twin: str = ""

    @property
    def heading(self) -> str:
        """The title with its tag, where both stand in one line of text."""
        return f"{self.title} ({self.tag})" if self.tag else self.title

    @property
    def about(self) -> str:
        """What is shown where a pointer rests on it."""
        return ", ".join(self.operations) or self.title

    @property
    def returning(self) -> bool:
        """Whether it stands on the way back, from the results to the inputs."""
        return self.kind in ("backward", "update")


@dataclass(frozen=True, slots=True)
class Edge:
    """Tensors that one box makes and another reads, boxes by their places in the diagram."""

    source: int
    target: int
    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagram:
    """One graph. `name` is "before" or "after"; `facts` sums it up."""

    name: str
    facts: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    returning: frozenset[int]
    """Places of the boxes on the way back; a result that one of them makes is among them."""

    view: GraphView

    def is_kept(self, edge: Edge) -> bool:
        """Whether forward keeps what the edge carries for the way back."""
        return edge.target in self.returning and edge.source not in self.returning


def diagrams_of(
    graphs: StepGraphs,
    wanted: Sequence[str] = ("before", "after"),
    *,
    expand: bool = False,
    launch_seconds: Sequence[float] = (),
) -> list[Diagram]:
    """The graphs asked for, both in single operations or both in layers.

    `expand` shows single operations however many they are. `launch_seconds` are the times of the
    launches of the graph after the passes.
    """
    views = {"before": graphs.before, "after": graphs.after}
    layers = not expand and any(is_large(views[name]) for name in wanted)
    return [
        _diagram(name, views[name], layers, launch_seconds if name == "after" else ())
        for name in wanted
    ]


def _diagram(name: str, view: GraphView, layers: bool, launch_seconds: Sequence[float]) -> Diagram:
    places = places_of(view)
    blocks = layer_blocks(view, places) if layers else single_blocks(view, places)
    names = (each.name for each in view.operations)
    seconds = dict(zip(names, launch_seconds, strict=True)) if launch_seconds else {}
    flow = Flow(view)
    inputs = [each for each in view.tensors if each.kind in ("input", "counter")]
    read = [each for each in inputs if each.name in flow.readers or each.name in flow.returned]
    boxes = [
        Box(
            "input",
            each.name.rpartition(":")[0],
            each.kind,
            (tensor_words(each),),
            (),
            twin=f"i {each.name}" if layers else "",
        )
        for each in read
    ]
    made_by: dict[str, int] = {each.name: place for place, each in enumerate(read)}
    first = len(boxes)
    boxes += _block_boxes(blocks, flow, view, seconds)
    for place, block in enumerate(blocks, start=first):
        made_by.update((made, place) for each in block.operations for made in each.outputs)
    edges: dict[tuple[int, int], list[str]] = {}
    for place, block in enumerate(blocks, start=first):
        for tensor in dict.fromkeys(x for each in block.operations for x in each.inputs):
            source = made_by.get(tensor, place)
            if source != place:
                edges.setdefault((source, place), []).append(tensor)
    returning = {place for place, each in enumerate(boxes) if each.returning}
    for output, tensor in view.outputs.items():
        if tensor in made_by:
            edges[made_by[tensor], len(boxes)] = [tensor]
            if made_by[tensor] in returning:
                returning.add(len(boxes))
        words = tensor_words(flow.tensors[tensor])
        boxes.append(
            Box("output", output, "result", (words,), twin=f"o {output}" if layers else "")
        )
    return Diagram(
        name,
        view_words(view, sum(seconds.values())),
        tuple(boxes),
        tuple(Edge(*ends, tuple(tensors)) for ends, tensors in edges.items()),
        frozenset(returning),
        view,
    )


def _block_boxes(
    blocks: Sequence[Block], flow: Flow, view: GraphView, seconds: Mapping[str, float]
) -> list[Box]:
    whole = sum(seconds.values())
    counts: dict[str, int] = {}
    boxes = []
    for block in blocks:
        words = BlockWords(block, flow, view)
        twin = ""
        if block.layer:
            way = "forward" if block.phase == "forward" else "back"
            twin = f"b {way} {block.layer}"
            counts[twin] = counts.get(twin, 0) + 1
            twin += f" {counts[twin]}"
        own = sum(seconds.get(each.name, 0.0) for each in block.operations)
        boxes.append(
            Box(
                block.phase,
                words.title(),
                "" if block.phase == "forward" else block.phase,
                (*words.lines(), *words.time_lines(own, whole)),
                tuple(each.name for each in block.operations),
                any(len(each.parts) > 1 for each in block.operations),
                own / whole if whole else 0.0,
                twin,
            )
        )
    return boxes
