"""A compiled step on a GPU: everything at a fixed address, so that it can be recorded as a whole.

One block of device memory holds the arena of intermediate results, the feeds and the fetched
results; variables, constants and the step counter outlive a program and belong to the session. The
step takes no arguments: feeds are copied to their places before, results from theirs afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..contract import Array
from ..devices.cuda.clock import kernel_text
from ..devices.cuda.memory import require_room
from ..devices.cuda.transfer import copy_in, copy_out
from ..gpu.array import DeviceArray
from ..gpu.driver import Driver
from ..primitives.specs import TensorSpec, spec
from .cuda_capture import CapturedStep
from .cuda_updates import GatheredUpdates, gather_updates
from .graph import Node, Value
from .launch import Target, check_nan, prepare_node
from .passes.plan_memory import aligned, plan_memory
from .program import (
    Launch,
    Program,
    annotate_failure,
    as_declared,
    executed,
    failure_note,
    launch_name,
    new_filename,
    workspace_key,
)
from .sources import constant_source, placeholder_source, step_source, variable_source
from .step_graph import PassReport, StepGraph, updated_variable
from .switches import PassSwitches

ALIGNMENT = 256
"""Of every array: what the driver gives, and what vector loads and libraries may count on."""


def uploaded(driver: Driver, array: Array, made: TensorSpec) -> DeviceArray:
    """A copy of a host array, held as the spec says, in memory of its own."""
    allocation = driver.allocate(max(made.nbytes, 1))
    result = DeviceArray(allocation.pointer, made, allocation)
    copy_in(driver, result, array)
    return result


class CudaState:
    """What outlives a run on a GPU: variables, constants and the step counter."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.variables: dict[Value, DeviceArray] = {}
        self._constants: dict[tuple[int, str], tuple[Array, DeviceArray]] = {}
        self._counter: DeviceArray | None = None

    @property
    def counter(self) -> DeviceArray:
        """How many runs were done, as an int64."""
        if self._counter is None:
            self._counter = uploaded(self.driver, np.zeros((), np.int64), spec((), "int64"))
        return self._counter

    def array_of(self, variable: Any) -> DeviceArray:
        """The session's array of a variable, copied from its initial value on first use."""
        array = self.variables.get(variable)
        if array is None:
            array = uploaded(self.driver, variable.initial, variable.spec)
            self.variables[variable] = array
        return array

    def value_of(self, variable: Any) -> Array:
        """The variable as a new array of the host."""
        return copy_out(self.driver, self.array_of(variable))

    def constant(self, value: Value) -> DeviceArray:
        """A constant on the device, once for all programs of the session."""
        payload: Array = value.node.payload
        key = _kept_under(value.node)
        kept = self._constants.get(key)
        if kept is None:
            kept = payload, uploaded(self.driver, payload, value.spec)
            self._constants[key] = kept
        return kept[1]

    @property
    def constant_bytes(self) -> int:
        """Memory of all constants."""
        return sum(array.nbytes for _, array in self._constants.values())

    @property
    def variable_bytes(self) -> int:
        """Memory of all variables in use."""
        return sum(array.nbytes for array in self.variables.values())

    def missing_bytes(self, step: StepGraph) -> dict[str, int]:
        """What the variables and constants of a step will take that are not there yet."""
        sources = [node for node in step.nodes if node.is_source]
        return {
            "variables": sum(
                node.outputs[0].spec.nbytes
                for node in sources
                if node.primitive is variable_source and node.payload not in self.variables
            ),
            "constants": sum(
                node.outputs[0].spec.nbytes
                for node in sources
                if node.primitive is constant_source and _kept_under(node) not in self._constants
            ),
        }

    def clear(self) -> None:
        """Let go of everything: variables begin anew."""
        self.variables.clear()
        self._constants.clear()
        self._counter = None


def _kept_under(constant: Node) -> tuple[int, str]:
    """What a constant is kept under: one array may stand for numbers of two dtypes."""
    return id(constant.payload), constant.outputs[0].spec.dtype


@dataclass
class CudaProgram(Program):
    """A program whose arrays lie on the device.

    `captured` issues the step. `inputs` are the places of the feeds, `results` those of what is
    returned, in order; `memory_bytes` is the program's own block.
    """

    captured: CapturedStep = None  # type: ignore[assignment]
    driver: Driver = None  # type: ignore[assignment]
    inputs: tuple[DeviceArray, ...] = ()
    results: tuple[DeviceArray, ...] = ()
    memory_bytes: int = 0
    gathering: PassReport = field(default_factory=lambda: PassReport("gather_updates", False))

    @property
    def stateless(self) -> bool:
        """Whether a run more or less makes no difference to the next."""
        return all(
            node.primitive.effect != "update" and node.primitive is not step_source
            for node in self.step.nodes
        )

    def load(self, arrays: Sequence[Array]) -> None:
        """Copy feeds, as declared, to their places."""
        for place, array in zip(self.inputs, arrays, strict=True):
            copy_in(self.driver, place, array)

    def issue(self) -> None:
        """Issue one step on the feeds that were loaded last."""
        self.captured.run()

    def fetched(self) -> list[Array]:
        """What the last step returned, as new arrays of the host."""
        return [copy_out(self.driver, each) for each in self.results]

    def stages(self) -> tuple[PassReport, ...]:
        """Which updates share launches, and whether the step is replayed."""
        count, graph, reason = len(self.launches), self.captured.graph, self.captured.reason
        if graph is not None:
            counts = {"recorded": graph.nodes}
            return self.gathering, PassReport("capture", True, count, 1, counts=counts)
        why = (reason,) if reason else ("not yet run often enough",)
        return self.gathering, PassReport("capture", not reason, count, count, details=why)

    def release(self) -> None:
        """Break the cycles between functions and what they are bound to."""
        self.captured.release()
        self.call = _released
        super().release()


def compile_cuda_program(
    step: StepGraph,
    returned: Sequence[bool],
    feeds: Sequence[Value],
    state: CudaState,
    switches: PassSwitches,
    target: Target,
    recheck: Callable[..., list[Array]],
) -> CudaProgram:
    """Compile an optimised step; `recheck` is called with feeds that are not as declared."""
    wanted = [value for value, each in zip(step.fetches, returned, strict=True) if each]
    return _Builder(step, wanted, feeds, state, switches, target).build(recheck)


class _Builder:
    """Places arrays, prepares launches and writes the source."""

    def __init__(
        self,
        step: StepGraph,
        returned: Sequence[Value],
        feeds: Sequence[Value],
        state: CudaState,
        switches: PassSwitches,
        target: Target,
    ) -> None:
        assert target.driver is not None
        # Under check_nan each update stands for itself.
        self.gathers = switches.gather_updates and not switches.check_nan
        self.updates = gather_updates(step) if self.gathers else GatheredUpdates(step)
        self.step = step = self.updates.step
        self.returned = returned
        self.feeds = tuple(feeds)
        self.state = state
        self.switches = switches
        self.driver = target.driver
        self.names: dict[Any, str] = {}
        self.bound: dict[str, Any] = {}
        bound = state.constant if switches.fold_constants else None
        grouped = {*self.updates.group_of, *self.updates.absorbed}
        self.prepared = {
            node: prepare_node(node, target, bound)
            for node in step.operations
            if node not in grouped
        }
        held = {value for value in step.fetches if value.node.primitive.effect != "update"}
        held.update(self.updates.written)
        scratch = {node: each.workspace_bytes for node, (_, each) in self.prepared.items()}
        self.plan = plan_memory(step, scratch, frozenset(held), switches.plan_memory, ALIGNMENT)
        self.copies: dict[str, list[str]] = {"before": [], "after": []}

    def build(self, recheck: Callable[..., list[Array]]) -> CudaProgram:
        inputs, results = self._place_arrays()
        self._name_sources(inputs)
        self._write_copies(results)
        launches = self._launches()
        filename = new_filename()
        lines, places = self._source(launches)
        source = "\n".join(lines) + "\n"
        nodes = {place: launches[index].node for place, index in places.items()}

        def annotate(error: Exception) -> None:
            annotate_failure(error, filename, nodes)

        self.bound["annotate"] = annotate
        if self.switches.bind_early:
            launch = executed(source, filename, self.bound)
        else:
            launch = self._interpreted(launches)
        program = CudaProgram(
            self.step,
            self.feeds,
            launches,
            self.plan,
            source,
            _released,
            self.bound,
            captured=CapturedStep(launch, self.driver, self._not_captured_because()),
            driver=self.driver,
            inputs=inputs,
            results=results,
            memory_bytes=self.memory.nbytes,
            gathering=self._gathering(len(launches)),
        )
        program.call = _called_from_host(program, recheck)
        return program

    def _gathering(self, launches: int) -> PassReport:
        groups = self.updates.groups
        counts = {"launches": len(groups), "tensors": sum(len(each.nodes) for each in groups)}
        return PassReport(
            "gather_updates", self.gathers, len(self.step.operations), launches, counts=counts
        )

    def _not_captured_because(self) -> str:
        if not self.switches.capture:
            return "switched off"
        if self.switches.check_nan:
            return "check_nan looks at every result on the host"
        return ""

    # ----- memory and names -----------------------------------------------------------------------

    def _place_arrays(self) -> tuple[tuple[DeviceArray, ...], tuple[DeviceArray, ...]]:
        """One block for the arena, the feeds and the results; the places of the last two."""
        specs = [*(each.spec for each in self.feeds), *(each.spec for each in self.returned)]
        offsets, end = [], self.plan.arena_bytes
        for each in specs:
            offsets.append(end)
            end += aligned(each.nbytes, ALIGNMENT)
        arena_bytes = self.plan.arena_bytes
        needs = {"intermediate results": arena_bytes, "inputs and results": end - arena_bytes}
        require_room(self.driver, {**needs, **self.state.missing_bytes(self.step)})
        self.memory = self.driver.allocate(max(end, ALIGNMENT))
        if self.switches.poison:
            # All bits set is a NaN in every float dtype.
            self.driver.fill(self.memory.pointer, self.memory.nbytes, 255)
        placed = [self._array(at, each) for at, each in zip(offsets, specs, strict=True)]
        for value, index in self.plan.values.items():
            array = self._array(self.plan.buffers[index].offset, value.spec)
            self._bind(value, f"b{len(self.bound)}", array)
        for node, index in self.plan.workspaces.items():
            buffer = self.plan.buffers[index]
            array = self._array(buffer.offset, spec((buffer.nbytes,), "uint8"))
            self._bind(workspace_key(node), f"w{len(self.bound)}", array)
        count = len(self.feeds)
        return tuple(placed[:count]), tuple(placed[count:])

    def _array(self, offset: int, made: TensorSpec) -> DeviceArray:
        return DeviceArray(self.memory.pointer + offset, made, self.memory)

    def _bind(self, value: Any, name: str, array: DeviceArray) -> None:
        self.names[value] = name
        self.bound[name] = array

    def _name_sources(self, inputs: Sequence[DeviceArray]) -> None:
        place_of = {each: index for index, each in enumerate(self.feeds)}
        for index, node in enumerate(each for each in self.step.nodes if each.is_source):
            value = node.outputs[0]
            if node.primitive is placeholder_source:
                place = place_of[node.payload]
                self._bind(value, f"x{place}", inputs[place])
            elif node.primitive is constant_source:
                self._bind(value, f"c{index}", self.state.constant(value))
            elif node.primitive is variable_source:
                self._bind(value, f"v{index}", self.state.array_of(node.payload))
            elif node.primitive is step_source:
                self._bind(value, "step_number", self.state.counter)
        for node in self.step.operations:
            if node.primitive.effect == "update":
                # An update's result is the variable's own array.
                self.names[node.outputs[0]] = self.names[node.operands[0]]
        for value, state in self.updates.written.items():
            self.names[value] = self.names[state]

    def _write_copies(self, results: Sequence[DeviceArray]) -> None:
        """Where fetched values are written: by their launch, or copied before or after the step.

        Sources are fetched as they were before the step, updates as they are after it; a value
        fetched twice is copied.
        """
        written: set[Value] = set()
        for index, (value, place) in enumerate(zip(self.returned, results, strict=True)):
            computed = not value.node.is_source and value.node.primitive.effect != "update"
            self.bound[f"f{index}"] = place
            if computed and value not in written:
                written.add(value)
                self.names[value] = f"f{index}"
            elif value.spec.nbytes:
                when = "after" if computed or updated_variable(value.node) else "before"
                self.copies[when].append(f"copy(f{index}, {self.names[value]})")
        for value in self.step.fetches:
            if value not in self.names:
                # Fetched by a group of operations that returns nothing.
                self._bind(value, f"u{len(self.bound)}", self._own(value.spec))
        driver = self.driver

        def copy(target: DeviceArray, source: DeviceArray) -> None:
            driver.copy_on_device(target.pointer, source.pointer, source.nbytes)

        self.bound["copy"] = copy

    def _own(self, made: TensorSpec) -> DeviceArray:
        allocation = self.driver.allocate(max(made.nbytes, 1))
        return DeviceArray(allocation.pointer, made, allocation)

    def _launches(self) -> tuple[Launch, ...]:
        launches, group_of, done = [], self.updates.group_of, set[Node]()
        for node in self.step.operations:
            if node in done or node in self.updates.absorbed:
                continue
            group = group_of.get(node)
            if group is not None:
                values = [each for arrays in group.arrays for each in arrays]
                names = tuple(self.names[each] for each in (*values, *group.shared))
                prepared, others = group.prepare(self.driver), group.nodes[1:]
                launches.append(Launch(node, group.kernel, prepared, names, others))
                done.update(others)
                continue
            kernel, prepared = self.prepared[node]
            arrays = [self.names[each] for each in (*node.outputs, *node.operands)]
            if prepared.workspace_bytes:
                arrays.append(self.names[workspace_key(node)])
            launches.append(Launch(node, kernel, prepared, tuple(arrays)))
        return tuple(launches)

    # ----- the step -------------------------------------------------------------------------------

    def _source(self, launches: Sequence[Launch]) -> tuple[list[str], dict[int, int]]:
        """Source lines, and which launch stands on which line (from 1)."""
        lines = ["def step():", "    try:"]
        body = [*self.copies["before"]]
        places: dict[int, int] = {}
        poisoned = self._poison_lines() if self.switches.poison else {}
        for index, launch in enumerate(launches):
            self.bound[launch_name(index)] = launch.prepared.run
            places[len(lines) + len(body) + 1] = index
            call = f"{launch_name(index)}({', '.join(launch.arrays)})"
            body.append(f"{call}  # {launch.kernel}  {launch.node.origin}")
            if self.switches.check_nan:
                self.bound["check_nan"] = self._check_nan
                self.bound[f"n{index}"] = launch.node
                outputs = launch.arrays[: len(launch.node.outputs)]
                body.append(f"check_nan(n{index}, {', '.join(outputs)})")
            body += [line for node in launch.nodes for line in poisoned.get(node, [])]
        if "step_number" in self.bound:
            self.bound["count"] = self._counting()
            body.append("count()")
        body += self.copies["after"] or ([] if body else ["pass"])
        lines += [f"        {line}" for line in body]
        lines += ["    except Exception as error:", "        annotate(error)", "        raise"]
        return lines, places

    def _check_nan(self, node: Node, *outputs: DeviceArray) -> None:
        check_nan(node, *(copy_out(self.driver, each) for each in outputs))

    def _counting(self) -> Callable[[], None]:
        """The launch that counts the run."""
        module = self.driver.module(kernel_text("step.cu"))
        launch = module.function("benchctl_count_step", "P").launch
        counter = self.state.counter
        one, arguments = (1, 1, 1), (counter.pointer,)

        def count() -> None:
            launch(one, one, arguments)

        return count

    def _poison_lines(self) -> dict[Node, list[str]]:
        """Lines that fill each buffer with NaN bits after its last reading."""
        lines: dict[Node, list[str]] = {}
        fill = self.driver.fill
        for index, buffer in enumerate(self.plan.buffers):
            pointer, nbytes = self.memory.pointer + buffer.offset, buffer.nbytes
            if nbytes:
                self.bound[f"dead{index}"] = (pointer, nbytes, 255)
                node = self.step.nodes[buffer.death]
                lines.setdefault(node, []).append(f"fill(*dead{index})")
        self.bound["fill"] = fill
        return lines

    def _interpreted(self, launches: Sequence[Launch]) -> Callable[[], None]:
        """The same step with every operand looked up at every launch."""
        bound = self.bound
        copies = {
            when: [line[5:-1].split(", ") for line in lines] for when, lines in self.copies.items()
        }
        poisoned = self._poison_lines() if self.switches.poison else {}
        dead = {node: [bound[line[6:-1]] for line in lines] for node, lines in poisoned.items()}

        def step() -> None:
            for target, source in copies["before"]:
                bound["copy"](bound[target], bound[source])
            for index, launch in enumerate(launches):
                operands = [bound[name] for name in launch.arrays]
                try:
                    bound[launch_name(index)](*operands)
                except Exception as error:
                    error.add_note(failure_note(launch.node))
                    raise
                if self.switches.check_nan:
                    self._check_nan(launch.node, *operands[: len(launch.node.outputs)])
                for span in (each for node in launch.nodes for each in dead.get(node, ())):
                    self.driver.fill(*span)
            if "count" in bound:
                bound["count"]()
            for target, source in copies["after"]:
                bound["copy"](bound[target], bound[source])

        return step


def _released(*arrays: Array) -> list[Array]:
    raise RuntimeError("the program expected to be built and not yet released")


def _called_from_host(
    program: CudaProgram, recheck: Callable[..., list[Array]]
) -> Callable[..., list[Array]]:
    """A run from host arrays to host arrays, done when it returns."""
    feeds = [each.spec for each in program.feeds]

    def call(*arrays: Any) -> list[Array]:
        if len(arrays) != len(feeds) or not all(map(as_declared, arrays, feeds)):
            return recheck(*arrays)
        program.load(arrays)
        program.issue()
        if not program.results:
            program.driver.synchronize()
        return program.fetched()

    return call
