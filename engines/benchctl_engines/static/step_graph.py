"""What a session runs: a graph cut down to fetches, and the tools that passes rewrite it with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..primitives.primitive import PRIMITIVES
from ..source_sites import Site
from .graph import Graph, Node, Value


class CyclicUpdateError(ValueError):
    """A value that needs both the old and the new state of a variable."""


@dataclass(frozen=True)
class StepGraph:
    """The nodes of one step in an executable order, and the values that it returns."""

    nodes: tuple[Node, ...]
    fetches: tuple[Value, ...]

    @property
    def operations(self) -> tuple[Node, ...]:
        """The nodes that compute something."""
        return tuple(node for node in self.nodes if not node.is_source)


@dataclass(frozen=True)
class PassReport:
    """What one pass did: node counts before and after, and the details worth printing."""

    name: str
    enabled: bool
    before: int = 0
    after: int = 0
    seconds: float = 0.0
    details: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


Transform = Callable[[Graph, Node, tuple[Value, ...]], Sequence[Value] | None]


def rewrite(step: StepGraph, transform: Transform) -> StepGraph:
    """Copy the step into a new graph, node by node.

    `transform(graph, node, operands)` returns the values that replace the node's outputs, or None
    to copy the node as it is; operands are already those of the new graph.
    """
    graph = Graph()
    moved: dict[Value, Value] = {}
    for node in step.nodes:
        operands = tuple(moved[each] for each in node.operands)
        replaced = transform(graph, node, operands)
        if replaced is None:
            replaced = copy_node(graph, node, operands).outputs
        moved.update(zip(node.outputs, replaced, strict=True))
    return pruned(graph.nodes, tuple(moved[each] for each in step.fetches))


def copy_node(graph: Graph, node: Node, operands: Sequence[Value]) -> Node:
    """The same call on other operands, in another graph."""
    return graph.emit(
        node.primitive,
        operands,
        node.attributes,
        origin=node.origin,
        name=node.name,
        payload=node.payload,
    )


def emit_like(
    graph: Graph,
    primitive: str,
    operands: Sequence[Value],
    attributes: dict[str, object],
    origin: Site,
    name: str = "",
) -> tuple[Value, ...]:
    """A new call made by a pass; `origin` is the user's, touched by the pass."""
    made = graph.emit(PRIMITIVES[primitive], operands, attributes, origin=origin, name=name)
    return made.outputs


def pruned(nodes: Sequence[Node], fetches: tuple[Value, ...]) -> StepGraph:
    """The step with only the ancestors of its fetches, in the order given."""
    needed: set[Node] = set()
    stack = [each.node for each in fetches]
    while stack:
        node = stack.pop()
        if node not in needed:
            needed.add(node)
            stack.extend(each.node for each in node.operands)
    return StepGraph(tuple(node for node in nodes if node in needed), fetches)


def consumers(step: StepGraph) -> dict[Value, list[Node]]:
    """Who reads each value; a fetch is no reader."""
    readers: dict[Value, list[Node]] = {}
    for node in step.nodes:
        for operand in dict.fromkeys(node.operands):
            readers.setdefault(operand, []).append(node)
    return readers


def updated_variable(node: Node) -> Node | None:
    """The variable that an update changes, through earlier updates of it; None for others."""
    if node.primitive.effect != "update":
        return None
    target = node.operands[0].node
    while target.primitive.effect == "update":
        target = target.operands[0].node
    return target


def check_single_updates(step: StepGraph) -> None:
    """Raise `CyclicUpdateError` where two updates change one state in no order."""
    seen: dict[Value, Node] = {}
    for node in step.nodes:
        if node.primitive.effect != "update":
            continue
        state = node.operands[0]
        if state in seen:
            raise CyclicUpdateError(
                f"variable {state.name} is changed twice in one step, at {seen[state].origin} and "
                f"{node.origin}; let the second change use the first one's result"
            )
        seen[state] = node


def predecessors(step: StepGraph) -> dict[Node, set[Node]]:
    """What must run before each node: its operands; for an update all readers of its state."""
    before = {node: {each.node for each in node.operands} for node in step.nodes}
    readers = consumers(step)
    for node in step.nodes:
        if node.primitive.effect != "update":
            continue
        state = node.operands[0]
        for reader in readers[state]:
            if reader is not node:
                before[node].add(reader)
    return before


def ordered(
    step: StepGraph,
    priority: Callable[[Node], tuple[int, ...]],
    taken: Callable[[Node], None] | None = None,
) -> StepGraph:
    """The step in an order that respects `predecessors`; among ready nodes the lowest priority.

    `taken(node)` is called after each choice, for priorities that depend on the order so far.
    """
    waiting = {node: set(needs) for node, needs in predecessors(step).items()}
    followers: dict[Node, list[Node]] = {}
    for node, needs in waiting.items():
        for need in needs:
            followers.setdefault(need, []).append(node)
    ready = [node for node, needs in waiting.items() if not needs]
    order: list[Node] = []
    while ready:
        node = min(ready, key=priority)
        ready.remove(node)
        order.append(node)
        if taken is not None:
            taken(node)
        for follower in followers.get(node, ()):
            waiting[follower].discard(node)
            if not waiting[follower]:
                ready.append(follower)
    if len(order) != len(step.nodes):
        stuck = next(node for node in step.nodes if node not in set(order))
        raise CyclicUpdateError(
            f"{stuck.primitive.name} needs a variable both before and after its change "
            f"  (made at {stuck.origin.describe()})"
        )
    return StepGraph(tuple(order), step.fetches)
