"""A compiled step on a GPU: everything at a fixed address, so that it can be recorded as a whole.

One block of device memory holds the arena of intermediate results, the feeds and the fetched
results; what outlives a program is the session's (`cuda_state.py`). The step takes no arguments:
feeds are copied to their places before, results from theirs afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..contract import Array
from ..devices.cuda.clock import kernel_text
from ..devices.cuda.memory import require_room
from ..devices.cuda.transfer import copy_in, copy_out
from ..gpu.array import DeviceArray
from ..gpu.driver import Allocation, Driver
from ..primitives.specs import TensorSpec, spec
from .cuda_capture import CapturedStep
from .cuda_state import CudaState
from .cuda_updates import GatheredUpdates, gather_updates
from .gradients import is_control
from .graph import Node, Value
from .launch import Target, check_nan, prepare_node
from .passes.plan_memory import MemoryPlan, aligned, plan_memory
from .program import (
    Launch,
    Program,
    as_declared,
    generated_step,
    launch_by_launch,
    launch_name,
    workspace_key,
)
from .sources import constant_source, placeholder_source, step_source, variable_source
from .step_graph import PassReport, StepGraph, updated_variable
from .switches import PassSwitches

if TYPE_CHECKING:
    from .cuda_bodies import ControlPlan

ALIGNMENT = 256
"""Of every array: what the driver gives, and what vector loads and libraries may count on."""


@dataclass
class CudaProgram(Program):
    """A program whose arrays lie on the device.

    `captured` issues the step. `inputs` are the places of the feeds, `results` those of what is
    returned, in order; `memory_bytes` is the program's own block. `waits` says why a step waits for
    the device before all of it is issued, where it does.
    """

    captured: CapturedStep = None  # type: ignore[assignment]
    driver: Driver = None  # type: ignore[assignment]
    inputs: tuple[DeviceArray, ...] = ()
    results: tuple[DeviceArray, ...] = ()
    memory_bytes: int = 0
    waits: str = ""
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
    return CudaBuilder(step, wanted, feeds, state, switches, target).build(recheck)


class CudaBuilder:
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
        self.controls = _planned_controls(step, target, state, switches)
        others = {*self.updates.group_of, *self.updates.absorbed, *self.controls}
        self.prepared = {
            node: prepare_node(node, target, bound)
            for node in step.operations
            if node not in others
        }
        held = {value for value in step.fetches if value.node.primitive.effect != "update"}
        held.update(self.updates.written)
        scratch = {node: each.workspace_bytes for node, (_, each) in self.prepared.items()}
        scratch |= {node: each.workspace_bytes for node, each in self.controls.items()}
        self.plan: MemoryPlan = plan_memory(
            step, scratch, frozenset(held), switches.plan_memory, ALIGNMENT
        )
        self.copies: dict[str, list[str]] = {"before": [], "after": []}

    def build(self, recheck: Callable[..., list[Array]]) -> CudaProgram:
        inputs, results = self._place_arrays()
        self._name_sources(inputs)
        self._write_copies(results)
        launches = self._launches()
        lines, places = self._source(launches)
        source = "\n".join(lines) + "\n"
        if self.switches.bind_early:
            launch = generated_step(source, launches, places, self.bound)
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
            waits=self._waits_because(),
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
        return self._waits_because()

    def _waits_because(self) -> str:
        """What the host reads while the step runs, the first thing named; empty if nothing."""
        if self.switches.check_nan:
            return "check_nan looks at every result on the host"
        found = self.host_reads()
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return f"the host reads {found[0]}{more}" if found else ""

    def host_reads(self) -> list[str]:
        """What the launches of branches and loops read, bodies included."""
        return [read for each in self.controls.values() for read in each.host_reads()]

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
        self.memory: Allocation = self.driver.allocate(max(end, ALIGNMENT))
        if self.switches.poison:
            # All bits set is a NaN in every float dtype.
            self.driver.fill(self.memory.pointer, self.memory.nbytes, 255)
        placed = [self._array(at, each) for at, each in zip(offsets, specs, strict=True)]
        self._bind_plan()
        count = len(self.feeds)
        return tuple(placed[:count]), tuple(placed[count:])

    def _bind_plan(self) -> None:
        """Intermediate results and workspaces, which lie at the beginning of the memory."""
        for value, index in self.plan.values.items():
            array = self._array(self.plan.buffers[index].offset, value.spec)
            self._bind(value, f"b{len(self.bound)}", array)
        for node, index in self.plan.workspaces.items():
            buffer = self.plan.buffers[index]
            array = self._array(buffer.offset, spec((buffer.nbytes,), "uint8"))
            self._bind(workspace_key(node), f"w{len(self.bound)}", array)

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
                self._name_feed(value, place_of[node.payload], inputs)
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

    def _name_feed(self, value: Value, place: int, inputs: Sequence[DeviceArray]) -> None:
        self._bind(value, f"x{place}", inputs[place])

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
        self.bound["copy"] = self._copy()

    def _copy(self) -> Callable[[DeviceArray, DeviceArray], None]:
        """What copies between two arrays of one spec."""
        return copies_on(self.driver)

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
            control = self.controls.get(node)
            if control is not None:
                names = tuple(self.names[each] for each in (*node.outputs, *node.operands))
                prepared, bodies = control.placed(self.bound[self.names[workspace_key(node)]])
                launches.append(Launch(node, control.kernel, prepared, names, bodies=bodies))
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
            if self.switches.check_nan and not launch.bodies:
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
        run_all = self._launch_by_launch(launches)

        def step() -> None:
            for target, source in copies["before"]:
                bound["copy"](bound[target], bound[source])
            run_all(bound)
            if "count" in bound:
                bound["count"]()
            for target, source in copies["after"]:
                bound["copy"](bound[target], bound[source])

        return step

    def _launch_by_launch(self, launches: Sequence[Launch]) -> Callable[[dict[str, Any]], None]:
        """Runs every launch, with its arrays and itself looked up by name in an environment."""
        self.bound.update(
            (launch_name(index), each.prepared.run) for index, each in enumerate(launches)
        )
        poisoned = self._poison_lines() if self.switches.poison else {}
        dead = {
            node: [partial(self.driver.fill, *self.bound[line[6:-1]]) for line in lines]
            for node, lines in poisoned.items()
        }
        return launch_by_launch(
            launches, dead, self._check_nan if self.switches.check_nan else None
        )


def _planned_controls(
    step: StepGraph, target: Target, state: CudaState, switches: PassSwitches
) -> dict[Node, ControlPlan]:
    """The branches and loops of a step, whose bodies are planned before it is."""
    nodes = [node for node in step.operations if is_control(node)]
    if not nodes:
        return {}
    from .cuda_bodies import ControlPlan

    return {node: ControlPlan(node, target, state, switches) for node in nodes}


def copies_on(driver: Driver) -> Callable[[DeviceArray, DeviceArray], None]:
    """copy(target, source) of a device."""

    def copy(target: DeviceArray, source: DeviceArray) -> None:
        if source.nbytes:
            driver.copy_on_device(target.pointer, source.pointer, source.nbytes)

    return copy


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
