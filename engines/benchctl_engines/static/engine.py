"""The static engine behind the harness's contract: build a graph once, run it every step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..contract import (
    AVAILABLE,
    Array,
    Availability,
    Case,
    DeviceLimits,
    EngineOptions,
    Paradigm,
    Precision,
    Program,
    RunnerFacts,
    StepGraphs,
    StepProfile,
    Switch,
)
from ..devices.availability import device_availability, gpu_index
from ..devices.phase_clock import HostMarks, medians
from ..kernels.code_cache import use_directory
from ..kernels.compile_tally import TALLY
from ..kernels.convolution_choice import left_out
from .description import describe_compiled, describe_recorded
from .graph import Value
from .phases import launch_phases, time_phases
from .profile import profile_program
from .session import KEPT_PROGRAMS, Operation, Session
from .switches import PassSwitches, described_switches
from .workload_graph import WorkloadGraph, recorded_again, workload_graph

Shapes = tuple[tuple[int, ...], ...]
"""Of the inputs: what a program is recorded for."""


def _shapes_of(names: Iterable[str], inputs: Mapping[str, Array]) -> Shapes:
    return tuple([inputs[name].shape for name in names])


@dataclass(frozen=True, slots=True)
class _Recorded:
    """The program for inputs of some shapes: its fetches by name."""

    made: WorkloadGraph
    names: list[str]
    fetches: list[Any]


class StaticRunner:
    """One case on the static engine."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        use_directory(options.cache_directory)
        self._workload = workload
        self._case = case
        self._arrays = (parameters, inputs)
        self._kind = workload.step(case)
        self._options = options
        self._switches = PassSwitches.from_text(options.switches)
        self._as_callable = options.switches.get("entry", "run") == "callable"
        self._tuner: Any = None
        self._session: Session | None = None
        self._recorded: dict[Shapes, _Recorded] = {}
        self._shapes: Shapes | None = None
        self._placeholders: dict[str, Value] = {}
        self._variables: dict[str, Value] = {}
        self._names: list[str] = []
        self._fetches: list[Any] = []
        self._feed: dict[Value, Array] = {}
        self._call: Callable[..., Any] | None = None
        self._feeds: tuple[Array, ...] = ()
        self._results: Any = ()

    def build(self) -> None:
        """Record the program, its gradients and its updates in a graph."""
        parameters, inputs = self._arrays
        options = self._options
        made = workload_graph(
            self._workload, self._case, parameters, inputs, options.seed, options.precision
        )
        self._variables = made.variables
        self._session = Session(
            made.graph,
            switches=self._switches,
            device=self._options.device,
            threads=self._options.threads,
            share_variables=True,
            precision=self._options.precision,
            left_out=left_out(self._options.switches),
            tuner=self._tuner,
        )
        self._placeholders = made.placeholders
        self._recorded[_shapes_of(made.placeholders, inputs)] = self._kept(made)
        self.load(inputs)

    def _kept(self, made: WorkloadGraph) -> _Recorded:
        fetched: dict[str, Any] = dict(made.fetches)
        if self._kind == "training":
            fetched["updates"] = Operation(list(made.updates.values()))
        return _Recorded(made, list(fetched), list(fetched.values()))

    def compile(self) -> None:
        """Optimise, choose kernels, compile loops, place memory."""
        session = self._open_session()
        call = session.make_callable(self._fetches, list(self._placeholders.values()))
        if self._as_callable:
            self._call = call

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Take new inputs; they are fed every step.

        For shapes that are new the program is recorded again; the session compiles it when it
        first runs, and again where it has since let go of it.
        """
        shapes = _shapes_of(self._placeholders, inputs)
        if shapes != self._shapes:
            self._take_shapes(shapes, inputs)
        self._feed = {each: inputs[name] for name, each in self._placeholders.items()}
        self._feeds = tuple(self._feed.values())

    def _take_shapes(self, shapes: Shapes, inputs: Mapping[str, Array]) -> None:
        found = self._recorded.get(shapes)
        if found is None:
            first = next(iter(self._recorded.values())).made
            again = recorded_again(
                first,
                self._workload,
                self._case,
                inputs,
                self._options.seed,
                self._options.precision,
            )
            found = self._recorded[shapes] = self._kept(again)
        self._shapes = shapes
        self._placeholders = found.made.placeholders
        self._names, self._fetches = found.names, found.fetches
        if self._call is not None:
            self.compile()

    def step(self) -> None:
        """One run of the session, or one call of the callable."""
        # Last step's results go first, so that the pool can hand out their memory again.
        self._results = None
        if self._call is not None:
            self._results = self._call(*self._feeds)
        else:
            self._results = self._session.run(self._fetches, self._feed)  # type: ignore[union-attr]

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        results = dict(zip(self._names, self._results, strict=True))
        results.pop("updates", None)
        if self._kind == "training":
            session = self._open_session()
            for name, each in self._variables.items():
                results[f"parameter/{name}"] = session.value_of(each)
        return results

    def facts(self) -> RunnerFacts:
        """Passes, kernels, memory, and the generated step."""
        session = self._open_session()
        compiled = session.programs_compiled
        report = session.explain(self._fetches, list(self._placeholders.values()))
        off = [
            f"pass {each.name} is off" + "".join(f": {reason}" for reason in each.details)
            for each in report.passes
            if not each.enabled
        ]
        notes = [*off, str(TALLY)]
        if len(self._recorded) > 1:
            notes.append(
                f"{compiled} programs compiled for {len(self._recorded)} shapes of the inputs; "
                f"the last {KEPT_PROGRAMS} are kept"
            )
        counts = {
            "launches": len(report.launches),
            "programs_compiled": compiled,
            "graph_nodes": report.passes[0].before,
            "arena_bytes": report.arena_bytes,
            "arena_least_bytes": report.live_bytes,
            "arena_unshared_bytes": report.summed_bytes,
            "in_place": report.in_place,
            "bytes_moved": report.bytes_moved,
            "loops_compiled": TALLY.compiled,
            "loops_loaded": TALLY.loaded,
            "folded_bytes": report.folded_bytes,
        }
        if report.bodies:
            counts["body_launches"] = len(report.bodies)
        for each in report.passes:
            counts.update((f"{each.name}.{name}", count) for name, count in each.counts.items())
        return RunnerFacts(report.kernels, tuple(notes), counts, f"{report}\n\n{report.source}")

    def graphs(self) -> StepGraphs:
        """The step as it was recorded, and as it was compiled."""
        session = self._open_session()
        outputs = [name for name in self._names if name != "updates"]
        parameters = self._arrays[0].keys()
        program = session.compiled(self._fetches, list(self._placeholders.values()))
        return StepGraphs(
            describe_recorded(session.recorded(self._fetches), outputs, parameters),
            describe_compiled(program, outputs, parameters),
        )

    def profile(self, steps: int) -> StepProfile:
        """Times of the launches, in the order in which they run, and of the phases of a step."""
        session = self._open_session()
        program = session.compiled(self._fetches, list(self._placeholders.values()))
        phases = launch_phases(program, self._result_count())
        found = profile_program(program, self.step, steps, phases=phases)
        seconds = time_phases(program, phases, self.step, steps, HostMarks())
        return replace(found, phases=medians(seconds))

    def _result_count(self) -> int:
        """How many fetches are the program's own results; gradients and updates come behind."""
        return sum(name != "updates" and not name.startswith("grad_") for name in self._names)

    def _open_session(self) -> Session:
        if self._session is None:
            raise RuntimeError("the runner expected build() first")
        return self._session

    def close(self) -> None:
        """Let go of the session and its memory."""
        if self._session is not None:
            self._session.close()
        self._results, self._call, self._session = (), None, None


class StaticEngine:
    """Define and run."""

    name = "static"
    paradigm: Paradigm = "static"
    precisions: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16")

    def versions(self) -> Mapping[str, str]:
        """Libraries that decide the speed."""
        import numba

        return {"numpy": np.__version__, "numba": numba.__version__}

    def availability(self, device: str) -> Availability:
        """Whether `device` can be used here."""
        return device_availability(device)

    def device_limits(self, device: str) -> DeviceLimits:
        """What the GPU does at best; see the contract."""
        from ..devices.cuda.limits import measure_device_limits
        from ..devices.cuda.opening import open_device

        return measure_device_limits(open_device(device))

    def supports(self, workload: Program, case: Case) -> Availability:
        """Every workload in the vocabulary."""
        return AVAILABLE

    def switches(self) -> Mapping[str, Switch]:
        """The passes and the way in."""
        return described_switches()

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> StaticRunner:
        """A runner that records the program once."""
        if gpu_index(options.device) is not None:
            from .cuda_runner import CudaStaticRunner

            return CudaStaticRunner(workload, case, parameters, inputs, options)
        return StaticRunner(workload, case, parameters, inputs, options)


def make_engine() -> StaticEngine:
    """Factory of the entry point."""
    return StaticEngine()
