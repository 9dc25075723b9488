"""Which launches of a compiled step are forward, backward and update.

What the program's own results are made from is forward; updates, and what is made for them alone
element by element, are update; the rest is backward. A launch that does the work of two phases
counts as the earlier of them, but a gradient that is subtracted while it is computed as update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..devices.phase_clock import BACKWARD, FORWARD, UPDATE, Marks, PhaseClock
from .graph import Node, Value
from .program import Program, launch_name
from .step_graph import StepGraph, consumers


def phases_of(step: StepGraph, results: Sequence[Value]) -> dict[Node, str]:
    """The phase of each operation; `results` are the values of the program among the fetches."""
    forward: set[Node] = set()
    stack = [each.node for each in results if each.node.primitive.effect != "update"]
    while stack:
        node = stack.pop()
        if node not in forward:
            forward.add(node)
            stack.extend(each.node for each in node.operands)
    readers, fetched = consumers(step), set(step.fetches)
    found: dict[Node, str] = {}
    for node in reversed(step.operations):
        if node in forward:
            found[node] = FORWARD
        elif node.primitive.effect == "update" or (
            _elementwise(node)
            and not any(value in fetched for value in node.outputs)
            and all(
                found.get(reader) == UPDATE
                for value in node.outputs
                for reader in readers.get(value, ())
            )
        ):
            found[node] = UPDATE
        else:
            found[node] = BACKWARD
    return found


def _elementwise(node: Node) -> bool:
    return node.primitive.scalar is not None or node.primitive.name in ("fused_loop", "copy")


def launch_phases(program: Program, results: int) -> list[str]:
    """The phase of each launch; the first `results` fetches are values of the program."""
    phases = phases_of(program.step, program.step.fetches[:results])
    return [phases[launch.node] for launch in program.launches]


def time_phases(
    program: Program, phases: Sequence[str], step: Callable[[], None], steps: int, marks: Marks
) -> dict[str, tuple[float, ...]]:
    """Seconds of each phase of `step`, one figure a step; none where it is all one phase."""
    if len(set(phases)) < 2:
        return {}
    clock = PhaseClock(marks)
    plain = {launch_name(place): program.bound[launch_name(place)] for place in range(len(phases))}

    def entering(phase: str, launch: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arrays: Any) -> Any:
            clock.enter(phase)
            return launch(*arrays)

        return run

    try:
        for (name, launch), phase in zip(plain.items(), phases, strict=True):
            program.bound[name] = entering(phase, launch)
        for _ in range(steps):
            clock.run(step)
    finally:
        program.bound.update(plain)
    return clock.seconds()
