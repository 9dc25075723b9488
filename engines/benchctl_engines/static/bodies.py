"""Parts of a graph that run on their own: the branches of a condition, the body of a loop.

A body is recorded in a graph of its own. A value of the graph around it that is used inside becomes
an input of the body when it is first used, as TensorFlow's FuncGraph does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..primitives.primitive import OperandError
from ..primitives.specs import TensorSpec
from ..source_sites import Site
from .graph import Graph, Value, emit_constant, emit_placeholder
from .sources import constant_source


@dataclass(frozen=True, eq=False, slots=True)
class Body:
    """A part of a graph as a function of its inputs, which are placeholders of its graph."""

    graph: BodyGraph
    inputs: tuple[Value, ...]
    results: tuple[Value, ...]

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Of the results."""
        return tuple(each.spec for each in self.results)

    def with_results(self, more: Sequence[Value]) -> Body:
        """The same with further results."""
        return Body(self.graph, self.inputs, (*self.results, *more))


class BodyGraph(Graph):
    """The graph of a body.

    `captures` has, by value of the graph around, the input that stands for it. Of a body that is
    the gradient of another, `forward` is that one: its values are at hand here, and those that are
    used are `saved`, by value the input that stands for it.
    """

    def __init__(self, outer: Graph, origin: Site, forward: Body | None = None) -> None:
        super().__init__()
        self.outer: Graph = outer
        self.origin = origin
        self.forward = forward
        self.captures: dict[Value, Value] = {}
        self.saved: dict[Value, Value] = {}
        self._constants: dict[Value, Value] = {}
        self._captured: Mapping[Value, Value] = {}
        if forward is not None:
            self._captured = {inside: value for value, inside in forward.graph.captures.items()}

    def input(self, made: TensorSpec, name: str = "input") -> Value:
        """A new input."""
        return emit_placeholder(self, made, self.origin, name)

    def held(self, value: Value) -> Value | None:
        """What stands for a value of this graph, of one around it, or of the forward body."""
        if value.graph is self:
            return value
        if self.forward is not None and value.graph is self.forward.graph:
            return self._of_forward(value)
        around = self.outer.held(value)
        if around is None:
            return None
        if around not in self.captures:
            self.captures[around] = self.input(around.spec, "captured")
        return self.captures[around]

    def _of_forward(self, value: Value) -> Value | None:
        if value in self._captured:
            return self.held(self._captured[value])
        if value.node.primitive is constant_source:
            if value not in self._constants:
                node, dtype = value.node, value.spec.dtype
                self._constants[value] = emit_constant(self, node.payload, node.origin, dtype=dtype)
            return self._constants[value]
        if value not in self.saved:
            self.saved[value] = self.input(value.spec, "saved")
        return self.saved[value]


Parts = tuple[BodyGraph, Sequence[Value], Sequence[Value]]
"""A recorded body before what it reads is known: its graph, its own inputs, its results."""


def bodies_of(
    recorded: Sequence[Parts],
) -> tuple[list[Body], list[Value]]:
    """Bodies of one operation, and the values around them that they read.

    All bodies take the same captured values after their own inputs, used or not.
    """
    around = list(dict.fromkeys(value for graph, _, _ in recorded for value in graph.captures))
    bodies = []
    for graph, own, results in recorded:
        captured = [held_in(graph, value) for value in around]
        bodies.append(Body(graph, (*own, *captured), tuple(results)))
    return bodies, around


def held_in(graph: Graph, value: Value) -> Value:
    """What stands for a value in this graph; raises `OperandError` on one of another graph."""
    held = graph.held(value)
    if held is None:
        raise OperandError(
            f"branches and loops expected values of one graph, received {value!r} of another"
            f"   (made at {value.node.origin.describe()})"
        )
    return held
