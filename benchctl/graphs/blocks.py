"""Which operations share a box: one each in a small graph, a layer's own in a large one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchctl.graphs.places import Flow, Phase, Place
from benchctl_engines.contract import GraphOperation, GraphView

MANY_OPERATIONS = 24
"""Above it a picture of single operations is a hairball."""


_PHASES: tuple[Phase, ...] = ("forward", "backward", "update")
"""A block of several is called by the first."""


@dataclass(frozen=True, slots=True)
class Block:
    """Operations that share a box. `layer` is empty for one that stands for itself."""

    phase: Phase
    layer: str
    operations: tuple[GraphOperation, ...]


def is_large(view: GraphView) -> bool:
    """Whether the operations should be collapsed into layers."""
    return len(view.operations) > MANY_OPERATIONS


def single_blocks(view: GraphView, places: Mapping[str, Place]) -> list[Block]:
    """A block for each operation."""
    return [Block(places[each.name].phase, "", (each,)) for each in view.operations]


def layer_blocks(view: GraphView, places: Mapping[str, Place]) -> list[Block]:
    """A block for each layer forward, and one for its gradients and updates.

    The blocks of a graph without cycles have none: every edge between two of them leads to a
    greater depth, the number of blocks on the longest way to an operation.
    """
    keys = {each.name: _key(each, places[each.name]) for each in view.operations}
    depths = _depths(view, keys)
    members: dict[tuple[tuple[bool, str], int], list[GraphOperation]] = {}
    for each in view.operations:
        members.setdefault((keys[each.name], depths[each.name]), []).append(each)
    return [_block(each, places) for each in members.values()]


def _key(operation: GraphOperation, place: Place) -> tuple[bool, str]:
    # What belongs to no layer stands alone.
    return place.phase == "forward", place.layer or f" {operation.name}"


def _depths(view: GraphView, keys: Mapping[str, tuple[bool, str]]) -> dict[str, int]:
    flow = Flow(view)
    depths: dict[str, int] = {}
    for each in view.operations:
        own = keys[each.name]
        depths[each.name] = max(
            (depths[other.name] + (keys[other.name] != own) for other in flow.before(each)),
            default=0,
        )
    # What could as well come later joins the block that reads it.
    for each in reversed(view.operations):
        own, after = keys[each.name], flow.after(each)
        alike = [depths[other.name] for other in after if keys[other.name] == own]
        limits = [depths[other.name] - (keys[other.name] != own) for other in after]
        if alike and min(limits) == min(alike):
            depths[each.name] = min(limits)
    return depths


def _block(operations: list[GraphOperation], places: Mapping[str, Place]) -> Block:
    own = [places[each.name] for each in operations]
    phases = {each.phase for each in own}
    phase = next(each for each in _PHASES if each in phases)
    return Block(phase, own[0].layer, tuple(operations))
