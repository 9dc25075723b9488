"""Rewrites that leave every float as it is: no reassociation, NaN and infinities kept.

x * 1 and x / 1 -> x; x - 0 -> x; -(-x) -> x; relu(relu(x)) -> relu(x); transpose and reshape
chains into one; reshape, transpose, broadcast and cast to what the operand is already -> x; an
elementwise operation reads the source of a broadcast instead of the broadcast. (x + 0 stays: it
turns -0 into 0.) The mask of a ReLU before a max pooling is read off the maxima, so that backward
keeps no activation from before a pooling.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...primitives.specs import broadcast_shapes
from ..graph import Graph, Node, Value
from ..sources import constant_source
from ..step_graph import StepGraph, copy_node, emit_like, rewrite

_Rule = Callable[[Graph, Node, tuple[Value, ...]], Value | None]
_BROADCASTING = {"add", "subtract", "multiply", "divide", "maximum", "greater", "equal", "where"}


def simplify_algebra(step: StepGraph) -> tuple[StepGraph, dict[str, int]]:
    """The simplified step; counts the hits of each rule."""
    counts: dict[str, int] = {}

    def simplify(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value] | None:
        sources = _without_broadcasts(node, operands)
        if sources != operands:
            counts["broadcasts_skipped"] = counts.get("broadcasts_skipped", 0) + 1
        rule = _RULES.get(node.primitive.name)
        found = rule(graph, node, sources) if rule else None
        if found is not None:
            name = f"{node.primitive.name}_{_VERBS.get(node.primitive.name, 'removed')}"
            counts[name] = counts.get(name, 0) + 1
            return (found,)
        if sources != operands:
            return (copy_node(graph, node, sources).outputs[0],)
        return None

    return rewrite(step, simplify), counts


def _without_broadcasts(node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    if node.primitive.name not in _BROADCASTING:
        return operands
    result = list(operands)
    for place, operand in enumerate(result):
        if operand.node.primitive.name != "broadcast_to":
            continue
        trial = [*result]
        trial[place] = operand.node.operands[0]
        shapes = [each.spec.shape for each in trial]
        if broadcast_shapes(node.primitive.name, *shapes) == node.outputs[0].spec.shape:
            result = trial
    return tuple(result)


def _is_constant(value: Value, number: float) -> bool:
    if value.node.primitive is not constant_source or value.spec.size > 64:
        return False
    return bool(np.all(value.node.payload == number))


def _multiply(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    a, b = operands
    result = node.outputs[0].spec
    if _is_constant(b, 1.0) and a.spec is result:
        return a
    if _is_constant(a, 1.0) and b.spec is result:
        return b
    return None


def _divide(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    a, b = operands
    return a if _is_constant(b, 1.0) and a.spec is node.outputs[0].spec else None


def _subtract(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    a, b = operands
    if not _is_constant(b, 0.0) or np.signbit(b.node.payload).any():
        return None  # x - (-0) turns -0 into 0
    return a if a.spec is node.outputs[0].spec else None


def _negative(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    inner = operands[0].node
    return inner.operands[0] if inner.primitive.name == "negative" else None


def _relu(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    return operands[0] if operands[0].node.primitive.name == "relu" else None


def _same_spec(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    return operands[0] if operands[0].spec is node.outputs[0].spec else None


def _reshape(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    source = operands[0]
    if source.spec is node.outputs[0].spec:
        return source
    if source.node.primitive.name != "reshape":
        return None
    first = source.node.operands[0]
    if first.spec is node.outputs[0].spec:
        return first
    origin = node.origin.touched_by("simplify_algebra")
    return emit_like(graph, "reshape", (first,), dict(node.attributes), origin)[0]


def _transpose(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    source, axes = operands[0], node.attributes["axes"]
    if axes == tuple(range(len(axes))):
        return source
    if source.node.primitive.name != "transpose":
        return None
    first, inner = source.node.operands[0], source.node.attributes["axes"]
    composed = tuple(inner[axis] for axis in axes)
    if composed == tuple(range(len(axes))):
        return first
    origin = node.origin.touched_by("simplify_algebra")
    return emit_like(graph, "transpose", (first,), {"axes": composed}, origin)[0]


def _relu_gradient(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Value | None:
    """mask(unpool(g), relu) -> unpool(mask(g, maxima)): a winner is positive where its maximum is.

    All windows that share a winner share its value, so they are masked alike.
    """
    unpooled, activation = operands[0].node, operands[1]
    if unpooled.primitive.name != "max_pool2d_gradient":
        return None
    g, offsets = unpooled.operands
    pooling = offsets.node
    if pooling.primitive.name != "max_pool2d" or pooling.operands[0] is not activation:
        return None
    origin = node.origin.touched_by("simplify_algebra")
    masked = emit_like(graph, "relu_gradient", (g, pooling.outputs[0]), {}, origin)[0]
    attributes = dict(unpooled.attributes)
    return emit_like(graph, "max_pool2d_gradient", (masked, offsets), attributes, origin)[0]


# Rules count as removals but for these.
_VERBS = {"relu_gradient": "moved"}
_RULES: dict[str, _Rule] = {
    "multiply": _multiply,
    "divide": _divide,
    "subtract": _subtract,
    "negative": _negative,
    "relu": _relu,
    "relu_gradient": _relu_gradient,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _same_spec,
    "cast": _same_spec,
}
