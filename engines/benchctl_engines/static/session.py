"""The session: compiles what is asked for once, and runs it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np

from ..contract import Array, Precision
from ..devices.availability import gpu_index
from ..devices.cpu import usable_cores
from ..kernels.table import Tuner
from .graph import Graph, Value, default_graph
from .launch import Target
from .passes.pipeline import optimise
from .program import NOT_FED, Launch, Program, State, all_bodies, compile_program
from .sources import placeholder_source
from .step_graph import PassReport, StepGraph, pruned
from .switches import PassSwitches

KEPT_PROGRAMS = 16


class FeedError(ValueError):
    """A feed that is missing, unknown or of another shape; names the placeholder's line."""


class Operation:
    """Updates to run together; fetching one returns None instead of copies of the variables."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Value]) -> None:
        self.values = tuple(values)


def group(*updates: Value | Operation) -> Operation:
    """One operation that runs all these updates."""
    values: list[Value] = []
    for each in updates:
        values.extend(each.values if isinstance(each, Operation) else (each,))
    return Operation(values)


@dataclass(frozen=True)
class CompileReport:
    """What compiling did: passes, launches with their kernels and origins, and memory.

    `seconds` is the whole of it; the memory figures are those of `MemoryPlan`, in bytes;
    `folded_bytes` is what kernels keep of constant operands, such as transformed filters, and
    `bytes_moved` the sizes of all operands and results of all launches. `bodies` has the launches
    in branches and loops.
    """

    passes: tuple[PassReport, ...]
    launches: tuple[str, ...]
    kernels: tuple[str, ...]
    arena_bytes: int
    live_bytes: int
    summed_bytes: int
    in_place: int
    folded_bytes: int
    bytes_moved: int
    source: str
    seconds: float
    bodies: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = ["passes"]
        for each in self.passes:
            reasons = "".join(f": {reason}" for reason in each.details)
            state = f"  ({'on' if each.enabled else 'off'}{reasons})" if reasons else ""
            state = state or ("" if each.enabled else "  (off)")
            details = "".join(f", {name} {value}" for name, value in each.counts.items() if value)
            lines.append(
                f"  {each.name:<17} {each.before:>4} -> {each.after:<4} operations{details}{state}"
            )
        lines += ["launches", *(f"  {each}" for each in self.launches)]
        if self.bodies:
            lines += ["launches in branches and loops", *(f"  {each}" for each in self.bodies)]
        lines.append(
            f"memory\n  arena {self.arena_bytes} bytes, least possible {self.live_bytes}, "
            f"unshared {self.summed_bytes}, {self.in_place} results in place"
        )
        if self.folded_bytes:
            lines.append(f"  folded from constants {self.folded_bytes} bytes")
        return "\n".join(lines)


class Session:
    """Runs values of a graph. Variables live here, starting from their initial values.

    A session is for one thread: its programs share memory between runs. Use one per thread.

    `share_variables` works on the arrays that the variables were made from instead of copies.

    On a GPU ("gpu", "gpu:N") variables, constants and everything in between live in its memory;
    feeds are copied there and fetched values back by every run. `precision` is how it computes
    products of float32; kernels named in `left_out` are not chosen, and `tuner` measures those that
    it might take.
    """

    def __init__(
        self,
        graph: Graph | None = None,
        *,
        switches: PassSwitches | None = None,
        device: str = "cpu",
        threads: int | None = None,
        share_variables: bool = False,
        precision: Precision = "fp32",
        left_out: tuple[str, ...] = (),
        tuner: Tuner | None = None,
    ) -> None:
        self.graph = graph if graph is not None else default_graph()
        self.switches = switches if switches is not None else PassSwitches()
        self.device = device
        self.threads = threads or usable_cores()
        self.state, target = _place(device, self.threads, precision, share_variables)
        self._target = replace(target, left_out=left_out, tuner=tuner)
        self._programs: OrderedDict[Any, Program] = OrderedDict()
        self._calls: dict[Any, Callable[..., Any]] = {}
        self.compile_seconds = 0.0
        self.programs_compiled = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of compiled programs and memory."""
        for program in self._programs.values():
            program.release()
        self._programs.clear()
        self._calls.clear()
        self.state.clear()

    # ----- running ------------------------------------------------------------------------------

    def run(self, fetches: Any, feed_dict: Mapping[Value, Any] | None = None) -> Any:
        """Values of `fetches` (a value, an operation, or a nest of them), in the same nest.

        Raises `FeedError` where a placeholder that the fetches need is not fed.
        """
        call = None
        if fetches.__class__ is list:
            # No call between here and the step: on a small step it would be seen.
            try:
                if feed_dict:
                    call = self._calls.get(((*fetches,), *feed_dict))
                else:
                    call = self._calls.get(((*fetches,),))
            except TypeError:
                pass  # a nest inside the list has no hash
        if call is None:
            call = self._prepared(fetches, feed_dict or {})
        return call(*feed_dict.values()) if feed_dict else call()

    def make_callable(self, fetches: Any, feeds: Sequence[Value] = ()) -> Callable[..., Any]:
        """A function of the feeds, in this order, that returns what `run` would."""
        return self._packed(fetches, tuple(feeds))

    def _prepared(self, fetches: Any, feed_dict: Mapping[Value, Any]) -> Callable[..., Any]:
        for key in feed_dict:
            if not isinstance(key, Value):
                raise FeedError(
                    f"feed_dict expected placeholders as keys, received {type(key).__name__}"
                )
        call = self._packed(fetches, tuple(feed_dict))
        if type(fetches) is list and all(isinstance(each, Value) for each in fetches):
            self._calls[((*fetches,), *feed_dict)] = call
        return call

    def _packed(self, fetches: Any, feeds: tuple[Value, ...]) -> Callable[..., Any]:
        values, wanted, pack = _flatten(fetches)
        # One program serves every order in which the same placeholders are fed.
        ordered = tuple(sorted(feeds, key=lambda feed: feed.node.sequence))
        step = self.program(values, wanted, ordered).call
        if ordered != feeds:
            step = _reordered(step, [feeds.index(each) for each in ordered], len(feeds))
        if type(fetches) is list and all(isinstance(each, Value) for each in fetches):
            return step

        def call(*arrays: Any) -> Any:
            return pack(iter(step(*arrays)))

        return call

    # ----- compiling ----------------------------------------------------------------------------

    @property
    def programs(self) -> tuple[Program, ...]:
        """Those that are kept, the one used last at the end."""
        return tuple(self._programs.values())

    def program(
        self, fetches: Sequence[Value], wanted: Sequence[bool], feeds: tuple[Value, ...]
    ) -> Program:
        """The compiled program of these fetches and feeds; the last 16 are kept."""
        key = (tuple(fetches), tuple(wanted), feeds)
        found = self._programs.get(key)
        if found is not None:
            self._programs.move_to_end(key)
            return found
        start = time.perf_counter()
        self._check_values(fetches)
        step = pruned(self.graph.nodes, tuple(fetches))
        self._check_feeds(step.nodes, feeds)
        optimised, reports = optimise(step, self.switches, self._target)

        def recheck(*arrays: Any) -> list[Array]:
            converted = _converted(feeds, arrays)
            if all(new is old for new, old in zip(converted, arrays, strict=True)):
                raise RuntimeError("the compiled step refused feeds that are as declared")
            return program.call(*converted)

        compile_for = _compiler(self._target)
        program = compile_for(
            optimised, wanted, feeds, self.state, self.switches, self._target, recheck
        )
        program.reports = tuple(reports)
        self.compile_seconds += time.perf_counter() - start
        self.programs_compiled += 1
        self._programs[key] = program
        # The quick way does not tell which programs are in use: each is looked up once again,
        # which moves it to the end.
        self._calls.clear()
        if len(self._programs) > KEPT_PROGRAMS:
            self._programs.popitem(last=False)
        return program

    def _check_values(self, fetches: Sequence[Value]) -> None:
        for value in fetches:
            if value.graph is not self.graph:
                raise ValueError(
                    f"the session expected values of its own graph, received {value!r} made at "
                    f"{value.node.origin}"
                )

    def _check_feeds(self, nodes: Sequence[Any], feeds: tuple[Value, ...]) -> None:
        for feed in feeds:
            if feed.graph is not self.graph:
                raise FeedError(
                    f"feed_dict expected placeholders of the session's own graph, received "
                    f"{feed!r}   (made at {feed.node.origin.describe()})"
                )
            if feed.node.primitive is not placeholder_source:
                raise FeedError(
                    f"feed_dict expected placeholders, received {feed!r}, a result of "
                    f"{feed.node.primitive.name}   (made at {feed.node.origin.describe()})"
                )
        for node in nodes:
            if node.primitive is placeholder_source and node.outputs[0] not in feeds:
                raise FeedError(
                    f"the step needs a value for placeholder {node.name!r} "
                    f"{node.outputs[0].spec}; add it to feed_dict"
                    f"   (made at {node.origin.describe()})"
                )

    def recorded(self, fetches: Any) -> StepGraph:
        """What these fetches need of the graph, before any pass."""
        values, _, _ = _flatten(fetches)
        return pruned(self.graph.nodes, tuple(values))

    def compiled(self, fetches: Any, feeds: Sequence[Value] | None = None) -> Program:
        """The program that runs these fetches; `feeds` are all placeholders they need if None."""
        values, wanted, _ = _flatten(fetches)
        if feeds is None:
            nodes = pruned(self.graph.nodes, tuple(values)).nodes
            feeds = [each.outputs[0] for each in nodes if each.primitive is placeholder_source]
        ordered = tuple(sorted(feeds, key=lambda feed: feed.node.sequence))
        return self.program(values, wanted, ordered)

    def explain(self, fetches: Any, feeds: Sequence[Value] | None = None) -> CompileReport:
        """What compiling these fetches does; `feeds` are all placeholders they need if None."""
        start = time.perf_counter()
        program = self.compiled(fetches, feeds)
        seconds = time.perf_counter() - start
        bodies = tuple(all_bodies(program.launches))
        return CompileReport(
            (*program.reports, *program.stages()),
            tuple(_launch_line(launch) for launch in program.launches),
            program.kernels,
            program.plan.arena_bytes,
            program.plan.live_bytes,
            program.plan.summed_bytes,
            program.plan.in_place,
            program.folded_bytes,
            program.bytes_moved,
            "\n".join([program.source, *(f"# {each.label}\n{each.source}" for each in bodies)]),
            seconds,
            tuple(
                f"{body.label:<9} {_launch_line(launch)}"
                for body in bodies
                for launch in body.launches
            ),
        )

    def value_of(self, variable: Value) -> Array:
        """The session's array of a variable, which changes with later runs; a copy from a GPU."""
        value: Array = self.state.value_of(variable.node.payload)
        return value


def _launch_line(launch: Launch) -> str:
    """Kernel, first result and origin."""
    return f"{launch.kernel:<40} {launch.node.outputs[0].spec!s:<28} {launch.node.origin}"


def _place(
    device: str, threads: int, precision: Precision, share_variables: bool
) -> tuple[Any, Target]:
    """The state of a session on a device, and what its kernels are asked for."""
    if gpu_index(device) is None:
        return State(share_variables), Target(device, threads)
    from ..devices.cuda.opening import open_device
    from .cuda_state import CudaState

    driver = open_device(device)
    return CudaState(driver), Target("gpu", threads, driver, precision)


def _compiler(target: Target) -> Callable[..., Program]:
    """What compiles an optimised step for the target."""
    if target.driver is None:
        return compile_program
    from .cuda_program import compile_cuda_program

    return compile_cuda_program


def _flatten(fetches: Any) -> tuple[list[Value], list[bool], Callable[[Any], Any]]:
    """Values to compute, which of them to return, and how to pack the returned ones."""
    values: list[Value] = []
    wanted: list[bool] = []

    def walk(part: Any) -> Callable[[Any], Any]:
        if isinstance(part, Value):
            values.append(part)
            wanted.append(True)
            return next
        if isinstance(part, Operation):
            values.extend(part.values)
            wanted.extend([False] * len(part.values))
            return _nothing
        if isinstance(part, Mapping):
            names = list(part)
            packs = [walk(part[name]) for name in names]
            return lambda arrays: {
                name: pack(arrays) for name, pack in zip(names, packs, strict=True)
            }
        if isinstance(part, tuple | list):
            packs = [walk(each) for each in part]
            make: Any = type(part)
            if hasattr(part, "_fields"):
                return lambda arrays: make(*(pack(arrays) for pack in packs))
            return lambda arrays: make([pack(arrays) for pack in packs])
        raise TypeError(
            f"fetches expected values, operations or nests of them, received {type(part).__name__}"
        )

    return values, wanted, walk(fetches)


def _nothing(arrays: Any) -> None:
    return None


def _reordered(
    step: Callable[..., list[Array]], order: Sequence[int], count: int
) -> Callable[..., list[Array]]:
    """The step with its feeds in another order."""

    def call(*arrays: Any) -> list[Array]:
        _check_count(count, arrays)
        return step(*[arrays[place] for place in order])

    return call


def _check_count(expected: int, arrays: Sequence[Any]) -> None:
    given = [array for array in arrays if array is not NOT_FED]
    if len(given) != expected:
        raise FeedError(
            f"the step expected {expected} {'feed' if expected == 1 else 'feeds'}, "
            f"received {len(given)}"
        )


def _converted(feeds: tuple[Value, ...], arrays: Sequence[Any]) -> list[Array]:
    """Feeds as declared: converted where that loses no kind of number, else `FeedError`."""
    _check_count(len(feeds), arrays)
    return [_as_fed(feed, np.asarray(given)) for feed, given in zip(feeds, arrays, strict=True)]


def _as_fed(feed: Value, array: Array) -> Array:
    dtype = feed.spec.numpy_dtype
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[dtype.kind]
    fits = array.shape == feed.spec.shape and array.dtype.kind in kinds
    if fits and dtype.kind in "iu" and array.size:
        limits = np.iinfo(dtype.type)  # type: ignore[type-var]
        fits = limits.min <= int(array.min()) and int(array.max()) <= limits.max
    if not fits:
        raise FeedError(
            f"placeholder {feed.node.name!r} expected {feed.spec}, received "
            f"{array.dtype}{list(array.shape)}"
            + (" with numbers out of range" if array.shape == feed.spec.shape else "")
            + f"   (made at {feed.node.origin.describe()})"
        )
    plain = array.view(np.ndarray) if type(array) is not np.ndarray else array
    return np.require(plain, dtype, ["C", "A"])
