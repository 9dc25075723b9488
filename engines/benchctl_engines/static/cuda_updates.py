"""The updates of a step on a GPU, gathered at its end: alike ones are one launch, in place.

A gathered update reads gradients and its own state only, so nothing in the step waits for it. A
loop whose results are all assigned, as Adam's are, writes them into the variables themselves.
Large gradients do not wait for the end: their memory is worth more than a launch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..gpu.driver import Driver
from ..kernels.cuda_elementwise import body_of
from ..kernels.cuda_many import prepare_many
from ..kernels.cuda_state import scaled_body
from ..kernels.loop_source import Instruction, Loop
from ..kernels.table import Prepared
from .graph import Node, Value
from .sources import variable_source
from .step_graph import StepGraph, consumers

LARGE_BYTES = 16 * 2**20
"""A gradient of this size takes longer to read than a launch; its update stays where it is."""


@dataclass(frozen=True)
class UpdateGroup:
    """Updates that one launch does: tensors of any sizes, one computation.

    `arrays` are those of each node, results first; `shared` the scalars that all have in common.
    """

    nodes: tuple[Node, ...]
    kernel: str
    arrays: tuple[tuple[Value, ...], ...]
    shared: tuple[Value, ...] = ()

    def prepare(self, driver: Driver) -> Prepared:
        """The launch; `run` takes the arrays of all nodes, then the shared scalars."""
        first = self.nodes[0]
        sizes = [node.outputs[0].spec.size for node in self.nodes]
        numbers: tuple[int | float, ...] = ()
        if first.primitive.name == "assign_sub_scaled":
            body, scale = scaled_body(first.outputs[0].spec.dtype, float(_scale_of(first)))
            numbers = (scale,)
        else:
            loop = _ordered_loop(first.attributes["loop"])
            body = body_of(loop.inputs, loop.instructions, loop.stores, (), loop.dtype, True)
        launch = prepare_many(driver, body, len(self.shared), sizes)
        count, each = len(self.nodes), len(self.arrays[0])

        def run(*arrays: Any) -> None:
            pointers = [array.pointer for array in arrays]
            tensors = [pointers[i * each : (i + 1) * each] for i in range(count)]
            launch(tensors, pointers[count * each :], numbers)

        return Prepared(run)


@dataclass(frozen=True)
class GatheredUpdates:
    """A step whose gathered updates come last, group by group.

    `written` gives, for a result that is assigned, the variable whose memory it is written to;
    `absorbed` are the assignments that are done thereby.
    """

    step: StepGraph
    groups: tuple[UpdateGroup, ...] = ()
    written: Mapping[Value, Value] = field(default_factory=dict)
    absorbed: frozenset[Node] = frozenset()

    @property
    def group_of(self) -> dict[Node, UpdateGroup]:
        """The group of each gathered node."""
        return {node: group for group in self.groups for node in group.nodes}


def gather_updates(step: StepGraph) -> GatheredUpdates:
    """The step with its updates gathered; the order of all else stays."""
    readers, fetched = consumers(step), set(step.fetches)
    changed = {node.operands[0] for node in step.nodes if node.primitive.effect == "update"}
    written: dict[Value, Value] = {}
    absorbed: set[Node] = set()
    members: dict[tuple[Any, ...], list[Node]] = {}
    for node in step.nodes:
        if node.primitive.name == "assign_sub_scaled":
            if _can_wait(node, readers, changed):
                key = ("scaled", node.outputs[0].spec.dtype, _scale_of(node))
                members.setdefault(key, []).append(node)
        elif node.primitive.name == "fused_loop":
            targets = _targets(node, readers, fetched, changed)
            if targets is not None:
                members.setdefault(_loop_key(node), []).append(node)
                for value, assignment in targets.items():
                    written[value] = assignment.operands[0]
                    absorbed.add(assignment)
    if not members:
        return GatheredUpdates(step)
    groups = tuple(_group(nodes) for nodes in members.values())
    gathered = {node for group in groups for node in group.nodes}
    nodes = [node for node in step.nodes if node not in gathered and node not in absorbed]
    for group in groups:
        nodes += group.nodes
    nodes += [node for node in step.nodes if node in absorbed]
    return GatheredUpdates(
        StepGraph(tuple(nodes), step.fetches), groups, written, frozenset(absorbed)
    )


def _can_wait(node: Node, readers: Mapping[Value, list[Node]], changed: set[Value]) -> bool:
    """Whether a plain update is small, read by nobody, and reads no other state that changes."""
    state, gradient = node.operands
    spec = state.spec
    return (
        state.node.primitive is variable_source
        and not readers.get(node.outputs[0])
        and gradient not in changed
        and gradient.spec is spec
        and spec.floating
        and 0 < spec.nbytes < LARGE_BYTES
    )


def _targets(
    node: Node,
    readers: Mapping[Value, list[Node]],
    fetched: set[Value],
    changed: set[Value],
) -> dict[Value, Node] | None:
    """The assignment of each result of a loop; None where some result is for others too."""
    loop: Loop = node.attributes["loop"]
    full = tuple(range(len(loop.shape)))
    if loop.sums or any(axes not in ((), full) for axes in loop.axes):
        return None
    found: dict[Value, Node] = {}
    for value in node.outputs:
        own = readers.get(value, ())
        if value in fetched or len(own) != 1 or own[0].primitive.name != "assign":
            return None
        state, assigned = own[0].operands
        plain = state.node.primitive is variable_source and assigned is value
        if not plain or readers.get(own[0].outputs[0]) or state.spec is not value.spec:
            return None
        found[value] = own[0]
    states = {assignment.operands[0] for assignment in found.values()}
    others = (each for each in node.operands if each not in states)
    # What another update changes has to be read before that, and the end may be too late. A state
    # that is repeated over the loop would be read by one block after another has written it.
    walked = all(
        axes == full for each, axes in zip(node.operands, loop.axes, strict=True) if each in states
    )
    return found if walked and not any(each in changed for each in others) else None


def _scale_of(node: Node) -> float:
    scale: float = node.attributes["scale"]
    return scale


def _is_shared(loop: Loop, place: int) -> bool:
    return len(loop.shape) > 0 and loop.axes[place] == ()


def _loop_key(node: Node) -> tuple[Any, ...]:
    """Equal for loops of one computation: their instructions, dtypes and shared scalars."""
    loop: Loop = node.attributes["loop"]
    places = tuple(
        (each.spec.dtype, each if _is_shared(loop, place) else None)
        for place, each in enumerate(node.operands)
    )
    return ("loop", loop.dtype, loop.instructions, loop.stores, places)


def _group(nodes: list[Node]) -> UpdateGroup:
    first = nodes[0]
    name = f"{first.primitive.name}:multi_tensor"
    if first.primitive.name == "assign_sub_scaled":
        arrays = tuple((*node.outputs, *node.operands) for node in nodes)
        return UpdateGroup(tuple(nodes), name, arrays)
    loop: Loop = first.attributes["loop"]
    own = [place for place in range(len(loop.axes)) if not _is_shared(loop, place)]
    shared = [place for place in range(len(loop.axes)) if _is_shared(loop, place)]
    return UpdateGroup(
        tuple(nodes),
        name,
        tuple((*node.outputs, *(node.operands[place] for place in own)) for node in nodes),
        tuple(first.operands[place] for place in shared),
    )


def _ordered_loop(loop: Loop) -> Loop:
    """The loop with its shared scalars behind its other inputs, as `prepare_many` wants them."""
    count = len(loop.inputs)
    order = sorted(range(count), key=lambda place: _is_shared(loop, place))
    number = {old: new for new, old in enumerate(order)}

    def renumbered(value: int) -> int:
        return number.get(value, value)

    return Loop(
        loop.shape,
        loop.dtype,
        tuple(loop.inputs[place] for place in order),
        tuple(loop.axes[place] for place in order),
        tuple(
            Instruction(each.primitive, tuple(map(renumbered, each.arguments)))
            for each in loop.instructions
        ),
        tuple(map(renumbered, loop.stores)),
    )
