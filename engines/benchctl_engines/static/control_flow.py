"""`cond`, `scan` and `while_loop` of the static engine: recorded as operations with bodies.

See `benchctl_engines.vocabulary` for what they mean. What the bodies use of the graph around them
may be passed or simply used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..nests import flat, like
from ..primitives import control_flow as rules
from ..primitives.primitive import OperandError
from ..primitives.shaping import reshape
from ..primitives.specs import ShapeError, TensorSpec, spec
from ..source_sites import Site
from .bodies import BodyGraph, Parts, bodies_of, held_in
from .graph import Graph, Node, Value, graph_of, recorded_in


def cond(
    predicate: Any,
    then: Callable[..., Any],
    otherwise: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """then(*operands) where the bool scalar `predicate` holds, otherwise(*operands) elsewhere.

    Only the branch taken runs. Raises `ShapeError` where the branches give other shapes.
    """
    site = _site_of("cond", (predicate,))
    rules.require_predicate("cond", predicate, site.describe)
    graph = graph_of(predicate)
    first = _Recorded(graph, site)
    nest = first.record(lambda: then(*operands), "the branch then of cond")
    second = _Recorded(graph, site)
    other = second.record(lambda: otherwise(*operands), "the branch otherwise of cond")
    if isinstance(nest, Value) != isinstance(other, Value) or len(flat(nest)) != len(flat(other)):
        raise ShapeError(
            "cond expected both branches to return the same number of tensors, received "
            f"{first.described()} and {second.described()}"
        )
    rules.require_alike("the branch otherwise of cond", first.specs, second.specs, second.where)
    node = emit_cond(graph, predicate, first.parts(), second.parts(), site)
    return like(nest, node.outputs)


def emit_cond(graph: Graph, predicate: Value, then: Parts, otherwise: Parts, site: Site) -> Node:
    """The operation, whose branches give the same results."""
    (first, second), around = bodies_of([then, otherwise])
    places = tuple(range(len(first.results)))
    attributes = {
        "then": first,
        "otherwise": second,
        "then_places": places,
        "otherwise_places": places,
    }
    operands = (held_in(graph, predicate), *around)
    return graph.emit(rules.cond, operands, attributes, origin=site)


def scan(body: Callable[[Any, Any], Any], carry: Any, xs: Any) -> tuple[Any, Any]:
    """body(carry, x) -> (carry, y) for each row x of xs along axis 0: the last carry, stacked ys.

    Raises `ShapeError` where the body changes the shape of its carry.
    """
    site = _site_of("scan", (*flat(carry), *flat(xs)))
    graph = graph_of((*flat(carry), *flat(xs))[0])
    with graph.made_at(site):
        first, stacks = _own(graph, flat(carry)), _own(graph, flat(xs))
    length = rules.rows_of([each.spec for each in stacks], site.describe)
    inside = _Recorded(graph, site)
    carries = [inside.graph.input(each.spec, "carry") for each in first]
    rows = [inside.graph.input(spec(each.spec.shape[1:], each.spec.dtype), "x") for each in stacks]
    pair: list[Any] = []

    def call() -> Any:
        pair[:] = rules.require_pair(body(like(carry, carries), like(xs, rows)), site.describe)
        return (*flat(pair[0]), *flat(pair[1]))

    inside.record(call, "the body of scan")
    kept = inside.specs[: len(flat(pair[0]))]
    rules.require_kept("scan", [each.spec for each in first], kept, inside.where)
    node = emit_scan(graph, inside.parts(carries, rows), first, stacks, length, site)
    last, ys = node.outputs[: len(first)], node.outputs[len(first) :]
    return like(carry, last), like(pair[1], ys)


def emit_scan(
    graph: Graph,
    parts: Parts,
    carries: Sequence[Value],
    stacks: Sequence[Value],
    length: int,
    site: Site,
    reverse: bool = False,
    count: Value | None = None,
) -> Node:
    """The operation; with `count` it does as many iterations instead of `length`."""
    (made,), around = bodies_of([parts])
    operands = (*carries, *stacks, *around, *(() if count is None else (count,)))
    attributes = {
        "body": made,
        "carries": len(carries),
        "rows": len(stacks),
        "length": length,
        "reverse": reverse,
        "counted": count is not None,
    }
    held = [held_in(graph, each) for each in operands]
    return graph.emit(rules.scan, held, attributes, origin=site)


def while_loop(
    condition: Callable[[Any], Any],
    body: Callable[[Any], Any],
    carry: Any,
    limit: int | None = None,
) -> Any:
    """body(carry) -> carry while condition(carry), a bool scalar, holds, and at most `limit` times.

    A gradient needs the limit: what backward reads of each iteration is kept.
    """
    site = _site_of("while_loop", flat(carry))
    rules.require_limit(limit, site.describe)
    graph = graph_of(flat(carry)[0])
    with graph.made_at(site):
        first = _own(graph, flat(carry))
    asking = _Recorded(graph, site)
    asked = [asking.graph.input(each.spec, "carry") for each in first]
    holds = asking.record(lambda: condition(like(carry, asked)), "the condition of while_loop")
    rules.require_predicate("the condition of while_loop", holds, asking.where)
    inside = _Recorded(graph, site)
    carries = [inside.graph.input(each.spec, "carry") for each in first]
    inside.record(lambda: body(like(carry, carries)), "the body of while_loop")
    expected = [each.spec for each in first]
    rules.require_kept("while_loop", expected, inside.specs, inside.where)
    (deciding, made), around = bodies_of([asking.parts(asked), inside.parts(carries)])
    attributes = {
        "condition": deciding,
        "body": made,
        "carries": len(first),
        "limit": limit,
        "counting": False,
    }
    node = graph.emit(rules.while_loop, (*first, *around), attributes, origin=site)
    return like(carry, node.outputs)


# ----- recording bodies ---------------------------------------------------------------------------


class _Recorded:
    """A body that is being recorded."""

    def __init__(self, outer: Graph, site: Site) -> None:
        self.graph = BodyGraph(outer, site)
        self.results: tuple[Value, ...] = ()

    def record(self, call: Callable[[], Any], what: str) -> Any:
        """Run the user's function, and keep the values of the nest that it returns."""
        with recorded_in(self.graph):
            nest = call()
        results = []
        for each in flat(nest):
            held = self.graph.held(each) if isinstance(each, Value) else None
            if held is None:
                raise OperandError(
                    f"{what} expected to return tensors of its graph, received "
                    f"{type(each).__name__}   (at {self.graph.origin.describe()})"
                )
            results.append(held)
        if not results:
            raise OperandError(
                f"{what} expected to return at least one tensor, received none"
                f"   (at {self.graph.origin.describe()})"
            )
        self.results = tuple(results)
        return nest

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """Of the results."""
        return tuple(each.spec for each in self.results)

    def where(self) -> str:
        """The user's line that made the last result, that of the call where none was made here."""
        node = self.results[-1].node
        return (self.graph if node.is_source else node).origin.describe()

    def described(self) -> str:
        """The results' specs and the line."""
        return f"{rules.words(self.specs)} from {self.where()}"

    def parts(self, *inputs: Sequence[Value]) -> Parts:
        """For `bodies_of`."""
        return self.graph, [each for group in inputs for each in group], self.results


def _own(graph: Graph, values: Sequence[Value]) -> list[Value]:
    """The values, floating ones under a node that nobody else reads.

    What the gradients of carries and of stacks are added to is then the same as on a tape.
    """
    owned = []
    for each in values:
        own = reshape(each, shape=each.spec.shape) if each.spec.floating else each
        owned.append(held_in(graph, own))
    return owned


def _site_of(name: str, values: Sequence[Any]) -> Site:
    """Where the user calls; raises `OperandError` on what is no value of a graph."""
    for each in values:
        if not isinstance(each, Value):
            raise OperandError(
                f"{name} of the static engine expected values of a graph, received "
                f"{type(each).__name__}; make a constant of it"
            )
    if not values:
        raise OperandError(f"{name} expected at least one tensor to carry and to go over")
    return graph_of(values[0]).site()
