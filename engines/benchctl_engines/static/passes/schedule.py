"""Among the operations that are ready, run the one that frees most memory next.

State is respected: a variable is read by all its readers before it changes. Ties go to the
operation that was written first, so the order is deterministic.
"""

from __future__ import annotations

from ..graph import Node, Value
from ..step_graph import StepGraph, consumers, ordered


def written_order(step: StepGraph) -> StepGraph:
    """The order of creation, made to respect state."""
    return ordered(step, lambda node: (node.sequence,))


def schedule(step: StepGraph) -> tuple[StepGraph, dict[str, int]]:
    """The step in a memory-saving order; counts the peak of live bytes before and after."""
    before = written_order(step)
    after = _by_freed_bytes(step)
    counts = {"live_bytes_before": live_peak(before), "live_bytes_after": live_peak(after)}
    # A greedy order is no proof: keep the written one where it needs less.
    if counts["live_bytes_after"] > counts["live_bytes_before"]:
        counts["live_bytes_after"] = counts["live_bytes_before"]
        return before, counts
    return after, counts


def _by_freed_bytes(step: StepGraph) -> StepGraph:
    unread = {value: len(nodes) for value, nodes in consumers(step).items()}
    fetched = set(step.fetches)

    def cost(node: Node) -> tuple[int, int]:
        freed = sum(
            each.spec.nbytes
            for each in set(node.operands)
            if unread[each] == 1 and each not in fetched and not each.node.is_source
        )
        made = 0 if node.primitive.effect == "update" else _made_bytes(node)
        return made - freed, node.sequence

    def read(node: Node) -> None:
        for operand in set(node.operands):
            unread[operand] -= 1

    return ordered(step, cost, read)


def _made_bytes(node: Node) -> int:
    return 0 if node.is_source else sum(each.spec.nbytes for each in node.outputs)


def live_peak(step: StepGraph) -> int:
    """The largest sum of bytes of results alive at one time, without sharing in place."""
    last: dict[Value, int] = {}
    for place, node in enumerate(step.nodes):
        for operand in node.operands:
            last[operand] = place
    dying: dict[int, int] = {}
    alive = peak = 0
    fetched = set(step.fetches)
    for place, node in enumerate(step.nodes):
        if not node.is_source and node.primitive.effect != "update":
            for value in node.outputs:
                alive += value.spec.nbytes
                if value not in fetched:
                    end = last.get(value, place)
                    dying[end] = dying.get(end, 0) + value.spec.nbytes
        peak = max(peak, alive)
        alive -= dying.pop(place, 0)
    return peak
