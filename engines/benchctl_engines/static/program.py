"""A compiled step: kernels chosen, memory placed, and one function that runs it all.

With bind_early the function is generated as straight-line Python over fixed buffers, one line a
launch, so that a step pays for its launches and nothing else. Without it an interpreter looks up
the operands of every launch each time, which is what the generated code saves.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Array
from ..devices.cpu import POOLED_BYTES, BufferPool, aligned_bytes
from ..kernels.rehearsal import rehearse
from ..kernels.table import Prepared
from ..primitives.specs import TensorSpec
from .gradients import is_control
from .graph import Node, Value
from .launch import Target, check_nan, constant_array, prepare_node
from .passes.plan_memory import MemoryPlan, plan_memory
from .sources import constant_source, placeholder_source, step_source, variable_source
from .step_graph import PassReport, StepGraph, updated_variable
from .switches import PassSwitches

if TYPE_CHECKING:
    from .body_program import BodyProgram

_numbers = count()


def new_filename() -> str:
    """What tracebacks call the source of another step."""
    return f"<static step {next(_numbers)}>"


NOT_FED = object()
"""Stands for a feed that was not given, so that the step itself can say so."""


@dataclass(frozen=True)
class Launch:
    """One kernel call: names of the arrays it is given, outputs first.

    `others` are further nodes that the same call computes. A branch or loop is one, too, with the
    `bodies` that it calls.
    """

    node: Node
    kernel: str
    prepared: Prepared
    arrays: tuple[str, ...]
    others: tuple[Node, ...] = ()
    bodies: tuple[BodyProgram, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All that it computes."""
        return (self.node, *self.others)


@dataclass
class Program:
    """What a session keeps for one set of fetches and feeds.

    `call(*feeds)` returns the fetched arrays as a list, in the order asked for.
    """

    step: StepGraph
    feeds: tuple[Value, ...]
    launches: tuple[Launch, ...]
    plan: MemoryPlan
    source: str
    call: Callable[..., list[Array]]
    bound: dict[str, Any]
    reports: tuple[PassReport, ...] = ()

    def stages(self) -> tuple[PassReport, ...]:
        """What was done to the compiled step itself, after the passes."""
        return ()

    def release(self) -> None:
        """Break the cycle between the generated function and what it is bound to.

        The function cannot be called afterwards.
        """
        for body in all_bodies(self.launches):
            body.bound.clear()
        self.bound.clear()

    @property
    def bytes_moved(self) -> int:
        """Sizes of the operands and results of all launches, each counted at every launch."""
        nodes = (node for launch in self.launches for node in launch.nodes)
        return sum(each.spec.nbytes for node in nodes for each in (*node.operands, *node.outputs))

    @property
    def folded_bytes(self) -> int:
        """Memory of what kernels worked out from constant operands when they were prepared."""
        return sum(launch.prepared.bound_bytes for launch in self.launches)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Kernel names in launch order."""
        bodies = all_bodies(self.launches)
        inside = [launch.kernel for body in bodies for launch in body.launches]
        return (*(launch.kernel for launch in self.launches), *inside)


def all_bodies(launches: Sequence[Launch]) -> Iterator[BodyProgram]:
    """The bodies that these launches call, and those within them."""
    for launch in launches:
        for body in launch.bodies:
            yield body
            yield from all_bodies(body.launches)


def launch_name(index: int) -> str:
    """What the generated step calls the kernel of a launch."""
    return f"k{index}"


class State:
    """What outlives a run: variables, the step counter, and memory for fetched results."""

    def __init__(self, share_variables: bool) -> None:
        self.variables: dict[Value, Array] = {}
        self.counter = np.zeros((), np.int64)
        self.pool = BufferPool()
        self._share = share_variables

    def value_of(self, variable: Any) -> Array:
        """The variable as an array of the host: the session's own."""
        return self.array_of(variable)

    def clear(self) -> None:
        """Give memory that lies idle back."""
        self.pool.clear()

    def array_of(self, variable: Any) -> Array:
        """The session's array of a variable, made from its initial value on first use."""
        array = self.variables.get(variable)
        if array is None:
            array = variable.given if self._share else variable.initial.copy()
            self.variables[variable] = array
        return array


def compile_program(
    step: StepGraph,
    returned: Sequence[bool],
    feeds: Sequence[Value],
    state: State,
    switches: PassSwitches,
    target: Target,
    recheck: Callable[..., list[Array]],
) -> Program:
    """Compile an optimised step; `recheck` is called with feeds that are not as declared."""
    builder = StepBuilder(step, returned, feeds, state, switches, target)
    return builder.build(recheck)


class StepBuilder:
    """Names arrays, prepares launches and writes the source."""

    def __init__(
        self,
        step: StepGraph,
        returned: Sequence[bool],
        feeds: Sequence[Value],
        state: State,
        switches: PassSwitches,
        target: Target,
    ) -> None:
        self.step = step
        self.returned = [
            value for value, wanted in zip(step.fetches, returned, strict=True) if wanted
        ]
        self.feeds = tuple(feeds)
        self.state = state
        self.switches = switches
        self.bound: dict[str, Any] = {}
        self.names: dict[Value, str] = {}
        self.bodies: dict[Node, tuple[BodyProgram, ...]] = {}
        self.prepared = {node: self._prepared(node, target) for node in step.operations}
        held = {value for value in step.fetches if value.node.primitive.effect != "update"}
        workspaces = {
            node: prepared.workspace_bytes for node, (_, prepared) in self.prepared.items()
        }
        self.plan = plan_memory(step, workspaces, frozenset(held), switches.plan_memory)

    def build(self, recheck: Callable[..., list[Array]]) -> Program:
        self._name_sources()
        self._name_buffers()
        fetches = self._name_fetches()
        launches = self._launches()
        lines, places = self._source(launches, fetches)
        source = "\n".join(lines) + "\n"
        self._rehearse(launches)
        self.bound["recheck"] = recheck
        if self.switches.bind_early:
            call = generated_step(source, launches, places, self.bound)
        else:
            call = self._interpreted(launches, fetches)
        return Program(
            self.step,
            self.feeds,
            launches,
            self.plan,
            source,
            call,
            self.bound,
        )

    def _prepared(self, node: Node, target: Target) -> tuple[str, Prepared]:
        """The kernel of a node; that of a branch or loop calls bodies, which are compiled here."""
        if is_control(node):
            from .body_program import prepare_control

            kernel, prepared, bodies = prepare_control(node, target, self.state, self.switches)
            self.bodies[node] = bodies
            return kernel, prepared
        return prepare_node(node, target, constant_array if self.switches.fold_constants else None)

    def _rehearse(self, launches: Sequence[Launch]) -> None:
        """Compile the loops of the launches: the first run is a run like any other."""
        for index, launch in enumerate(launches):
            prepared = launch.prepared
            if self.switches.bind_early and self.bound[f"k{index}"] is not prepared.run:
                continue  # the raw form, compiled already
            if launch.bodies:
                continue  # rehearsed when they were compiled
            node = launch.node
            try:
                rehearse(
                    prepared.run,
                    [each.spec for each in node.outputs],
                    [each.spec for each in node.operands],
                    prepared.workspace_bytes,
                    node.primitive.effect == "update",
                )
            except Exception as error:
                error.add_note(failure_note(node))
                raise

    # ----- names ------------------------------------------------------------------------------

    def _name_sources(self) -> None:
        place_of = {each: index for index, each in enumerate(self.feeds)}
        for index, node in enumerate(each for each in self.step.nodes if each.is_source):
            value = node.outputs[0]
            if node.primitive is placeholder_source:
                self.names[value] = f"x{place_of[node.payload]}"
            elif node.primitive is constant_source:
                self._bind(value, f"c{index}", node.payload)
            elif node.primitive is variable_source:
                self._bind(value, f"v{index}", self.state.array_of(node.payload))
            elif node.primitive is step_source:
                self._bind(value, "step_number", self.state.counter)

    def _bind(self, value: Value, name: str, array: Array) -> None:
        self.names[value] = name
        self.bound[name] = array

    def _name_buffers(self) -> None:
        arena = aligned_bytes(self.plan.arena_bytes)
        if self.switches.poison:
            arena[:] = 255  # all bits set is a NaN in every float dtype
        self.arena = arena
        for value, index in self.plan.values.items():
            buffer = self.plan.buffers[index]
            span = arena[buffer.offset : buffer.offset + buffer.nbytes]
            array = span.view(value.spec.numpy_dtype).reshape(value.spec.shape)
            self._bind(value, f"b{len(self.bound)}", array)
        for node, index in self.plan.workspaces.items():
            buffer = self.plan.buffers[index]
            name = f"w{len(self.bound)}"
            self.bound[name] = arena[buffer.offset : buffer.offset + buffer.nbytes]
            self.names[workspace_key(node)] = name
        for node in self.step.operations:
            if node.primitive.effect == "update":
                # An update's result is the variable's own array.
                self.names[node.outputs[0]] = self.names[node.operands[0]]

    def _name_fetches(self) -> dict[Value, str]:
        """Fetched values that a launch writes, each into a fresh array of its own."""
        fresh: dict[Value, str] = {}
        for value in dict.fromkeys(self.step.fetches):
            if not value.node.is_source and value.node.primitive.effect != "update":
                fresh[value] = self.names[value] = f"f{len(fresh)}"
        return fresh

    def _launches(self) -> tuple[Launch, ...]:
        launches = []
        for node in self.step.operations:
            kernel, prepared = self.prepared[node]
            arrays = [self.names[each] for each in (*node.outputs, *node.operands)]
            if prepared.workspace_bytes:
                arrays.append(self.names[workspace_key(node)])
            bodies = self.bodies.get(node, ())
            launches.append(Launch(node, kernel, prepared, tuple(arrays), bodies=bodies))
        return tuple(launches)

    # ----- the generated function ---------------------------------------------------------------

    def _source(
        self, launches: Sequence[Launch], fresh: Mapping[Value, str]
    ) -> tuple[list[str], dict[int, int]]:
        """Source lines, and which launch stands on which line (from 1)."""
        names = [f"x{index}" for index in range(len(self.feeds))]
        self.bound["ndarray"] = np.ndarray
        checked = self._checked_by_first(launches)
        self.bound["NOT_FED"] = NOT_FED
        parameters = [*(f"{name}=NOT_FED" for name in names), "*more"]
        lines = [f"def step({', '.join(parameters)}):"]
        lines += ["    if more:", f"        return recheck({', '.join([*names, '*more'])})"]
        for index, feed in enumerate(self.feeds):
            lines += self._feed_check(index, feed, names, names[index] in checked)
        lines.append("    try:")
        copies, results = self._results(fresh)
        body = [*copies["before"]]
        for value, name in fresh.items():
            body += self._fresh_lines(name, value.spec)
        places: dict[int, int] = {}
        poisoned = self._poison_lines() if self.switches.poison else {}
        for index, launch in enumerate(launches):
            self.bound[f"k{index}"] = launch.prepared.run
            call = f"k{index}({', '.join(launch.arrays)})"
            comment = f"  # {launch.kernel}  {launch.node.origin}"
            if index == 0 and checked:
                assert launch.prepared.raw is not None
                self.bound["k0"] = launch.prepared.raw()
                places[len(lines) + len(body) + 2] = index
                body += _checked_call(call, comment, names)
            else:
                if self._raw_launch(launch):
                    assert launch.prepared.raw is not None
                    self.bound[f"k{index}"] = launch.prepared.raw()
                places[len(lines) + len(body) + 1] = index
                body.append(call + comment)
            if self.switches.check_nan and not launch.bodies:
                self.bound["check_nan"] = check_nan
                self.bound[f"n{index}"] = launch.node
                outputs = launch.arrays[: len(launch.node.outputs)]
                body.append(f"check_nan(n{index}, {', '.join(outputs)})")
            body += poisoned.get(launch.node, [])
        if "step_number" in self.bound:
            body.append("step_number[()] += 1")
        body += copies["after"]
        body.append(f"return [{', '.join(results)}]")
        lines += [f"        {line}" for line in body]
        lines += [
            "    except Exception as error:",
            "        annotate(error)",
            "        raise",
        ]
        return lines, places

    def _raw_launch(self, launch: Launch) -> bool:
        """Whether the raw form can be used without a check: no operand comes from the user."""
        fed = any(name.startswith("x") for name in launch.arrays)
        return launch.prepared.raw is not None and not fed

    def _checked_by_first(self, launches: Sequence[Launch]) -> set[str]:
        """Feeds that the first launch checks itself, so that the step need not."""
        if not launches or launches[0].prepared.raw is None:
            return set()
        first = launches[0]
        operands = zip(first.node.operands, first.arrays[len(first.node.outputs) :], strict=False)
        return {name for _, name in operands if name.startswith("x")}

    def _feed_check(
        self, index: int, feed: Value, names: Sequence[str], checked: bool
    ) -> list[str]:
        self.bound[f"dtype{index}"] = feed.spec.numpy_dtype
        test = f"x{index}.__class__ is not ndarray"
        if not checked:
            test += (
                f" or x{index}.dtype is not dtype{index} or x{index}.shape != {feed.spec.shape}"
                f" or not x{index}.flags.c_contiguous or not x{index}.flags.aligned"
            )
        return [f"    if {test}:", f"        return recheck({', '.join(names)})"]

    def _fresh_lines(self, name: str, spec: TensorSpec) -> list[str]:
        if spec.nbytes >= POOLED_BYTES:
            self.bound["take"] = self.state.pool.take
            self.bound[f"spec_{name}"] = spec
            return [f"{name} = take(spec_{name})"]
        # Two arrays take turns while the user lets go of them; a kept result gets a new one.
        self.bound["empty"] = np.empty
        self.bound["getrefcount"] = sys.getrefcount
        self.bound[f"d_{name}"] = spec.numpy_dtype
        for turn in "ab":
            self.bound[f"{turn}_{name}"] = np.empty(spec.shape, spec.numpy_dtype)
        return [
            f"{name} = a_{name}",
            f"if getrefcount({name}) > {_IDLE_REFERENCES}:",
            f"    {name} = b_{name}",
            f"    if getrefcount({name}) > {_IDLE_REFERENCES}:",
            f"        {name} = empty({spec.shape}, d_{name})",
        ]

    def _results(self, fresh: Mapping[Value, str]) -> tuple[dict[str, list[str]], list[str]]:
        """Copies of fetched sources (their value before the step) and of updated variables."""
        copies: dict[str, list[str]] = {"before": [], "after": []}
        results = []
        given: set[Value] = set()
        for index, value in enumerate(self.returned):
            if value in fresh and value not in given:
                given.add(value)
                results.append(fresh[value])
                continue
            if value in fresh:
                # Fetched twice, or merged with another: the user gets arrays of their own.
                copies["after"].append(f"r{index} = {fresh[value]}.copy()")
                results.append(f"r{index}")
                continue
            when = "after" if updated_variable(value.node) else "before"
            copies[when].append(f"r{index} = {self.names[value]}.copy()")
            results.append(f"r{index}")
        return copies, results

    def _poison_lines(self) -> dict[Node, list[str]]:
        """Lines that fill each buffer with NaN bits after its last reading."""
        lines: dict[Node, list[str]] = {}
        for index, buffer in enumerate(self.plan.buffers):
            self.bound[f"dead{index}"] = self.arena[buffer.offset : buffer.offset + buffer.nbytes]
            node = self.step.nodes[buffer.death]
            lines.setdefault(node, []).append(f"dead{index}.fill(255)")
        return lines

    # ----- the interpreter ------------------------------------------------------------------------

    def _launch_by_launch(self, launches: Sequence[Launch]) -> Callable[[dict[str, Any]], None]:
        """Runs every launch, with its arrays and itself looked up by name in an environment."""
        self.bound.update(
            (launch_name(index), each.prepared.run) for index, each in enumerate(launches)
        )
        poisoned = self._poison_lines() if self.switches.poison else {}
        dead = {
            node: [partial(self.bound[line.split(".")[0]].fill, 255) for line in lines]
            for node, lines in poisoned.items()
        }
        return launch_by_launch(launches, dead, check_nan if self.switches.check_nan else None)

    def _interpreted(
        self, launches: Sequence[Launch], fresh: Mapping[Value, str]
    ) -> Callable[..., list[Array]]:
        """The same step with every operand looked up at every launch."""
        copies, results = self._results(fresh)
        before = [(line.split()[0], line.split()[2].split(".")[0]) for line in copies["before"]]
        after = [(line.split()[0], line.split()[2].split(".")[0]) for line in copies["after"]]
        specs = {name: value.spec for value, name in fresh.items()}
        feeds, bound, pool = self.feeds, self.bound, self.state.pool
        run_all = self._launch_by_launch(launches)

        def call(*arrays: Array) -> list[Array]:
            declared = len(arrays) == len(feeds) and all(
                as_declared(array, feed.spec) for feed, array in zip(feeds, arrays, strict=True)
            )
            if not declared:
                result: list[Array] = bound["recheck"](*arrays)
                return result
            environment = dict(bound)
            environment.update((f"x{index}", array) for index, array in enumerate(arrays))
            environment.update((name, environment[source].copy()) for name, source in before)
            environment.update((name, pool.take(each)) for name, each in specs.items())
            run_all(environment)
            if "step_number" in environment:
                environment["step_number"][()] += 1
            environment.update((name, environment[source].copy()) for name, source in after)
            return [environment[name] for name in results]

        return call


def launch_by_launch(
    launches: Sequence[Launch],
    behind: Mapping[Node, Sequence[Callable[[], object]]],
    watch: Callable[..., None] | None,
) -> Callable[[Mapping[str, Any]], None]:
    """Runs every launch, with its arrays and itself looked up by name in an environment.

    `behind` is what is done after a node; `watch(node, *outputs)` looks at what launches made.
    """

    def run_all(environment: Mapping[str, Any]) -> None:
        for index, launch in enumerate(launches):
            operands = [environment[name] for name in launch.arrays]
            try:
                environment[launch_name(index)](*operands)
            except Exception as error:
                error.add_note(failure_note(launch.node))
                raise
            if watch is not None and not launch.bodies:
                watch(launch.node, *operands[: len(launch.node.outputs)])
            for node in launch.nodes:
                for call in behind.get(node, ()):
                    call()

    return run_all


def workspace_key(node: Node) -> Any:
    """What the workspace of an operation is kept under, among values."""
    return ("workspace", node)


def as_declared(array: Any, spec: TensorSpec) -> bool:
    """Whether a feed can be used as it is."""
    return (
        isinstance(array, np.ndarray)
        and array.dtype == spec.numpy_dtype
        and array.shape == spec.shape
        and array.flags.c_contiguous
        and array.flags.aligned
    )


def _checked_call(call: str, comment: str, names: Sequence[str]) -> list[str]:
    """A launch that checks its arguments: nothing was written where it refuses them."""
    return [
        "try:",
        f"    refused = {call}{comment}",
        "except TypeError:",
        "    refused = True",
        "if refused:",
        f"    return recheck({', '.join(names)})",
    ]


def _idle_references() -> int:
    """What getrefcount says of an array that only a global and a local name hold."""
    bound: dict[str, Any] = {"kept": np.empty(1), "getrefcount": sys.getrefcount}
    exec("def probe():\n    local = kept\n    return getrefcount(local)", bound)
    count: int = bound["probe"]()
    return count


_IDLE_REFERENCES = _idle_references()


def executed(source: str, filename: str, bound: dict[str, Any]) -> Callable[..., Any]:
    """The function `step` that the source defines, with these globals."""
    # The line cache shows the generated line in a traceback.
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), bound)
    function: Callable[..., Any] = bound["step"]
    return function


def generated_step(
    source: str, launches: Sequence[Launch], places: Mapping[int, int], bound: dict[str, Any]
) -> Callable[..., Any]:
    """The function of the source, whose failures name the launch on their line."""
    filename = new_filename()
    nodes = {place: launches[index].node for place, index in places.items()}

    def annotate(error: Exception) -> None:
        annotate_failure(error, filename, nodes)

    bound["annotate"] = annotate
    return executed(source, filename, bound)


def failure_note(node: Node) -> str:
    """The node of a failed launch in words: operation, operands, the user's line."""
    operands = ", ".join(f"{each.name} {each.spec}" for each in node.operands)
    return f"while running {node.primitive.name}({operands})\n  made at {node.origin.describe()}"


def annotate_failure(error: Exception, filename: str, nodes: Mapping[int, Node]) -> None:
    """Name the node whose launch failed, found by the line of the generated code."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename and trace.tb_lineno in nodes:
            error.add_note(failure_note(nodes[trace.tb_lineno]))
            return
        trace = trace.tb_next
