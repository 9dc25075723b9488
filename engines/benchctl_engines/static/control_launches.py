"""What the launch of a branch or loop does: the host decides which body runs, and how often.

Written once for both devices: what differs is how a number is read, how arrays are copied, and what
a row of a stack is.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np

from ..primitives import control_flow as rules
from ..primitives.specs import TensorSpec, spec
from .graph import Node

Run = Callable[..., None]
RowKey = tuple[int, EllipsisType]


def _store_on_host(array: Any, number: int) -> None:
    array[...] = number


@dataclass(frozen=True, slots=True)
class ArrayAccess:
    """What a launch does with arrays of a device besides giving them to bodies.

    `truth` and `number` read a scalar, which waits for the device; `store` writes one. `row` is the
    place of a row of a stack, `copy(target, source)` works on arrays of one spec.
    """

    truth: Callable[[Any], bool]
    number: Callable[[Any], int]
    store: Callable[[Any, int], None]
    row: Callable[[Any, RowKey], Any]
    copy: Callable[[Any, Any], None]


HOST_ACCESS = ArrayAccess(
    truth=bool, number=int, store=_store_on_host, row=operator.getitem, copy=np.copyto
)


def spare_specs(node: Node) -> tuple[TensorSpec, ...]:
    """The arrays of its own that the launch of a branch or loop works in."""
    if node.primitive is rules.cond:
        return ()
    carries = tuple(each.spec for each in node.outputs[: node.attributes["carries"]])
    return carries if node.primitive is rules.scan else (*carries, spec((), "bool"))


def read_words(node: Node) -> str:
    """What the launch itself reads of its operands or conditions; empty where it reads nothing."""
    if node.primitive is not rules.scan:
        return f"the condition of {node.primitive.name} at {node.origin}"
    counted = node.attributes["counted"]
    return f"the number of iterations of scan at {node.origin}" if counted else ""


def control_launch(
    node: Node, bodies: Sequence[Run], spare: Sequence[Any], access: ArrayAccess
) -> Run:
    """run(*results, *operands) of a branch or loop; `spare` has the arrays of `spare_specs`."""
    if node.primitive is rules.cond:
        then, otherwise = bodies
        return branching(node, then, otherwise, access)
    if node.primitive is rules.scan:
        (body,) = bodies
        return over_rows(node, body, spare, access)
    condition, body = bodies
    return while_it_holds(node, condition, body, spare, access)


def branching(node: Node, then: Run, otherwise: Run, access: ArrayAccess) -> Run:
    """run(*results, predicate, *captured)."""
    made, truth = len(node.outputs), access.truth
    first, second = node.attributes["then_places"], node.attributes["otherwise_places"]

    def run(*arrays: Any) -> None:
        inputs = arrays[made + 1 :]
        if truth(arrays[made]):
            then(*[arrays[place] for place in first], *inputs)
        else:
            otherwise(*[arrays[place] for place in second], *inputs)

    return run


def over_rows(node: Node, body: Run, spare: Sequence[Any], access: ArrayAccess) -> Run:
    """run(*last carries, *stacks made, *carries, *stacks read, *captured, count?)."""
    carries, rows = node.attributes["carries"], node.attributes["rows"]
    length, reverse = node.attributes["length"], node.attributes["reverse"]
    counted = node.attributes["counted"]
    made = len(node.outputs)
    first_row, first_captured = made + carries, made + carries + rows
    end = made + len(node.operands) - (1 if counted else 0)
    row, copy = access.row, access.copy

    def run(*arrays: Any) -> None:
        last, stacks = arrays[:carries], arrays[carries:made]
        current: Sequence[Any] = arrays[made:first_row]
        read, captured = arrays[first_row:first_captured], arrays[first_captured:end]
        left = access.number(arrays[-1]) if counted else length
        if not left:
            for target, source in zip(last, current, strict=True):
                copy(target, source)
        for place in range(left - 1, -1, -1) if reverse else range(left):
            left -= 1
            # Carries lie in turn in the spare arrays and where the last ones belong.
            following = spare if left % 2 else last
            key = (place, ...)
            body(
                *following,
                *[row(each, key) for each in stacks],
                *current,
                *[row(each, key) for each in read],
                *captured,
            )
            current = following

    return run


def while_it_holds(
    node: Node, condition: Run, body: Run, spare: Sequence[Any], access: ArrayAccess
) -> Run:
    """run(*last carries, count?, *stacks made, *carries, *captured)."""
    carries, limit = node.attributes["carries"], node.attributes["limit"]
    counting = node.attributes["counting"]
    made = len(node.outputs)
    first_stack, first_captured = carries + (1 if counting else 0), made + carries
    *others, holds = spare
    truth, row, copy = access.truth, access.row, access.copy

    def run(*arrays: Any) -> None:
        last, stacks = arrays[:carries], arrays[first_stack:made]
        current: Sequence[Any] = arrays[made:first_captured]
        captured = arrays[first_captured:]
        following: Sequence[Any] = last
        done = 0
        while done != limit:
            condition(holds, *current, *captured)
            if not truth(holds):
                break
            key = (done, ...)
            body(*following, *[row(each, key) for each in stacks], *current, *captured)
            current, following = following, others if following is last else last
            done += 1
        if current is not last:
            for target, source in zip(last, current, strict=True):
                copy(target, source)
        if counting:
            access.store(arrays[carries], done)

    return run
