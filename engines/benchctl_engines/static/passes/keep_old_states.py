"""Copies of a variable's old value for those who need it after the variable has changed.

Every read of a variable sees its value before the step. A read that can run before the update is
ordered so; one that needs the update's own result, directly or through another variable, reads a
copy made before the update. Not a switch: without it such a step could not run at all.
"""

from __future__ import annotations

from ...primitives.primitive import PRIMITIVES
from ..graph import Graph, Node, Value
from ..step_graph import StepGraph, check_single_updates, consumers, copy_node, pruned


def keep_old_states(step: StepGraph) -> StepGraph:
    """The step with copies where a state is needed both old and new."""
    if all(node.primitive.effect == "pure" for node in step.nodes):
        return step
    check_single_updates(step)
    late = _late_readers(step)
    fetched = set(step.fetches)
    graph = Graph()
    moved: dict[Value, Value] = {}
    kept: dict[Value, Value] = {}

    def old(state: Value) -> Value:
        """The copy of a state, made when first asked for, before the state changes."""
        if state not in kept:
            node = graph.emit(
                PRIMITIVES["copy"],
                (moved[state],),
                {},
                origin=state.node.origin.touched_by("keep_old_states"),
            )
            kept[state] = node.outputs[0]
        return kept[state]

    for node in step.nodes:
        operands = [old(each) if (node, each) in late else moved[each] for each in node.operands]
        copied = copy_node(graph, node, operands)
        moved.update(zip(node.outputs, copied.outputs, strict=True))
    changed = {node.operands[0] for node in step.nodes if node.primitive.effect == "update"}
    # A fetched update that a later update changes again is fetched as it was.
    fetches = tuple(
        old(each)
        if each in changed and not each.node.is_source and each in fetched
        else moved[each]
        for each in step.fetches
    )
    return pruned(graph.nodes, fetches)


def _late_readers(step: StepGraph) -> set[tuple[Node, Value]]:
    """(reader, state) pairs in which the reader cannot run before the state's update."""
    readers = consumers(step)
    followers: dict[Node, set[Node]] = {node: set() for node in step.nodes}
    for node in step.nodes:
        for operand in node.operands:
            followers[operand.node].add(node)
    late: set[tuple[Node, Value]] = set()
    for update in step.nodes:
        if update.primitive.effect != "update":
            continue
        state = update.operands[0]
        for reader in readers[state]:
            if reader is update:
                continue
            if _reaches(update, reader, followers):
                late.add((reader, state))
            else:
                followers[reader].add(update)
    return late


def _reaches(start: Node, goal: Node, followers: dict[Node, set[Node]]) -> bool:
    stack, seen = [start], {start}
    while stack:
        for follower in followers[stack.pop()]:
            if follower is goal:
                return True
            if follower not in seen:
                seen.add(follower)
                stack.append(follower)
    return False
