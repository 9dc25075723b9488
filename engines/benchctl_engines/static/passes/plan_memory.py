"""Where every intermediate result lies: one arena, shared by buffers that are not alive together.

1. A buffer lives from the step that writes it to the last step that reads it.
2. An output takes over the buffer of an input where the primitive declares the pair, the input
   dies at this step and both have the same size: their intervals become one.
3. Buffers are placed by falling size at the lowest 64-byte-aligned offset that is free for their
   whole interval. Workspaces are buffers that live for one step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph import Node, Value
from ..step_graph import StepGraph

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Buffer:
    """A span of the arena, alive from step `birth` to step `death`, both included."""

    offset: int
    nbytes: int
    birth: int
    death: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Offsets in bytes. `live_bytes` is the largest sum alive at once: no plan needs less.

    `values` maps a result to its buffer, several results to one where they share in place;
    `workspaces` maps an operation to its scratch.
    """

    buffers: tuple[Buffer, ...]
    values: Mapping[Value, int]
    workspaces: Mapping[Node, int]
    arena_bytes: int
    live_bytes: int
    summed_bytes: int
    in_place: int


@dataclass(slots=True)
class _Interval:
    nbytes: int
    birth: int
    death: int


def plan_memory(
    step: StepGraph,
    workspace_bytes: Mapping[Node, int],
    held: frozenset[Value],
    share: bool = True,
    alignment: int = ALIGNMENT,
) -> MemoryPlan:
    """A plan for the results that are not `held` (fed, fetched or state).

    Offsets are multiples of `alignment`. Without `share` every buffer has bytes of its own, to
    show what sharing is worth.
    """
    intervals, values, in_place = _intervals(step, held, share)
    workspaces: dict[Node, int] = {}
    for place, node in enumerate(step.nodes):
        if workspace_bytes.get(node):
            workspaces[node] = len(intervals)
            intervals.append(_Interval(workspace_bytes[node], place, place))
    if share:
        spans = [(each.nbytes, each.birth, each.death) for each in intervals]
        offsets = place_buffers(spans, alignment)
    else:
        offsets = _side_by_side(intervals, alignment)
    buffers = tuple(
        Buffer(offset, each.nbytes, each.birth, each.death)
        for offset, each in zip(offsets, intervals, strict=True)
    )
    return MemoryPlan(
        buffers=buffers,
        values=values,
        workspaces=workspaces,
        arena_bytes=max(
            (each.offset + aligned(each.nbytes, alignment) for each in buffers), default=0
        ),
        live_bytes=_live_bytes(intervals, len(step.nodes)),
        summed_bytes=sum(each.nbytes for each in intervals),
        in_place=in_place,
    )


def _intervals(
    step: StepGraph, held: frozenset[Value], share: bool
) -> tuple[list[_Interval], dict[Value, int], int]:
    last: dict[Value, int] = {}
    for place, node in enumerate(step.nodes):
        for operand in node.operands:
            last[operand] = place
    intervals: list[_Interval] = []
    values: dict[Value, int] = {}
    in_place = 0
    for place, node in enumerate(step.nodes):
        if node.is_source or node.primitive.effect == "update":
            continue
        taken: set[int] = set()
        for index, value in enumerate(node.outputs):
            if value in held:
                continue
            death = last.get(value, place)
            shared = _sharable(node, index, place, last, values, taken) if share else None
            if shared is not None:
                taken.add(shared)
                intervals[shared].death = death
                values[value] = shared
                in_place += 1
            else:
                values[value] = len(intervals)
                intervals.append(_Interval(value.spec.nbytes, place, death))
    return intervals, values, in_place


def _sharable(
    node: Node,
    index: int,
    place: int,
    last: Mapping[Value, int],
    values: Mapping[Value, int],
    taken: set[int],
) -> int | None:
    """The buffer of an input that output `index` may write into."""
    out = node.outputs[index]
    for output_place, input_place in node.primitive.inplace:
        if output_place != index or input_place >= len(node.operands):
            continue
        source = node.operands[input_place]
        buffer = values.get(source)
        if buffer is None or buffer in taken or last[source] != place:
            continue
        elementwise = node.primitive.scalar is not None
        if source.spec.nbytes != out.spec.nbytes:
            continue
        if elementwise and source.spec.shape != out.spec.shape:
            continue
        # A second reading of the same buffer by this operation would see it half overwritten.
        readers = [each for each in node.operands if values.get(each) == buffer]
        if len(readers) == 1 or (elementwise and all(each is source for each in readers)):
            return buffer
    return None


def aligned(nbytes: int, alignment: int = ALIGNMENT) -> int:
    """The least multiple of `alignment` that is not less."""
    return -(-nbytes // alignment) * alignment


def place_buffers(
    intervals: Sequence[tuple[int, int, int]], alignment: int = ALIGNMENT
) -> list[int]:
    """Offsets for (bytes, birth, death) intervals so that none alive together overlap.

    Greedy by size: the largest first, each at the lowest gap that fits.
    """
    order = sorted(range(len(intervals)), key=lambda i: (-intervals[i][0], intervals[i][1], i))
    offsets = [0] * len(intervals)
    placed: list[int] = []
    for index in order:
        nbytes, birth, death = intervals[index]
        clashing = sorted(
            (offsets[other], offsets[other] + aligned(intervals[other][0], alignment))
            for other in placed
            if intervals[other][1] <= death and birth <= intervals[other][2]
        )
        offset = 0
        for start, end in clashing:
            if start - offset >= aligned(nbytes, alignment):
                break
            offset = max(offset, end)
        offsets[index] = offset
        placed.append(index)
    return offsets


def _side_by_side(intervals: Sequence[_Interval], alignment: int) -> list[int]:
    offsets: list[int] = []
    end = 0
    for each in intervals:
        offsets.append(end)
        end += aligned(each.nbytes, alignment)
    return offsets


def _live_bytes(intervals: Sequence[_Interval], steps: int) -> int:
    change = [0] * (steps + 1)
    for each in intervals:
        change[each.birth] += each.nbytes
        change[each.death + 1] -= each.nbytes
    alive = peak = 0
    for difference in change:
        alive += difference
        peak = max(peak, alive)
    return peak
