"""Branches and loops give only what is read of them, and take only what they then read.

Not a switch, as prune is none: results that a gradient would read are left out of a step without
one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...primitives import control_flow as rules
from ..bodies import Body
from ..gradients import is_control
from ..graph import Graph, Node, Value
from ..step_graph import StepGraph, pruned, rewrite


@dataclass(frozen=True, slots=True)
class _Narrow:
    """A node with some of its operands and results, by their places."""

    operands: tuple[int, ...]
    results: tuple[int, ...]
    attributes: Mapping[str, Any]


def prune_bodies(step: StepGraph) -> StepGraph:
    """The step with narrow branches and loops, and without what only they had read."""
    if not any(is_control(node) for node in step.nodes):
        return step
    read: set[Value] = set(step.fetches)
    narrow: dict[Node, _Narrow] = {}
    for node in reversed(step.nodes):
        if not read.isdisjoint(node.outputs):
            if is_control(node):
                narrow[node] = _narrowed(node, read)
                read.update(node.operands[place] for place in narrow[node].operands)
            else:
                read.update(node.operands)

    def rebuild(graph: Graph, node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        form = narrow.get(node)
        if form is None:
            return None
        made = graph.emit(
            node.primitive,
            [operands[place] for place in form.operands],
            form.attributes,
            origin=node.origin,
            name=node.name,
        )
        by_place = dict(zip(form.results, made.outputs, strict=True))
        # What nobody reads needs no value of its own.
        return [by_place.get(place, made.outputs[0]) for place in range(len(node.outputs))]

    # A node that is not read is gone before it would be copied.
    return rewrite(pruned(step.nodes, step.fetches), rebuild)


def _narrowed(node: Node, read: Collection[Value]) -> _Narrow:
    places = [each.index for each in node.outputs if each in read]
    if node.primitive is rules.cond:
        return _narrowed_cond(node, places)
    if node.primitive is rules.scan:
        return _narrowed_scan(node, places)
    return _narrowed_while(node, places)


def _narrowed_cond(node: Node, places: Sequence[int]) -> _Narrow:
    attributes = dict(node.attributes)
    bodies: list[Body] = []
    for name in ("then", "otherwise"):
        body, given = attributes[name], attributes[f"{name}_places"]
        kept = [index for index, place in enumerate(given) if place in places]
        attributes[f"{name}_places"] = tuple(places.index(given[index]) for index in kept)
        bodies.append(Body(body.graph, body.inputs, tuple(body.results[index] for index in kept)))
    inputs = _used_inputs(bodies)
    attributes["then"], attributes["otherwise"] = (_with_inputs(each, inputs) for each in bodies)
    return _Narrow((0, *(1 + place for place in inputs)), tuple(places), attributes)


def _narrowed_scan(node: Node, places: Sequence[int]) -> _Narrow:
    attributes = dict(node.attributes)
    carries, rows = attributes["carries"], attributes["rows"]
    body: Body = attributes["body"]
    kept = (*range(carries), *(place for place in places if place >= carries))
    body = Body(body.graph, body.inputs, tuple(body.results[place] for place in kept))
    used = _used_inputs([body])
    inputs = sorted({*range(carries), *used})
    attributes["body"] = _with_inputs(body, inputs)
    attributes["rows"] = sum(carries <= place < carries + rows for place in inputs)
    counting = (len(node.operands) - 1,) if attributes["counted"] else ()
    return _Narrow((*inputs, *counting), kept, attributes)


def _narrowed_while(node: Node, places: Sequence[int]) -> _Narrow:
    attributes = dict(node.attributes)
    carries = attributes["carries"]
    body: Body = attributes["body"]
    stacks = [place for place in places if place > carries]
    attributes["counting"] = any(place >= carries for place in places)
    # The stacks come after the number of iterations, which is no result of the body.
    results = (*body.results[:carries], *(body.results[place - 1] for place in stacks))
    bodies = [attributes["condition"], Body(body.graph, body.inputs, results)]
    inputs = sorted({*range(carries), *_used_inputs(bodies)})
    attributes["condition"], attributes["body"] = (_with_inputs(each, inputs) for each in bodies)
    counter = (carries,) if attributes["counting"] else ()
    return _Narrow(tuple(inputs), (*range(carries), *counter, *stacks), attributes)


def _used_inputs(bodies: Sequence[Body]) -> list[int]:
    """Places of the inputs that some body reads for its results."""
    used: set[int] = set()
    for body in bodies:
        nodes = set(pruned(body.graph.nodes, body.results).nodes)
        used |= {place for place, each in enumerate(body.inputs) if each.node in nodes}
    return sorted(used)


def _with_inputs(body: Body, places: Sequence[int]) -> Body:
    return Body(body.graph, tuple(body.inputs[place] for place in places), body.results)
