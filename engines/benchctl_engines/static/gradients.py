"""Gradients of a graph: the shared walk, run once, recording as it goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..primitives.control_flow import CONTROL_FLOW
from ..primitives.elementwise import add
from ..primitives.half_storage import held
from ..primitives.primitive import Saved
from ..primitives.specs import ShapeError
from ..reverse_mode import pull_back
from .graph import Graph, Node, Value, emit_constant, graph_of


class _Call(Saved):
    """A node as the walk sees it: gradients flow only where an asked input can be reached."""

    __slots__ = ("node",)

    def __init__(self, node: Node, sources: tuple[Any, ...]) -> None:
        self.node = node
        self.sequence = node.sequence
        self.sources = sources
        self.primitive = node.primitive
        self.attributes = node.attributes
        self.specs = tuple(each.spec for each in node.operands)
        self.inputs = node.operands
        self.outputs = node.outputs

    def pull(self, gradient: Any) -> Sequence[Any]:
        """The pullback's gradients, recorded with the forward operation's own origin."""
        node = self.node
        rule = node.primitive.rule
        if rule is None:
            raise NotImplementedError(
                f"{node.primitive.name} has no gradient   (made at {node.origin.describe()})"
            )
        gradient = resolved(gradient)
        with graph_of(gradient).made_at(node.origin.touched_by("gradients")):
            return rule(gradient, self)


class Contribution:
    """A gradient that a branch or loop will give, made when it is first needed.

    By then it is known what else has arrived at the same value, `total`: backward continues that
    sum inside the body, as the walk over a tape does.
    """

    __slots__ = ("call", "place", "total")

    def __init__(self, call: _ControlCall, place: int) -> None:
        self.call = call
        self.place = place
        self.total: Any = None


class _Output:
    """One result of a branch or loop: where the gradients of its consumers are summed."""

    __slots__ = ("place", "sequence", "sources")

    def __init__(self, node: Node, place: int, sources: tuple[Any, ...]) -> None:
        # Between the node and whatever reads it.
        self.sequence = node.sequence + (place + 1) / (len(node.outputs) + 1)
        self.place = place
        self.sources = sources

    def pull(self, gradient: Any) -> Sequence[Any]:
        """The gradient with the place of the result."""
        return ({self.place: resolved(gradient)},)


class _ControlCall:
    """A branch or loop: `pull` takes the gradients of its results by place."""

    __slots__ = ("_found", "_given", "_promised", "node", "sequence", "sources")

    def __init__(self, node: Node, sources: tuple[Any, ...]) -> None:
        self.node = node
        self.sequence: float = node.sequence
        self.sources = sources
        self._given: dict[int, Value] = {}
        self._promised: dict[int, Contribution] = {}
        self._found: Mapping[int, Value] | None = None

    def pull(self, gradient: dict[int, Value]) -> Sequence[Any]:
        """A contribution for each operand that has a gradient."""
        from .control_gradients import reached_operands

        self._given = gradient
        reached = reached_operands(self.node, gradient)
        self._promised = {
            place: Contribution(self, place)
            for place, source in enumerate(self.sources)
            if source is not None and place in reached
        }
        return [self._promised.get(place) for place in range(len(self.sources))]

    def value(self, place: int) -> Value:
        """The gradient of an operand; the first call records the backward operation."""
        from .control_gradients import operand_gradients

        if self._found is None:
            totals = {at: each.total for at, each in self._promised.items()}
            self._found = operand_gradients(self.node, self._given, totals)
        return self._found[place]


def resolved(gradient: Any) -> Any:
    """A gradient as a value of the graph."""
    if isinstance(gradient, Contribution):
        return gradient.call.value(gradient.place)
    return gradient


def gradients(
    outputs: Value | Sequence[Value],
    inputs: Sequence[Value],
    seeds: Sequence[Any] | None = None,
) -> list[Value | None]:
    """Gradients of the (summed) outputs with respect to `inputs`, None where none depends on one.

    An output that is no scalar needs a seed of its shape.
    """
    outputs = [outputs] if isinstance(outputs, Value) else list(outputs)
    given = list(seeds) if seeds is not None else [None] * len(outputs)
    graph = graph_of(outputs[0])
    pairs = [
        (_known_in(graph, output), _seed_of(output, seed, graph))
        for output, seed in zip(outputs, given, strict=True)
    ]
    return walk(graph, pairs, [_known_in(graph, each) for each in inputs])


def walk(
    graph: Graph, seeds: Sequence[tuple[Value, Any]], inputs: Sequence[Value]
) -> list[Value | None]:
    """Gradients of `inputs` given those of some values, all of one graph, in the order of the walk.

    Where an input is itself seeded, what arrives there is added to the seed.
    """
    calls = _reachable_calls(graph.nodes, {_key_of(each) for each in inputs})
    pairs = [(calls[_key_of(value)], seed) for value, seed in seeds if _flows(value, calls)]
    targets = {calls[_key_of(each)] for each in inputs if _key_of(each) in calls}
    found = pull_back(pairs, targets, _add)
    return [
        resolved(found.get(calls[_key_of(each)])) if _key_of(each) in calls else None
        for each in inputs
    ]


def _known_in(graph: Graph, value: Value) -> Value:
    """The value as an operand of the graph that is recorded."""
    held = graph.held(value)
    return value if held is None else held


def is_control(node: Node) -> bool:
    """Whether the node is a branch or loop: all its results carry gradients."""
    return node.primitive in CONTROL_FLOW


def _key_of(value: Value) -> Node | Value:
    """What the walk knows a value by: its node, or the result of a branch or loop."""
    return value if is_control(value.node) else value.node


def _flows(value: Value, calls: Mapping[Any, Any]) -> bool:
    first = value.index == 0 or is_control(value.node)
    return first and _key_of(value) in calls


def _reachable_calls(
    nodes: Sequence[Node], targets: Collection[Node | Value]
) -> dict[Node | Value, Any]:
    calls: dict[Node | Value, Any] = {}
    for node in nodes:
        sources = tuple(
            calls.get(_key_of(each)) if each.spec.floating and _flows(each, calls) else None
            for each in node.operands
        )
        flows = any(source is not None for source in sources)
        if is_control(node):
            source = (_ControlCall(node, sources),) if flows else ()
            for each in node.outputs:
                if each.spec.floating and (flows or each in targets):
                    calls[each] = _Output(node, each.index, source)
            continue
        # A float result without a rule is met with an error in the walk, not with silence.
        flows = flows and node.outputs[0].spec.floating
        if node in targets or flows:
            calls[node] = _Call(node, sources if flows else ())
    return calls


def _seed_of(output: Value, seed: Any, graph: Graph) -> Any:
    if seed is None:
        if output.spec.shape:
            raise ShapeError(
                f"gradients expected a scalar or a seed of its shape, received {output!r} "
                f"without a seed   (made at {output.node.origin.describe()})"
            )
        dtype = output.spec.dtype
        return emit_constant(graph, held(1.0, dtype), graph.site(), "seed", dtype)
    if not isinstance(seed, Value):
        array, dtype = held(seed, output.spec.dtype), output.spec.dtype
        seed = emit_constant(graph, array, graph.site(), "seed", dtype)
    if seed.spec is not output.spec:
        raise ShapeError(f"gradients expected a seed like {output!r}, received {seed!r}")
    return seed


def _add(total: Any, contribution: Any, owned: bool) -> Any:
    if isinstance(total, dict):
        total.update(contribution)  # of results of one branch or loop, at different places
        return total
    if isinstance(contribution, Contribution):
        contribution.total = resolved(total)
        return contribution
    return add(resolved(total), contribution)
