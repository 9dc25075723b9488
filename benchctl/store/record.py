"""The record of a run: what was planned, where, and every sample that was taken.

Only raw facts are stored; medians, intervals and verdicts are recomputed by benchctl.compare.
Times are seconds in these classes and integer nanoseconds in the file; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

SCHEMA = "benchctl.run/1"

STRICT = "fp32"
"""The precision of an arm that says nothing of it: products of float32 are computed as such."""

STEP_PHASES = ("forward", "backward", "update")
"""What a step does, in this order; a forward step has the first alone."""

TOLERANCE_FACTORS = {STRICT: 1.0, "tf32": 100.0, "fp16": 1000.0, "bf16": 8000.0}
"""How much further from float64 a result may be than one of strict float32, by precision."""

ArmStatus = Literal[
    "ok",  # measured
    "planned",  # nothing measured yet
    "unavailable",  # device or engine missing, or the engine cannot run the case
    "wrong",  # outputs differ from the reference: not timed
    "crashed",  # the worker ended or raised an error
    "timeout",  # the worker did not answer in time
]


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """One engine on one device with its switches; `id` is unique within a run.

    The id reads `static`, `static:entry=callable`, `eager@gpu`, `eager@gpu:1/tf32`, `static~base`.
    `subject` names the revision of the code that runs, where a plan compares revisions
    (`benchctl.plan.subjects`). `precision` is how float32 is computed and stored: "fp32", or on a
    GPU "tf32", "fp16" or "bf16", and then the id says so too.
    """

    id: str
    engine: str
    device: str = "cpu"
    switches: Mapping[str, str] = field(default_factory=dict)
    subject: str = ""
    precision: str = STRICT


@dataclass(frozen=True, slots=True)
class CaseSpec:
    """One workload with its axis values; `id` reads `xyz[expression=product,size=3x4]`.

    `workload` is a registered name or the path of the user's file. `title` is for headings.
    `flops`, `bytes_moved` and `parameter_count` are those of the workload's `cost`.
    """

    id: str
    workload: str
    parameters: Mapping[str, str | int | float]
    title: str = ""
    step: str = "forward"
    flops: int = 0
    bytes_moved: int = 0
    parameter_count: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run set out to measure."""

    cases: tuple[CaseSpec, ...]
    arms: tuple[ArmSpec, ...]
    rounds: int
    seed: int
    threads: int
    reference_arm: str
    suite: str = ""
    budget_seconds: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds from the start of a worker to its first result; None where not measured.

    `cache` is "cold" (compiled-kernel cache empty) or "warm".
    """

    cache: str
    import_seconds: float | None = None
    build_seconds: float | None = None
    compile_seconds: float | None = None
    first_run_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """One output compared with the float64 reference.

    `max_error` is the worst absolute difference, `allowed` what the tolerance permits, `where` the
    index of the worst element, `equals` the name of a suspect that the output matches instead.
    `absolute` says that the workload allows an absolute difference alone: what that is to the
    largest value means nothing.
    """

    output: str
    ok: bool
    max_error: float
    allowed: float
    relative_error: float
    where: tuple[int, ...] = ()
    equals: str = ""
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Verification:
    """All outputs of one arm compared with the reference; `reference` says what that was."""

    ok: bool
    checks: tuple[OutputCheck, ...]
    reference: str = "float64"

    @property
    def worst_relative_error(self) -> float:
        """The largest relative error over the outputs that are judged by one, and wrong ones."""
        told = [check for check in self.checks if not (check.absolute and check.ok)]
        return max((check.relative_error for check in told or self.checks), default=0.0)


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory of a worker, bytes.

    `resident_above_import` is the resident-set peak above its level after import; `engine_peak` is
    the engine's own arena or pool peak, None where it keeps none. `on_device` is the most that the
    process held of a GPU's memory when looked at, its context and libraries included.
    """

    resident_above_import: int | None = None
    engine_peak: int | None = None
    on_device: int | None = None

    @classmethod
    def largest(cls, found: Sequence[Memory]) -> Memory:
        """The largest of each peak, None where no one tells it."""

        def most(sizes: Iterable[int | None]) -> int | None:
            return max((size for size in sizes if size is not None), default=None)

        return cls(
            most(each.resident_above_import for each in found),
            most(each.engine_peak for each in found),
            most(each.on_device for each in found),
        )


@dataclass(frozen=True, slots=True)
class DeviceTimes:
    """What a step takes on a device that works on its own, in seconds, one sample each.

    `cold` and `warm` are device time between two marks, issued behind a spinning kernel, with the
    device's cache flushed before or not; `wall` is issue and synchronisation on an idle, warm
    device; `issue` is the host's part alone; `replay` is one of many recorded steps in a row, none
    where a step is no recording. `copy_in` is what bringing a step's inputs to the device took, no
    part of a step. `marks` are sentences on what disturbed them. `phases` has device time of
    "forward", "backward" and "update", launched one by one, where a step has several.
    """

    cold: tuple[float, ...] = ()
    warm: tuple[float, ...] = ()
    wall: tuple[float, ...] = ()
    issue: tuple[float, ...] = ()
    replay: tuple[float, ...] = ()
    marks: tuple[str, ...] = ()
    phases: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    copy_in: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class EnergyUse:
    """What steady steps on a GPU cost in energy, one figure a block of at least five seconds.

    `source` is "counter" (the card's own) or "sampled power"; `idle_watts` what the card takes
    before the first block. `problem` says why there are no figures.
    """

    joules_per_step: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()
    idle_watts: float | None = None
    source: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ArmRound:
    """The samples of one arm in one round: `seconds` per step, each averaged over `loops` steps."""

    round: int
    seconds: tuple[float, ...]
    loops: int
    steady: bool = True
    position: int = 0
    """Place of the arm in the round's order, 0 first."""
    process: int = 0
    """How many workers of this arm came before: samples of one process share its luck."""
    device: DeviceTimes | None = None
    """Of an arm on a device with a clock of its own; None for the others."""


@dataclass(frozen=True, slots=True)
class ArmResult:
    """Everything measured of one arm of one case."""

    arm: ArmSpec
    status: ArmStatus = "planned"
    message: str = ""
    hint: str = ""
    verification: Verification | None = None
    phases: tuple[Phases, ...] = ()
    memory: Memory = Memory()
    kernels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    rounds: tuple[ArmRound, ...] = ()
    energy: EnergyUse | None = None
    """Of an arm on a GPU, where it was asked for."""

    def phases_with(self, cache: str) -> Phases | None:
        """The phases measured with a "cold" or "warm" cache."""
        return next((each for each in self.phases if each.cache == cache), None)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case with its arms, in the plan's order."""

    case: CaseSpec
    arms: tuple[ArmResult, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One stored run.

    `machine` holds the stable facts (its `id` is their short hash), `environment` the volatile
    ones (load, environment variables, threads), `versions` and `git` the software's.
    """

    run_id: str
    started_utc: str
    plan: Plan
    machine: Mapping[str, Any]
    environment: Mapping[str, Any]
    versions: Mapping[str, str]
    git: Mapping[str, Any]
    command: tuple[str, ...]
    cases: tuple[CaseResult, ...]
    complete: bool
    path: Path | None = None
