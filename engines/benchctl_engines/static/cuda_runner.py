"""The static engine on a GPU: one compiled step, issued or replayed, and one wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..contract import (
    Array,
    Case,
    DeviceClock,
    DeviceMemory,
    EngineOptions,
    Program,
    RunnerFacts,
    StepProfile,
)
from ..devices.cuda.autotune import tuner_for
from ..devices.cuda.clock import CudaClock, CudaLaunchClock
from ..devices.cuda.memory import memory_of
from ..devices.cuda.opening import device_words, open_for, precision_words
from ..devices.phase_clock import DeviceMarks, medians, timed_seconds
from .cuda_program import CudaProgram
from .engine import Shapes, StaticRunner
from .phases import launch_phases, time_phases
from .profile import profile_program
from .program import as_declared

STEP_WORDS = "a step is issue and one wait; inputs are copied when loaded, results when asked for"


class CudaStaticRunner(StaticRunner):
    """One case on the static engine on a GPU.

    Inputs are copied to the device when they are loaded, results stay there until `outputs`. A step
    that changes no state is run and recorded when it is compiled, so that the first run is a replay
    and checked as such; a training step is recorded in its third run, and checked by its losses.
    """

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        self._driver = open_for(options)
        super().__init__(workload, case, parameters, inputs, options)
        self._tuner = tuner_for(options, self._driver)
        self._program: CudaProgram | None = None
        self._clock: CudaClock | None = None
        self._has_run = False

    def compile(self) -> None:
        """Optimise, choose kernels, compile them, place memory, and record where that is free."""
        program = self._program = self._program_of_shapes()
        self._load_feeds()
        if program.stateless:
            program.captured.record_now()
        self._driver.synchronize()

    def _program_of_shapes(self) -> CudaProgram:
        """The program for the shapes that are loaded."""
        placeholders = list(self._placeholders.values())
        program = self._open_session().compiled(self._fetches, placeholders)
        assert isinstance(program, CudaProgram)
        return program

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy new inputs to where the compiled step reads them."""
        super().load(inputs)
        if self._program is not None:
            self._load_feeds()

    def _take_shapes(self, shapes: Shapes, inputs: Mapping[str, Array]) -> None:
        super()._take_shapes(shapes, inputs)
        if self._program is not None:
            self._program = self._program_of_shapes()

    def _load_feeds(self) -> None:
        program = self._compiled()
        arrays = [self._feed[each] for each in program.feeds]
        for feed, array in zip(program.feeds, arrays, strict=True):
            if not as_declared(array, feed.spec):
                raise ValueError(
                    f"input {feed.name} expected {feed.spec}, received {array.dtype}"
                    f"{list(array.shape)}"
                )
        program.load(arrays)

    def issue(self) -> None:
        """Issue one step."""
        self._has_run = True
        self._program.captured.run()  # type: ignore[union-attr]

    def step(self) -> None:
        """Do one step, and wait until the device has done it."""
        self._has_run = True
        self._program.captured.run()  # type: ignore[union-attr]
        self._driver.synchronize()

    def device_clock(self) -> DeviceClock:
        """The clock of the stream that the step is issued to."""
        if self._clock is None:
            self._clock = CudaClock(self._driver)
        return self._clock

    def replays(self) -> bool:
        """Whether the step was recorded."""
        return self._compiled().captured.graph is not None

    def waits(self) -> str:
        """What the host reads while a step runs; empty where it reads nothing."""
        return self._compiled().waits

    def outputs(self) -> dict[str, Array]:
        """Results of the last step, copied to the host."""
        if not self._has_run:
            raise RuntimeError("outputs expected at least one step before it, received none")
        self._results = self._fetched_nest()
        return super().outputs()

    def _fetched_nest(self) -> list[Array | None]:
        """Fetched arrays in the places of their names; updates return nothing."""
        arrays = iter(self._compiled().fetched())
        return [None if name == "updates" else next(arrays) for name in self._names]

    def facts(self) -> RunnerFacts:
        """Passes, kernels, memory, the generated step, and the device."""
        found = super().facts()
        program, session = self._compiled(), self._open_session()
        counts = {
            name: count for name, count in found.counts.items() if not name.startswith("loops_")
        }
        counts["memory_bytes"] = program.memory_bytes
        counts["constant_bytes"] = session.state.constant_bytes
        counts["variable_bytes"] = session.state.variable_bytes
        graph = program.captured.graph
        recorded = (
            f"launched one by one: {program.captured.reason or 'not yet recorded'}"
            if graph is None
            else f"recorded as a CUDA graph of {graph.nodes} nodes, replayed as one launch"
        )
        passes = [note for note in found.notes if note.startswith("pass ")]
        precision = precision_words(self._options.precision, self._kind)
        notes = [*passes, device_words(self._driver), precision, f"the step is {recorded}"]
        notes += [] if self._tuner is None else [self._tuner.note()]
        return replace(found, notes=(*notes, STEP_WORDS), counts=counts)

    def profile(self, steps: int) -> StepProfile:
        """Device times of the launches, one by one even where the step is replayed."""
        program = self._compiled()
        phases = launch_phases(program, self._result_count())

        def step() -> None:
            program.captured.launch()
            self._driver.synchronize()

        clock = CudaLaunchClock(self._driver, self.device_clock().spin)
        found = profile_program(program, step, steps, clock, phases)
        return replace(found, phases=medians(self.phase_seconds(steps)))

    def phase_seconds(self, steps: int) -> Mapping[str, tuple[float, ...]]:
        """Device time of forward, backward and update, launched one by one; see the contract."""
        program = self._compiled()
        phases = launch_phases(program, self._result_count())
        if len(set(phases)) < 2:
            return {}
        launch = program.captured.launch
        self._has_run = True
        marks = DeviceMarks(self.device_clock(), timed_seconds(launch, self._driver.synchronize))
        return time_phases(program, phases, launch, steps, marks)

    def device_memory(self) -> DeviceMemory:
        """The blocks of all programs, variables and constants, and the rest of the card."""
        session = self._open_session()
        state = session.state
        held = sum(each.memory_bytes for each in session.programs if isinstance(each, CudaProgram))
        held += state.variable_bytes + state.constant_bytes
        return memory_of(self._driver, held)

    def _compiled(self) -> CudaProgram:
        if self._program is None:
            raise RuntimeError("the runner expected compile() first")
        return self._program

    def close(self) -> None:
        """Let go of the session and its memory."""
        super().close()
        self._program, self._clock = None, None
