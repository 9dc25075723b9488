"""Convex groups of elementwise operations become one generated loop, with several results.

Two groups are merged where they walk the same shape, one reads what the other makes or both read
the same full operand, and no path leads from one to the other through an operation outside. A sum
of everything may end a group; what reads that sum comes after the loop.
"""

from __future__ import annotations

import sys

from ...kernels.cpu_elementwise import loops_take, operand_axes
from ...kernels.loop_source import Instruction, Loop
from ...primitives.primitive import PRIMITIVES
from ..graph import Graph, Node, Value
from ..launch import Target
from ..step_graph import StepGraph, consumers, copy_node, pruned

MAX_INPUTS = 16
"""Numba's time to unpack arguments grows faster than their number."""
MAX_OPERATIONS = 24
_LIBRARY_CALLS = {"exp", "log", "tanh", "sin", "cos"}
_LIBRARY_CALL_SIZE = 4096
"""On the CPU, above this size NumPy's vectorised functions are worth a pass of their own."""


def fuse_elementwise(step: StepGraph, target: Target) -> tuple[StepGraph, dict[str, int]]:
    """The step with fused loops; counts groups and the operations in them."""
    limit = _LIBRARY_CALL_SIZE if target.driver is None else sys.maxsize
    groups = _grow(step, limit)
    kept = [group for group in groups if len(group) > 1]
    if target.driver is not None:
        readers, fetched = consumers(step), set(step.fetches)
        kept = [
            group for group in kept if _GroupLoop(group, readers, fetched).computable_on(target)
        ]
    if not kept:
        return step, {"groups": 0, "operations": 0}
    counts = {"groups": len(kept), "operations": sum(len(group) for group in kept)}
    return _emit(step, kept), counts


# ----- which operations may join ----------------------------------------------------------------


def _is_sum(node: Node) -> bool:
    return node.primitive.name == "sum" and node.outputs[0].spec.shape == ()


def _iteration_shape(node: Node, library_call_size: int) -> tuple[int, ...] | None:
    """The shape that the operation walks, None where it cannot be fused."""
    if _is_sum(node):
        summed = node.operands[0].spec
        return summed.shape if summed.size and summed.rank else None
    spec = node.outputs[0].spec
    if node.primitive.scalar is None or node.primitive.effect != "pure" or not spec.size:
        return None
    if node.primitive.name in _LIBRARY_CALLS and spec.size > library_call_size:
        return None
    if not loops_take(node.primitive.name, [each.spec for each in node.operands]):
        return None
    return spec.shape


def _arithmetic(node: Node) -> str:
    floating = [each.spec.dtype for each in node.operands if each.spec.floating]
    return floating[0] if floating else "float32"


class _Groups:
    """Candidate groups over the step's nodes, merged while that stays legal."""

    def __init__(self, step: StepGraph, library_call_size: int) -> None:
        self.step = step
        self.place = {node: index for index, node in enumerate(step.nodes)}
        self.group_of: dict[Node, int] = {node: index for index, node in enumerate(step.nodes)}
        self.members: dict[int, list[Node]] = {i: [node] for i, node in enumerate(step.nodes)}
        self.shape = {node: _iteration_shape(node, library_call_size) for node in step.nodes}
        self.readers = consumers(step)

    def mergeable(self, first: int, second: int) -> bool:
        """Whether the union of two groups is one loop."""
        a, b = self.members[first], self.members[second]
        shape = self.shape[a[0]]
        if shape is None or self.shape[b[0]] != shape or _arithmetic(a[0]) != _arithmetic(b[0]):
            return False
        union = [*a, *b]
        if len(union) > MAX_OPERATIONS:
            return False
        inside = set(union)
        operands = [each.node for node in union for each in node.operands]
        if any(_is_sum(maker) and maker in inside for maker in operands):
            return False
        external = _external_operands(union, inside)
        if len(external) > MAX_INPUTS:
            return False
        if any(_is_sum(node) for node in union) and not _all_flat(external, shape):
            # Rows of a broadcast are short: a partial sum for each would cost more than it saves.
            return False
        return not self._path_through_outside(inside)

    def _path_through_outside(self, inside: set[Node]) -> bool:
        """Whether a result leaves the group and comes back."""
        stack = list(
            {
                self.group_of[reader]
                for node in inside
                for value in node.outputs
                for reader in self.readers.get(value, ())
                if reader not in inside
            }
        )
        seen = set(stack)
        while stack:
            for member in self.members[stack.pop()]:
                for value in member.outputs:
                    for reader in self.readers.get(value, ()):
                        if reader in inside:
                            return True
                        group = self.group_of[reader]
                        if group not in seen:
                            seen.add(group)
                            stack.append(group)
        return False

    def merge(self, first: int, second: int) -> None:
        """Put the second group into the first."""
        moved = self.members.pop(second)
        self.members[first].extend(moved)
        for node in moved:
            self.group_of[node] = first


def _all_flat(operands: set[Value], shape: tuple[int, ...]) -> bool:
    return all(each.spec.shape == shape or each.spec.size == 1 for each in operands)


def _external_operands(nodes: list[Node], inside: set[Node]) -> set[Value]:
    return {each for node in nodes for each in node.operands if each.node not in inside}


def _grow(step: StepGraph, library_call_size: int) -> list[list[Node]]:
    groups = _Groups(step, library_call_size)
    for node in step.nodes:
        if groups.shape[node] is None:
            continue
        for other in _neighbours(groups, node):
            first, second = groups.group_of[other], groups.group_of[node]
            if first != second and groups.mergeable(first, second):
                groups.merge(first, second)
    return [
        sorted(members, key=lambda node: groups.place[node])
        for members in groups.members.values()
        if groups.shape[members[0]] is not None
    ]


def _neighbours(groups: _Groups, node: Node) -> list[Node]:
    """Earlier operations that make what `node` reads, then those that read the same operand."""
    makers = [each.node for each in node.operands]
    siblings = [
        reader
        for each in node.operands
        if each.spec.shape == groups.shape[node]
        for reader in groups.readers[each]
        if groups.place[reader] < groups.place[node]
    ]
    both = dict.fromkeys([*makers, *siblings])
    return [each for each in both if groups.shape[each] is not None]


# ----- the new graph ----------------------------------------------------------------------------


def _emit(step: StepGraph, groups: list[list[Node]]) -> StepGraph:
    readers = consumers(step)
    group_of = {node: index for index, group in enumerate(groups) for node in group}
    units: list[list[Node]] = []
    placed: set[int] = set()
    for node in step.nodes:
        if node not in group_of:
            units.append([node])
        elif group_of[node] not in placed:
            placed.add(group_of[node])
            units.append(groups[group_of[node]])
    graph = Graph()
    moved: dict[Value, Value] = {}
    for unit in _in_order(units):
        if len(unit) == 1:
            node = unit[0]
            copied = copy_node(graph, node, [moved[each] for each in node.operands])
            moved.update(zip(node.outputs, copied.outputs, strict=True))
        else:
            _emit_group(graph, unit, moved, readers, set(step.fetches))
    return pruned(graph.nodes, tuple(moved[each] for each in step.fetches))


def _in_order(units: list[list[Node]]) -> list[list[Node]]:
    """Units so that each comes after those it reads; stable."""
    unit_of = {node: index for index, unit in enumerate(units) for node in unit}
    done: set[int] = set()
    order: list[list[Node]] = []
    stack = list(reversed(range(len(units))))
    while stack:
        index = stack[-1]
        if index in done:
            stack.pop()
            continue
        needs = {
            unit_of[each.node]
            for node in units[index]
            for each in node.operands
            if unit_of[each.node] != index
        } - done
        if needs:
            stack.extend(sorted(needs, reverse=True))
        else:
            done.add(index)
            order.append(units[index])
            stack.pop()
    return order


class _GroupLoop:
    """The loop of a group: its operands in order, and the values that it stores or sums."""

    def __init__(
        self, unit: list[Node], readers: dict[Value, list[Node]], fetched: set[Value]
    ) -> None:
        inside = set(unit)
        shape = _walked_shape(unit[0])
        inputs: dict[tuple[Value, tuple[int, ...]], int] = {}
        arguments: list[tuple[Node, list[Value | int]]] = []
        for node in unit:
            refs: list[Value | int] = []
            for position, operand in enumerate(node.operands):
                if operand.node in inside:
                    refs.append(operand)
                    continue
                axes = (
                    tuple(range(len(shape)))
                    if _is_sum(node)
                    else operand_axes(
                        node.primitive.name, operand.spec, position, shape, node.attributes
                    )
                )
                refs.append(inputs.setdefault((operand, axes), len(inputs)))
            arguments.append((node, refs))

        number: dict[Value, int] = {}
        instructions: list[Instruction] = []
        sums: list[tuple[Node, int]] = []
        for node, refs in arguments:
            numbers = tuple(each if isinstance(each, int) else number[each] for each in refs)
            if _is_sum(node):
                sums.append((node, numbers[0]))
                continue
            number[node.outputs[0]] = len(inputs) + len(instructions)
            instructions.append(Instruction(node.primitive.name, numbers))
        stored = [
            node.outputs[0]
            for node in unit
            if not _is_sum(node)
            and (
                node.outputs[0] in fetched
                or any(reader not in inside for reader in readers.get(node.outputs[0], ()))
            )
        ]
        self.operands = [value for value, _ in inputs]
        self.results = [*stored, *(node.outputs[0] for node, _ in sums)]
        self.loop = Loop(
            shape=shape,
            dtype=_arithmetic(unit[0]),
            inputs=tuple(value.spec for value, _ in inputs),
            axes=tuple(axes for _, axes in inputs),
            instructions=tuple(instructions),
            stores=tuple(number[value] for value in stored),
            sums=tuple(value for _, value in sums),
        )

    @property
    def attributes(self) -> dict[str, object]:
        """Those of the fused operation."""
        return {"loop": self.loop, "outputs": tuple(value.spec for value in self.results)}

    def computable_on(self, target: Target) -> bool:
        """Whether the device has a kernel for the group as one."""
        specs = [each.spec for each in self.operands]
        return target.kernel_for("fused_loop", specs, self.attributes) is not None


def _walked_shape(node: Node) -> tuple[int, ...]:
    """The iteration shape of an operation that is in a group."""
    return node.operands[0].spec.shape if _is_sum(node) else node.outputs[0].spec.shape


def _emit_group(
    graph: Graph,
    unit: list[Node],
    moved: dict[Value, Value],
    readers: dict[Value, list[Node]],
    fetched: set[Value],
) -> None:
    group = _GroupLoop(unit, readers, fetched)
    made = graph.emit(
        PRIMITIVES["fused_loop"],
        [moved[value] for value in group.operands],
        group.attributes,
        origin=unit[0].origin.touched_by("fuse_elementwise"),
    )
    moved.update(zip(group.results, made.outputs, strict=True))
