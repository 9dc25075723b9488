"""Compiled bodies: the branches and loops of a step, and the launches that call them.

A body is a step of its own: the passes run over it, its buffers lie in an arena of its own, and its
function writes results into the arrays that it is given. The launch of a branch or loop decides on
the host which body runs, and how often.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract import Array
from ..devices.cpu import aligned_bytes
from ..kernels.table import Prepared
from ..primitives import control_flow as rules
from ..primitives.specs import TensorSpec, spec
from .bodies import Body
from .graph import Graph, Node, Value, emit_constant
from .launch import Target, check_nan
from .passes.pipeline import optimise
from .passes.plan_memory import MemoryPlan, aligned
from .program import (
    Launch,
    State,
    StepBuilder,
    launch_name,
)
from .sources import constant_source
from .step_graph import PassReport, pruned, rewrite
from .switches import PassSwitches


@dataclass(frozen=True)
class BodyProgram:
    """A compiled body; `run(*results, *inputs)` writes into the arrays of the results."""

    label: str
    launches: tuple[Launch, ...]
    plan: MemoryPlan
    source: str
    run: Callable[..., None]
    bound: dict[str, Any]
    reports: tuple[PassReport, ...]

    @property
    def folded_bytes(self) -> int:
        """Memory of what kernels worked out from constant operands."""
        return sum(launch.prepared.bound_bytes for launch in self.launches)


def prepare_control(
    node: Node, target: Target, state: State, switches: PassSwitches
) -> tuple[str, Prepared, tuple[BodyProgram, ...]]:
    """The kernel of a branch or loop, made ready, and the bodies that it calls."""

    def compiled(label: str, first_captured: int, first_operand: int) -> BodyProgram:
        body: Body = node.attributes[label]
        constants: dict[Value, Array] = {}
        if switches.fold_constants:
            for place, inside in enumerate(body.inputs[first_captured:], first_captured):
                source = node.operands[first_operand + place].node
                if source.primitive is constant_source:
                    constants[inside] = source.payload
        return _compile_body(label, body, constants, target, state, switches)

    bodies: tuple[BodyProgram, ...]
    if node.primitive is rules.cond:
        then, otherwise = compiled("then", 0, 1), compiled("otherwise", 0, 1)
        bodies = (then, otherwise)
        run = _branching(node, then, otherwise)
    elif node.primitive is rules.scan:
        first = node.attributes["carries"] + node.attributes["rows"]
        body = compiled("body", first, 0)
        bodies, run = (body,), _over_rows(node, body)
    else:
        first = node.attributes["carries"]
        condition, body = compiled("condition", first, 0), compiled("body", first, 0)
        bodies, run = (condition, body), _while_it_holds(node, condition, body)
    folded = sum(each.folded_bytes for each in bodies)
    return f"{node.primitive.name}:host", Prepared(run, bound_bytes=folded), bodies


def _compile_body(
    label: str,
    body: Body,
    constants: Mapping[Value, Array],
    target: Target,
    state: State,
    switches: PassSwitches,
) -> BodyProgram:
    step = pruned(body.graph.nodes, body.results)
    if constants:

        def known(
            graph: Graph, node: Node, operands: tuple[Value, ...]
        ) -> tuple[Value, ...] | None:
            array = constants.get(node.outputs[0]) if node.is_source else None
            return None if array is None else (emit_constant(graph, array, node.origin),)

        step = rewrite(step, known)
    optimised, reports = optimise(step, switches, target)
    wanted = [True] * len(body.results)
    builder = _BodyBuilder(optimised, wanted, body.inputs, state, switches, target)
    return builder.build_body(label, reports)


class _BodyBuilder(StepBuilder):
    """Writes a body: no feeds to check, and no results to allocate."""

    def build_body(self, label: str, reports: Sequence[PassReport]) -> BodyProgram:
        self._name_sources()
        self._name_buffers()
        self._name_results()
        launches = self._launches()
        lines, places = self._body_source(launches)
        source = "\n".join(lines) + "\n"
        self._rehearse(launches)
        if self.switches.bind_early:
            run = self._generated(source, launches, places)
        else:
            run = self._interpreted_body(launches)
        return BodyProgram(label, launches, self.plan, source, run, self.bound, tuple(reports))

    def _name_results(self) -> None:
        """Results that a launch writes lie where the caller wants them; others are copied there."""
        self.copied: list[tuple[str, str]] = []
        written: set[Value] = set()
        for index, value in enumerate(self.step.fetches):
            if value.node.is_source or value in written:
                self.copied.append((f"o{index}", self.names[value]))
            else:
                written.add(value)
                self.names[value] = f"o{index}"

    def _parameters(self) -> list[str]:
        results = [f"o{index}" for index in range(len(self.step.fetches))]
        return [*results, *(f"x{index}" for index in range(len(self.feeds)))]

    def _body_source(self, launches: Sequence[Launch]) -> tuple[list[str], dict[int, int]]:
        """Source lines, and which launch stands on which line (from 1)."""
        lines = [f"def step({', '.join(self._parameters())}):", "    try:"]
        body: list[str] = []
        places: dict[int, int] = {}
        poisoned = self._poison_lines() if self.switches.poison else {}
        for index, launch in enumerate(launches):
            # All arrays are the engine's own: the raw form needs no check.
            raw = launch.prepared.raw
            self.bound[launch_name(index)] = launch.prepared.run if raw is None else raw()
            places[len(lines) + len(body) + 1] = index
            call = f"{launch_name(index)}({', '.join(launch.arrays)})"
            body.append(f"{call}  # {launch.kernel}  {launch.node.origin}")
            if self.switches.check_nan and not launch.bodies:
                self.bound["check_nan"] = check_nan
                self.bound[f"n{index}"] = launch.node
                outputs = launch.arrays[: len(launch.node.outputs)]
                body.append(f"check_nan(n{index}, {', '.join(outputs)})")
            body += poisoned.get(launch.node, [])
        self.bound["copyto"] = np.copyto
        body += [f"copyto({result}, {name})" for result, name in self.copied]
        lines += [f"        {line}" for line in body or ["pass"]]
        lines += ["    except Exception as error:", "        annotate(error)", "        raise"]
        return lines, places

    def _interpreted_body(self, launches: Sequence[Launch]) -> Callable[..., None]:
        """The same with every operand looked up at every launch."""
        bound, names, copied = self.bound, self._parameters(), self.copied
        run_all = self._launch_by_launch(launches)

        def run(*arrays: Array) -> None:
            environment = {**bound, **dict(zip(names, arrays, strict=True))}
            run_all(environment)
            for result, name in copied:
                np.copyto(environment[result], environment[name])

        return run


# ----- what a launch does -------------------------------------------------------------------------


def _branching(node: Node, then: BodyProgram, otherwise: BodyProgram) -> Callable[..., None]:
    """run(*results, predicate, *captured)."""
    made = len(node.outputs)
    first, second = node.attributes["then_places"], node.attributes["otherwise_places"]
    on_true, on_false = then.run, otherwise.run

    def run(*arrays: Array) -> None:
        inputs = arrays[made + 1 :]
        if arrays[made]:
            on_true(*[arrays[place] for place in first], *inputs)
        else:
            on_false(*[arrays[place] for place in second], *inputs)

    return run


def _over_rows(node: Node, body: BodyProgram) -> Callable[..., None]:
    """run(*last carries, *stacks made, *carries, *stacks read, *captured, count?)."""
    carries, rows = node.attributes["carries"], node.attributes["rows"]
    length, reverse = node.attributes["length"], node.attributes["reverse"]
    counted = node.attributes["counted"]
    made = len(node.outputs)
    first_row, first_captured = made + carries, made + carries + rows
    end = made + len(node.operands) - (1 if counted else 0)
    # Carries lie in turn here and where the last ones belong.
    spare = _arrays([each.spec for each in node.outputs[:carries]])
    call = body.run

    def run(*arrays: Array) -> None:
        last, stacks = arrays[:carries], arrays[carries:made]
        current = arrays[made:first_row]
        read, captured = arrays[first_row:first_captured], arrays[first_captured:end]
        left = int(arrays[-1]) if counted else length
        if not left:
            for target, source in zip(last, current, strict=True):
                np.copyto(target, source)
        for place in range(left - 1, -1, -1) if reverse else range(left):
            left -= 1
            following = spare if left % 2 else last
            call(
                *following,
                *[each[place, ...] for each in stacks],
                *current,
                *[each[place, ...] for each in read],
                *captured,
            )
            current = following

    return run


def _while_it_holds(node: Node, condition: BodyProgram, body: BodyProgram) -> Callable[..., None]:
    """run(*last carries, count?, *stacks made, *carries, *captured)."""
    carries, limit = node.attributes["carries"], node.attributes["limit"]
    counting = node.attributes["counting"]
    made = len(node.outputs)
    first_stack, first_captured = carries + (1 if counting else 0), made + carries
    spare = _arrays([each.spec for each in node.outputs[:carries]])
    (holds,) = _arrays([spec((), "bool")])
    decide, call = condition.run, body.run

    def run(*arrays: Array) -> None:
        last, stacks = arrays[:carries], arrays[first_stack:made]
        current, captured = arrays[made:first_captured], arrays[first_captured:]
        following, done = last, 0
        while done != limit:
            decide(holds, *current, *captured)
            if not holds:
                break
            call(*following, *[each[done, ...] for each in stacks], *current, *captured)
            current, following = following, spare if following is last else last
            done += 1
        if current is not last:
            for target, source in zip(last, current, strict=True):
                np.copyto(target, source)
        if counting:
            arrays[carries][...] = done

    return run


def _arrays(specs: Sequence[TensorSpec]) -> tuple[Array, ...]:
    """Uninitialised arrays of these specs, aligned as the arena's are."""
    offsets = [0]
    for each in specs:
        offsets.append(offsets[-1] + aligned(each.nbytes))
    block = aligned_bytes(offsets[-1])
    return tuple(
        block[offset : offset + each.nbytes].view(each.numpy_dtype).reshape(each.shape)
        for offset, each in zip(offsets, specs, strict=False)
    )
