"""What the harness may touch of an engine, and what an engine may touch of a workload.

An engine is found through the entry-point group `benchctl.engines`; the value is a factory without
arguments that returns an `Engine`. Importing the module of a factory must be cheap: a framework is
imported when `prepare` is called, never when engines are listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Case = Mapping[str, Any]
"""The axis values of one case, by axis name, in the order of the workload's axes."""

Paradigm = Literal["static", "eager", "manual", "peer"]
Step = Literal["forward", "gradient", "training"]
Precision = Literal["fp32", "tf32", "fp16", "bf16"]
"""How float32 is computed and stored: strictly; with the factors of products rounded to 10 bits; or
stored in 16 bits, binary16 or bfloat16, with products summed in float32."""
TensorKind = Literal["input", "parameter", "constant", "counter", "result"]
Objectives = Mapping[str, tuple[str, ...]]
"""By the name of a scalar among a program's values, the parameters that it trains."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether something can run here, and if not, what is missing and what to do about it."""

    ok: bool
    reason: str = ""
    hint: str = ""


AVAILABLE = Availability(True)


@dataclass(frozen=True, slots=True)
class Switch:
    """One setting of an engine that a user may change: `--engine static:fuse_elementwise=off`.

    `device` is the kind of device ("gpu") that it is for, empty where it is for all.
    """

    default: str
    values: tuple[str, ...]
    description: str
    device: str = ""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Everything a run decides for an engine; engines read no environment variables.

    `threads` is what the harness also sets for BLAS and Numba in the worker's environment; a
    caller who uses an engine directly sets those pools as their own libraries ask.

    `device` is "cpu", "gpu" or "gpu:N"; `precision` is another than "fp32" on a GPU only.

    `cache_directory` is where compiled kernels are kept; None means the engine's own default.

    `own_random` lets a framework draw random numbers with its own generator, as its users do: so
    it is when its steps are timed. When they are checked it draws those of the vocabulary.
    """

    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    switches: Mapping[str, str] = field(default_factory=dict)
    cache_directory: str | None = None
    precision: Precision = "fp32"
    own_random: bool = False


@dataclass(frozen=True, slots=True)
class RunnerFacts:
    """What an engine says of a prepared case, once it has run.

    `kernels` names every kernel in use in launch order; `notes` are sentences for the user, such
    as a pass that could not apply: the first of an adapter to a framework says on what it runs, the
    others how it was set. `counts` are exact figures (launches, graph_nodes, arena_bytes,
    pool_peak_bytes, bytes_moved, ...); `source` is generated code to show under `explain`.
    """

    kernels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, slots=True)
class LaunchTime:
    """One kernel call of a step.

    `seconds` is the median over the profiled steps, `start_seconds` when the call began in the
    last of them. `flops` are those of the definition: a convolution counts as the direct sum,
    whatever computes it. `bytes_moved` counts every operand and result once. `phase` is "forward",
    "backward" or "update", empty where it is not told.
    """

    kernel: str
    shapes: str
    seconds: float
    start_seconds: float
    flops: int
    bytes_moved: int
    origin: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True)
class StepProfile:
    """Where a step's time goes; `step_seconds` is its median without any clock inside.

    `phases` are the seconds of forward, backward and update where a step has more than one.
    """

    step_seconds: float
    launches: tuple[LaunchTime, ...]
    phases: Mapping[str, float] = field(default_factory=dict)


class Program(Protocol):
    """The part of a workload that an engine needs."""

    @property
    def name(self) -> str:
        """The workload's name."""

    def step(self, case: Case) -> Step:
        """What one step is."""

    def differentiate(self, case: Case) -> tuple[str, ...]:
        """Names of the inputs and parameters whose gradients a `gradient` step returns."""

    def learning_rate(self, case: Case) -> float:
        """Step size of the plain SGD update of a `training` step; see `UpdatingProgram`."""

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        """Compute the outputs with the vocabulary `ops` alone."""

    def by_hand(self, case: Case) -> ByHand | None:
        """The hand-written NumPy step, or None where the author wrote none."""


@dataclass(slots=True)
class Outputs:
    """What a program computes, as handles of the engine that ran it.

    Not frozen: an eager step makes one each time, and freezing costs more than an operation.

    `values` are returned by every step under their names. `objective` is what a gradient or
    training step differentiates; where it is no scalar, `seed` is its cotangent (same shape).
    `updates` are new values of parameters that the training step of an `UpdatingProgram` assigns
    when it ends, such as moving averages.
    """

    values: Mapping[str, Any]
    objective: Any = None
    seed: Any = None
    updates: Mapping[str, Any] | None = None


@runtime_checkable
class UpdatingProgram(Protocol):
    """A program that states the updates of a training step itself; others get plain SGD.

    Whatever a step keeps for the next, such as the velocities of an optimizer, is a parameter that
    no objective trains.
    """

    def objectives(self, case: Case) -> Objectives | None:
        """What each objective trains; None where the case is content with plain SGD."""

    def update(
        self, ops: Any, parameters: Mapping[str, Any], gradients: Mapping[str, Any], case: Case
    ) -> Mapping[str, Any]:
        """New values of parameters by name, computed with `ops` from the old ones.

        `gradients` has one for each trained parameter. A parameter without a new value stays.
        """


@runtime_checkable
class FedProgram(Protocol):
    """A program whose every step takes the next batch of a feed; others keep a round's inputs.

    Taking a batch and loading it belongs to the timed step. Of the threads of a run one is left to
    the feed, whether it uses it or not.
    """

    def feed(self, case: Case, rng: np.random.Generator) -> Iterator[Mapping[str, Array]]:
        """Batches without end, the first as `inputs` gives it from the same generator.

        An iterator with a method `close` is closed.
        """


class UpdateError(ValueError):
    """Updates that do not fit the parameters of a program."""


def objectives_of(workload: Program, case: Case) -> Objectives | None:
    """The objectives of a training step, None where it is plain SGD or no training step.

    Raises `UpdateError` where two objectives train one parameter.
    """
    stated = getattr(workload, "objectives", None)
    if stated is None or workload.step(case) != "training":
        return None
    objectives: Objectives | None = stated(case)
    if objectives is None:
        return None
    trainer: dict[str, str] = {}
    for objective, names in objectives.items():
        for name in names:
            if name in trainer:
                raise UpdateError(
                    f"objectives expected each parameter under one objective, received {name!r} "
                    f"under {trainer[name]!r} and {objective!r}; train it by their sum"
                )
            trainer[name] = objective
    return objectives


def new_parameters(
    from_program: Mapping[str, Any] | None,
    from_update: Mapping[str, Any],
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """The new values of a step: `Outputs.updates` and those of `update`.

    Raises `UpdateError` on a name that is no parameter's or comes twice, and on another shape.
    """
    given = from_program or {}
    for name in given:
        if name in from_update:
            raise UpdateError(
                f"a step expected one new value of each parameter, received two of {name!r}: "
                "one in Outputs.updates and one from update; leave one out"
            )
    found = {**given, **from_update}
    for name, value in found.items():
        old = parameters.get(name)
        if old is None:
            raise UpdateError(
                f"a step expected new values of its parameters, received one of {name!r}; "
                f"the parameters are {', '.join(parameters) or 'none'}"
            )
        if tuple(value.shape) != tuple(old.shape):
            raise UpdateError(
                f"the new value of {name!r} expected shape {tuple(old.shape)}, "
                f"received {tuple(value.shape)}; an update may not change a parameter's shape"
            )
    return found


def refuse_updates(outputs: Outputs) -> None:
    """Raise `UpdateError` where a plain training step was given updates of its own."""
    if outputs.updates:
        raise UpdateError(
            f"Outputs.updates gives new values of {', '.join(outputs.updates)}, and the program "
            "states no objectives, so that nothing would assign them; define objectives(case)"
        )


class ByHand(Protocol):
    """A hand-written step: NumPy arrays in, NumPy arrays out, no engine in between.

    Returns the same names as an engine: the values; for a gradient step also `grad_<name>`; a
    training step changes `parameters` in place.
    """

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]: ...


class Runner(Protocol):
    """One case, prepared on one engine. The harness calls build, compile, then step many times."""

    def build(self) -> None:
        """Make whatever exists before the first step: graph, tensors, variables."""

    def compile(self) -> None:
        """Optimise and compile; nothing to do for an engine that compiles nothing."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Take the inputs of the next steps (host arrays; timed for a `FedProgram` only)."""

    def step(self) -> None:
        """Do one step, results computed when it returns."""

    def outputs(self) -> dict[str, Array]:
        """Results of the last step by name, as host arrays.

        Values of the program; `grad_<name>` in a gradient step; `parameter/<name>` (the updated
        parameters) in a training step.
        """

    def facts(self) -> RunnerFacts:
        """Kernels in use and exact counts."""

    def close(self) -> None:
        """Release memory and threads."""


@dataclass(frozen=True, slots=True)
class DeviceFinding:
    """One piece that a device needs, what was found of it, and what helps unless it is "ok"."""

    piece: str
    status: Literal["ok", "warn", "missing"]
    found: str
    hint: str = ""


@runtime_checkable
class DiagnosedEngine(Protocol):
    """An engine that can say what a GPU lacks, piece by piece; others need not."""

    def gpu_findings(self) -> tuple[DeviceFinding, ...]:
        """What is there and what is missing; nothing is changed."""


@runtime_checkable
class ProfiledRunner(Protocol):
    """A runner that can tell the time of each kernel call; others need not."""

    def profile(self, steps: int) -> StepProfile:
        """Run steps with a clock around every kernel call."""


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """One array of a step: what is fed, kept or computed.

    `layout` is that of an image, "NCHW" or "NHWC", empty for others. `value` is the number of a
    scalar constant. `buffer` is the place in `GraphView.buffers` of what lies in the arena, -1 for
    others.
    """

    name: str
    kind: TensorKind
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    layout: str = ""
    value: str = ""
    buffer: int = -1


@dataclass(frozen=True, slots=True)
class GraphOperation:
    """One operation of a step, and the kernel call that it became once it was compiled.

    `inputs` and `outputs` are names of tensors. `parts` are the operations that this one does, in
    order: more than one where it was fused. `gradient` tells that taking gradients recorded it.
    `changes` is the parameter that it changes in place, and `workspace` the place of its scratch in
    `GraphView.buffers`, -1 without any.
    """

    name: str
    primitive: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parts: tuple[str, ...]
    kernel: str = ""
    origin: str = ""
    gradient: bool = False
    changes: str = ""
    workspace: int = -1


@dataclass(frozen=True, slots=True)
class GraphBuffer:
    """A span of the arena, in use from operation `first` to operation `last`, both included."""

    offset_bytes: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class GraphView:
    """The graph of a step as plain data.

    `operations` are in an order in which they can run, that of the launches once compiled.
    `outputs` has the tensor of each of the program's results by name.
    """

    tensors: tuple[GraphTensor, ...]
    operations: tuple[GraphOperation, ...]
    outputs: Mapping[str, str]
    buffers: tuple[GraphBuffer, ...] = ()
    arena_bytes: int = 0


@dataclass(frozen=True, slots=True)
class StepGraphs:
    """A step as it was recorded, cut down to what it returns, and as it was compiled."""

    before: GraphView
    after: GraphView


@runtime_checkable
class GraphRunner(Protocol):
    """A runner that makes a graph of a step; others need not."""

    def graphs(self) -> StepGraphs:
        """The graph of the step that was built, and of the one that runs."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a device's sensors say; None where they do not tell.

    What was measured under a `spoiling` reason is thrown away, under a `marking` one labelled.
    `energy_joules` counts from some moment on; only differences mean anything.
    """

    clock_hertz: float | None = None
    default_clock_hertz: float | None = None
    temperature_celsius: float | None = None
    spoiling: tuple[str, ...] = ()
    marking: tuple[str, ...] = ()
    power_watts: float | None = None
    energy_joules: float | None = None


class DeviceMark(Protocol):
    """A place in the order of a device's work."""

    def seconds_since(self, earlier: Any) -> float:
        """Device time between two marks that were reached."""


class DeviceClock(Protocol):
    """Time as a device keeps it, and what a measurement puts around a step.

    `mark`, `spin` and `flush` return before the device has done anything.
    """

    def mark(self) -> DeviceMark:
        """A mark behind everything issued so far."""

    def spin(self, seconds: float) -> None:
        """Keep the device busy for about this long, without touching memory."""

    def flush(self) -> None:
        """Fill the device's cache with other data, so that the next step finds it cold."""

    def synchronize(self) -> None:
        """Wait until everything issued is done."""

    def state(self) -> DeviceState:
        """What the device's sensors say now."""


@runtime_checkable
class AsynchronousRunner(Protocol):
    """A runner whose step is issued to a device that works on its own; others need not.

    `step` is `issue` and then `synchronize` of its clock.
    """

    def issue(self) -> None:
        """Issue one step; it may not be done when this returns."""

    def device_clock(self) -> DeviceClock:
        """The clock of the device that the steps are issued to."""

    def replays(self) -> bool:
        """Whether `issue` is one launch that replays a recorded step."""


@runtime_checkable
class WaitingRunner(Protocol):
    """An asynchronous runner that knows whether the host waits within a step; others need not."""

    def waits(self) -> str:
        """What a step waits for before all of it is issued, in words; empty where nothing."""


@runtime_checkable
class PhasedRunner(Protocol):
    """A runner on a device that can tell the phases of a step apart; others need not."""

    def phase_seconds(self, steps: int) -> Mapping[str, tuple[float, ...]]:
        """Device time of "forward", "backward" and "update", one figure a step.

        Runs `steps` steps, launched one by one where a step is usually replayed. Empty where a
        step has one phase only.
        """


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """What a GPU does at best, measured on it.

    `gemm_flops_per_second` is that of a large matrix product, by precision, a
    multiplication and an addition counted each; `copy_bytes_per_second` counts bytes read and bytes
    written.
    """

    name: str
    gemm_flops_per_second: Mapping[str, float]
    copy_bytes_per_second: float


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of a GPU in bytes: what the runner holds, what is free on the card, what it has.

    `process_bytes` is what this process holds of the card, its context and libraries included, None
    where the card does not tell.
    """

    held_bytes: int
    free_bytes: int
    total_bytes: int
    process_bytes: int | None = None


@runtime_checkable
class LimitedEngine(Protocol):
    """An engine that can measure what a GPU does at best; others need not."""

    def device_limits(self, device: str) -> DeviceLimits:
        """The limits of "gpu" or "gpu:N", measured now; takes about a second."""


@runtime_checkable
class DeviceMemoryRunner(Protocol):
    """A runner that can tell how full the memory of its GPU is; others need not."""

    def device_memory(self) -> DeviceMemory:
        """What is held and what is free now."""


@runtime_checkable
class Engine(Protocol):
    """One way to compute a workload."""

    name: str
    paradigm: Paradigm

    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that decide this engine's speed, by name."""

    def availability(self, device: str) -> Availability:
        """Whether the engine can run on `device` ("cpu", "gpu" or "gpu:N") of this machine."""

    def supports(self, workload: Program, case: Case) -> Availability:
        """Whether the engine can run this case at all."""

    def switches(self) -> Mapping[str, Switch]:
        """The settings a user may change."""

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> Runner:
        """Make a runner; the runner may keep and change the arrays of `parameters`."""


COMMON_PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32")
"""What an engine computes in on a GPU that says nothing of it."""


def precision_availability(engine: Engine, precision: str) -> Availability:
    """Whether an engine computes at a precision on a GPU.

    Its attribute `precisions` says so.
    """
    known: tuple[Precision, ...] = getattr(engine, "precisions", COMMON_PRECISIONS)
    if precision in known:
        return AVAILABLE
    return Availability(
        False,
        f"the engine {engine.name} does not compute in {precision}",
        f"choose --precision {' or '.join(known)} for it, or another engine",
    )


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A step of a case as the content of an ONNX file.

    `inputs` and `outputs` are the names in the file by those of the contract; a training step takes
    its parameters as inputs too. `operations` is the operation of each node.
    """

    content: bytes
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    operations: tuple[str, ...]
    opset: int
    ir_version: int


@runtime_checkable
class ModelProgram(Protocol):
    """A program that comes from an ONNX file: runtimes that read such files are given that file."""

    def model_file(self, case: Case) -> ModelFile:
        """The file, with the sizes of the case where it leaves them open."""


@runtime_checkable
class ModelEngine(Protocol):
    """An engine that can write a step as an ONNX model, and run one; others need not.

    Both raise `ValueError` with what to do as its `hint` where they cannot.
    """

    def export_model(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
    ) -> ModelFile:
        """One step of a case, checked to be valid."""

    def run_model(
        self, content: bytes, inputs: Mapping[str, Array], threads: int
    ) -> dict[str, Array]:
        """The outputs of one run by their names in the file; inputs it has not are ignored."""


def as_float64(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays with floating dtypes widened to float64, others as they are."""
    return {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }
