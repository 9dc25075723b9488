"""Gradients of a graph: the shared walk, run once, recording as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..primitives.elementwise import add
from ..primitives.half_storage import held
from ..primitives.primitive import Saved
from ..primitives.specs import ShapeError
from ..reverse_mode import pull_back
from .graph import Node, Value, emit_constant


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
        with node.graph.made_at(node.origin.touched_by("gradients")):
            return rule(gradient, self)


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
    graph = outputs[0].graph
    calls = _reachable_calls(graph.nodes, {each.node for each in inputs})
    pairs = [
        (calls[output.node], _seed_of(output, seed))
        for output, seed in zip(outputs, given, strict=True)
        if output.node in calls and output.index == 0
    ]
    targets = {calls[each.node] for each in inputs if each.node in calls}
    found = pull_back(pairs, targets, _add)
    return [found.get(calls[each.node]) if each.node in calls else None for each in inputs]


def _reachable_calls(nodes: Sequence[Node], targets: set[Node]) -> dict[Node, _Call]:
    calls: dict[Node, _Call] = {}
    for node in nodes:
        sources = tuple(
            calls.get(each.node) if each.index == 0 and each.spec.floating else None
            for each in node.operands
        )
        # A float result without a rule is met with an error in the walk, not with silence.
        flows = any(source is not None for source in sources) and node.outputs[0].spec.floating
        if node in targets or flows:
            calls[node] = _Call(node, sources if flows else ())
    return calls


def _seed_of(output: Value, seed: Any) -> Any:
    if seed is None:
        if output.spec.shape:
            raise ShapeError(
                f"gradients expected a scalar or a seed of its shape, received {output!r} "
                f"without a seed   (made at {output.node.origin.describe()})"
            )
        return emit_constant(
            output.graph,
            held(1.0, output.spec.dtype),
            output.graph.site(),
            "seed",
            output.spec.dtype,
        )
    if not isinstance(seed, Value):
        array, dtype = held(seed, output.spec.dtype), output.spec.dtype
        seed = emit_constant(output.graph, array, output.graph.site(), "seed", dtype)
    if seed.spec is not output.spec:
        raise ShapeError(f"gradients expected a seed like {output!r}, received {seed!r}")
    return seed


def _add(total: Any, contribution: Any, owned: bool) -> Any:
    return add(total, contribution)
