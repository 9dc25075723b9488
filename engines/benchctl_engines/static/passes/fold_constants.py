"""Run what depends on constants alone once, on the CPU, wherever the rest will run.

A result may be no larger than its operands or 1 MiB, whichever is more: a folded broadcast would
trade a cheap operation for memory.
"""

from __future__ import annotations

from ..gradients import is_control
from ..graph import Graph, Node, Value, emit_constant
from ..launch import Target, check_nan, run_once
from ..sources import constant_source
from ..step_graph import StepGraph, rewrite

_ALLOWED_BYTES = 1 << 20


def fold_constants(
    step: StepGraph, target: Target, refuse_nan: bool = False
) -> tuple[StepGraph, dict[str, int]]:
    """The step with constant expressions replaced by constants; counts folded and bytes added.

    Raises `NanError` where `refuse_nan` and a folded value holds one.
    """
    counts = {"folded": 0, "bytes_added": 0}
    host = target.on_host()

    def fold(graph: Graph, node: Node, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if node.primitive.effect != "pure" or not operands or is_control(node):
            return None
        if any(each.node.primitive is not constant_source for each in operands):
            return None
        largest = max(each.spec.nbytes for each in operands)
        produced = sum(each.spec.nbytes for each in node.outputs)
        if produced > max(largest, _ALLOWED_BYTES):
            return None
        arrays = [each.node.payload for each in operands]
        results = run_once(node, arrays, host)
        if refuse_nan:
            check_nan(node, *results)
        counts["folded"] += 1
        counts["bytes_added"] += produced
        origin = node.origin.touched_by("fold_constants")
        return tuple(
            emit_constant(graph, each, origin, dtype=made.spec.dtype)
            for each, made in zip(results, node.outputs, strict=True)
        )

    return rewrite(step, fold), counts
