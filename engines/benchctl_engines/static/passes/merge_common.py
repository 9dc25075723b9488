"""Equal expressions are computed once. Addition and multiplication commute bit for bit."""

from __future__ import annotations

from collections.abc import Hashable

from ..graph import Graph, Node, Value
from ..sources import constant_source
from ..step_graph import StepGraph, copy_node, rewrite

_COMMUTATIVE = {"add", "multiply"}
_COMPARED_BYTES = 4096
"""Constants up to this size are compared by value."""


def merge_common(step: StepGraph) -> tuple[StepGraph, dict[str, int]]:
    """The step without repeated expressions; counts the merges."""
    known: dict[Hashable, tuple[Value, ...]] = {}
    counts = {"merged": 0}

    def merge(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        key = _key(node, operands)
        if key is None:
            return None
        if key in known:
            counts["merged"] += 1
            return known[key]
        known[key] = copy_node(graph, node, operands).outputs
        return known[key]

    return rewrite(step, merge), counts


def _key(node: Node, operands: tuple[Value, ...]) -> Hashable | None:
    if node.primitive.effect != "pure":
        return None
    if node.primitive is constant_source:
        array = node.payload
        if array.nbytes > _COMPARED_BYTES:
            return None
        return ("constant", node.outputs[0].spec, array.tobytes())
    if node.is_source:
        return None
    if node.primitive.name in _COMMUTATIVE:
        operands = tuple(sorted(operands, key=id))
    return (node.primitive, operands, tuple(sorted(node.attributes.items())))
