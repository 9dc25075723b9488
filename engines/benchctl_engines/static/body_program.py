"""Compiled bodies: the branches and loops of a step.

A body is a step of its own: the passes run over it, it has memory of its own for what lies between,
and its function writes results into the arrays that it is given. `control_launches.py` has the
launches that call bodies, `cuda_bodies.py` what is different on a GPU.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..contract import Array
from ..devices.cpu import aligned_bytes
from ..kernels.table import Prepared
from ..primitives import control_flow as rules
from ..primitives.specs import TensorSpec
from .bodies import Body
from .control_launches import HOST_ACCESS, control_launch, spare_specs
from .graph import Graph, Node, Value, emit_constant
from .launch import Target, check_nan
from .passes.pipeline import optimise
from .passes.plan_memory import MemoryPlan, aligned
from .program import Launch, State, StepBuilder, generated_step, launch_name
from .sources import constant_source
from .step_graph import PassReport, StepGraph, pruned, rewrite
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


@dataclass(frozen=True, slots=True)
class BodyPart:
    """A body of a node that is to be compiled; `constants` are known for some of its inputs."""

    label: str
    body: Body
    constants: Mapping[Value, Array]


def body_parts(node: Node, switches: PassSwitches) -> Iterator[BodyPart]:
    """The bodies of a branch or loop, in the order in which its launch takes them."""
    attributes = node.attributes
    labels: tuple[str, ...]
    if node.primitive is rules.cond:
        labels, first_captured, first_operand = ("then", "otherwise"), 0, 1
    elif node.primitive is rules.scan:
        labels, first_captured, first_operand = ("body",), attributes["carries"], 0
        first_captured += attributes["rows"]
    else:
        labels, first_captured, first_operand = ("condition", "body"), attributes["carries"], 0
    for label in labels:
        body: Body = attributes[label]
        constants: dict[Value, Array] = {}
        if switches.fold_constants:
            for place, inside in enumerate(body.inputs[first_captured:], first_captured):
                source = node.operands[first_operand + place].node
                if source.primitive is constant_source:
                    constants[inside] = source.payload
        yield BodyPart(label, body, constants)


def optimised_body(
    part: BodyPart, target: Target, switches: PassSwitches
) -> tuple[StepGraph, list[PassReport]]:
    """The step of a body after the passes, with their reports."""
    step = pruned(part.body.graph.nodes, part.body.results)
    if part.constants:

        def known(
            graph: Graph, node: Node, operands: tuple[Value, ...]
        ) -> tuple[Value, ...] | None:
            array = part.constants.get(node.outputs[0]) if node.is_source else None
            if array is None:
                return None
            dtype = node.outputs[0].spec.dtype
            return (emit_constant(graph, array, node.origin, dtype=dtype),)

        step = rewrite(step, known)
    return optimise(step, switches, target)


def prepare_control(
    node: Node, target: Target, state: State, switches: PassSwitches
) -> tuple[str, Prepared, tuple[BodyProgram, ...]]:
    """The kernel of a branch or loop on the CPU, and the bodies that it calls."""
    bodies = []
    for part in body_parts(node, switches):
        step, reports = optimised_body(part, target, switches)
        wanted = [True] * len(step.fetches)
        builder = _BodyBuilder(step, wanted, part.body.inputs, state, switches, target)
        bodies.append(builder.build_body(part.label, reports))
    spare = _arrays(spare_specs(node))
    run = control_launch(node, [each.run for each in bodies], spare, HOST_ACCESS)
    return kernel_of(node), Prepared(run, bound_bytes=folded_bytes(bodies)), tuple(bodies)


def kernel_of(node: Node) -> str:
    """What the launch of a branch or loop is called."""
    return f"{node.primitive.name}:host"


def folded_bytes(bodies: Sequence[BodyProgram]) -> int:
    """Memory of what the kernels of bodies worked out from constant operands."""
    return sum(each.folded_bytes for each in bodies)


class BodyWriter(ABC):
    """Writes the function of a body, beside what names and prepares the parts of a step."""

    step: StepGraph
    feeds: tuple[Value, ...]
    names: dict[Any, str]
    bound: dict[str, Any]
    switches: PassSwitches
    plan: MemoryPlan
    entering: Sequence[tuple[str, str]] = ()
    """What is copied, (target, source), before the first launch."""

    def write_body(
        self, label: str, launches: tuple[Launch, ...], reports: Sequence[PassReport]
    ) -> BodyProgram:
        """The compiled body, once everything has its name."""
        self.bound["copyto"] = self._copy()
        lines, places = self._body_source(launches)
        source = "\n".join(lines) + "\n"
        self._rehearse(launches)
        if self.switches.bind_early:
            run = generated_step(source, launches, places, self.bound)
        else:
            run = self._interpreted_body(launches)
        return BodyProgram(label, launches, self.plan, source, run, self.bound, tuple(reports))

    def name_results(self) -> None:
        """Results that a launch writes lie where the caller wants them; others are copied there."""
        self.copied: list[tuple[str, str]] = []
        written: set[Value] = set()
        for index, value in enumerate(self.step.fetches):
            if value.node.is_source or value in written:
                self.copied.append((f"o{index}", self.names[value]))
            else:
                written.add(value)
                self._name_result(value, index)

    def _name_result(self, value: Value, index: int) -> None:
        self.names[value] = f"o{index}"

    def _parameters(self) -> list[str]:
        results = [f"o{index}" for index in range(len(self.step.fetches))]
        return [*results, *(f"x{index}" for index in range(len(self.feeds)))]

    def _body_source(self, launches: Sequence[Launch]) -> tuple[list[str], dict[int, int]]:
        """Source lines, and which launch stands on which line (from 1)."""
        lines = [f"def step({', '.join(self._parameters())}):", "    try:"]
        body = [f"copyto({target}, {source})" for target, source in self.entering]
        places: dict[int, int] = {}
        poisoned = self._poison_lines() if self.switches.poison else {}
        for index, launch in enumerate(launches):
            self.bound[launch_name(index)] = self._function(launch)
            places[len(lines) + len(body) + 1] = index
            call = f"{launch_name(index)}({', '.join(launch.arrays)})"
            body.append(f"{call}  # {launch.kernel}  {launch.node.origin}")
            if self.switches.check_nan and not launch.bodies:
                self.bound["check_nan"] = self._check_nan
                self.bound[f"n{index}"] = launch.node
                outputs = launch.arrays[: len(launch.node.outputs)]
                body.append(f"check_nan(n{index}, {', '.join(outputs)})")
            body += poisoned.get(launch.node, [])
        body += [f"copyto({result}, {name})" for result, name in self.copied]
        lines += [f"        {line}" for line in body or ["pass"]]
        lines += ["    except Exception as error:", "        annotate(error)", "        raise"]
        return lines, places

    def _interpreted_body(self, launches: Sequence[Launch]) -> Callable[..., None]:
        """The same with every operand looked up at every launch."""
        bound, names, copy = self.bound, self._parameters(), self._copy()
        run_all = self._launch_by_launch(launches)

        def run(*arrays: Any) -> None:
            environment = {**bound, **dict(zip(names, arrays, strict=True))}
            for target, source in self.entering:
                copy(environment[target], environment[source])
            run_all(environment)
            for target, source in self.copied:
                copy(environment[target], environment[source])

        return run

    def _copy(self) -> Callable[[Any, Any], None]:
        """What copies between two arrays of one spec."""
        return np.copyto

    def _function(self, launch: Launch) -> Callable[..., Any]:
        """What the generated function calls for a launch."""
        return launch.prepared.run

    def _check_nan(self, node: Node, *outputs: Any) -> None:
        check_nan(node, *outputs)

    @abstractmethod
    def _rehearse(self, launches: Sequence[Launch]) -> None:
        """Compile what would be compiled in the first run."""

    @abstractmethod
    def _poison_lines(self) -> dict[Node, list[str]]:
        """Lines that spoil memory after its last reading."""

    @abstractmethod
    def _launch_by_launch(self, launches: Sequence[Launch]) -> Callable[[dict[str, Any]], None]:
        """Runs every launch in an environment of arrays by name."""


class _BodyBuilder(StepBuilder, BodyWriter):
    """Writes a body of the CPU: no feeds to check, and no results to allocate."""

    def build_body(self, label: str, reports: Sequence[PassReport]) -> BodyProgram:
        self._name_sources()
        self._name_buffers()
        self.name_results()
        return self.write_body(label, self._launches(), reports)

    def _function(self, launch: Launch) -> Callable[..., Any]:
        # All arrays are the engine's own: the raw form needs no check.
        raw = launch.prepared.raw
        return launch.prepared.run if raw is None else raw()


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
