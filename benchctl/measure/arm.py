"""One arm of one case: its workers, one after another, and what they told."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchctl.measure.clock import NANOSECONDS, Clock, seconds_since
from benchctl.measure.planted import SLOWDOWN
from benchctl.measure.protocol import ArmFailure, Message, read_verification
from benchctl.measure.settings import (
    MeasureSettings,
    interpreter_environment,
    subject_environment,
    worker_environment,
)
from benchctl.measure.worker_client import Launch, Worker, request
from benchctl.plan.interpreters import interpreter_of
from benchctl.plan.order import round_seed
from benchctl.plan.planted import planted_share
from benchctl.plan.schedule import FRAMEWORKS
from benchctl.plan.subjects import subject_of
from benchctl.store.record import (
    STRICT,
    ArmResult,
    ArmRound,
    ArmSpec,
    CaseSpec,
    DeviceTimes,
    EnergyUse,
    Memory,
    Phases,
    Plan,
)

ENGINE_PEAK_COUNTS = ("arena_bytes", "pool_peak_bytes")
"""Counts of an engine that are its own memory peak, the first that it gives."""


@dataclass(frozen=True, slots=True)
class CaseContext:
    """What all arms of one case share."""

    plan: Plan
    case: CaseSpec
    settings: MeasureSettings
    launch: Launch
    clock: Clock

    @property
    def threads(self) -> int:
        """The threads that engines get."""
        return self.settings.threads or self.plan.threads

    def input_seed(self, round_number: int) -> int:
        """The seed of a round's inputs; the reference takes those of round 0."""
        return round_seed(self.plan.seed, self.case.id, round_number)

    def environment(self, cache: Path, arm: ArmSpec) -> dict[str, str]:
        """The environment of a worker that keeps compiled kernels in `cache`."""
        found = worker_environment(self.settings, self.threads, cache)
        if share := planted_share(self.plan, self.case, arm):
            found[SLOWDOWN] = str(share)
        if interpreter := interpreter_of(self.plan, arm):
            found = interpreter_environment(interpreter, found)
        return self._with_subject(found, arm)

    def reference_environment(self, arm: ArmSpec) -> dict[str, str]:
        """The environment in which the reference of the subject of `arm` is computed."""
        found = worker_environment(self.settings, self.threads, self.settings.cache_folder)
        return self._with_subject(found, arm)

    def _with_subject(self, environment: dict[str, str], arm: ArmSpec) -> dict[str, str]:
        subject = subject_of(self.plan, arm)
        return environment if subject is None else subject_environment(subject, environment)

    def arrays(self, round_number: int) -> dict[str, Any]:
        """The fields of a request that name the case and its arrays."""
        return {
            "workload": self.case.workload,
            "case": dict(self.case.parameters),
            "parameter_seed": self.plan.seed,
            "input_seed": self.input_seed(round_number),
        }


class ArmRun:
    """The life of an arm: checked once, then measured by one warm worker after another.

    Every method that talks to a worker raises `ArmFailure`.
    """

    def __init__(self, context: CaseContext, result: ArmResult) -> None:
        self.result = result
        self.has_started = False
        self.start_seconds = 0.0
        self.measured_seconds = 0.0
        self.rounds_in_process = 0
        self.peak_bytes = result.memory.resident_above_import or 0
        self.device_memory: Message | None = None
        self._process = max((each.process for each in result.rounds), default=-1) + 1
        self._context = context
        self._settings = context.settings
        self._worker: Worker | None = None
        self._start_ns = 0
        self._import_seconds = 0.0
        self._start_phases: Phases | None = None

    @property
    def id(self) -> str:
        """The arm's id."""
        return self.result.arm.id

    @property
    def running(self) -> bool:
        """Whether it has a worker."""
        return self._worker is not None

    def fail(self, failure: ArmFailure) -> None:
        """End the worker and keep why; what was measured before stays."""
        self.kill()
        self.result = replace(
            self.result,
            status=failure.status,
            message=failure.message,
            hint=failure.hint,
            notes=(*self.result.notes, *failure.notes),
        )

    # The check ---------------------------------------------------------------------------

    def check(self, reference: Path | None) -> None:
        """Run the first step in a worker of its own and compare its outputs with `reference`.

        With the setting `cold` that worker finds no compiled kernels, and its phases are kept.
        """
        if not self._settings.cold:
            self._check_with_cache(self._settings.cache_folder, reference)
            return
        with tempfile.TemporaryDirectory(prefix="benchctl-cold-") as cache:
            phases = self._check_with_cache(Path(cache), reference)
        self._keep_phases(replace(phases, cache="cold"))

    def _check_with_cache(self, cache: Path, reference: Path | None) -> Phases:
        self.launch(cache)
        try:
            self.wait_import(cache, timed=False)
            phases = self.wait_prepare()
            memory = self._request("memory", self._settings.sample_timeout_seconds)
            self.peak_bytes = memory["peak_bytes"]
            self.device_memory = memory.get("device")
            if reference is not None:
                self._compare(reference)
        except BaseException:
            self.kill()
            raise
        self.stop()
        self.result = replace(self.result, status="ok", message="", hint="")
        return phases

    def _compare(self, reference: Path) -> None:
        found = self._request(
            "check", self._settings.prepare_timeout_seconds, folder=str(reference)
        )
        verification = read_verification(found["verification"])
        self.result = replace(self.result, verification=verification)
        if not verification.ok:
            from benchctl.measure.verification import join_problems

            raise ArmFailure("wrong", join_problems(tuple(found["problems"])))

    # Workers -----------------------------------------------------------------------------

    def launch(self, cache: Path) -> None:
        """Start a worker and let it import the engine; `wait_import` comes next."""
        context = self._context
        self._start_ns = context.clock.now_ns()
        arm = self.result.arm
        self._worker = context.launch(context.environment(cache, arm))
        timeout_seconds = self._settings.import_timeout_seconds
        interpreter = interpreter_of(context.plan, arm)
        engine = arm.engine if interpreter is None else interpreter.engine
        self._worker.post("import", timeout_seconds, engine=engine, device=arm.device)

    def wait_import(self, cache: Path, round_number: int = 0, *, timed: bool = True) -> None:
        """Let the worker prepare the case; `wait_prepare` comes next.

        Not `timed` are steps whose outputs are compared with a reference.
        """
        worker = self._require_worker()
        imported = worker.wait()
        self._import_seconds = float(imported["import_seconds"])
        self.result = replace(self.result, versions=imported["versions"])
        context, arm = self._context, self.result.arm
        worker.post(
            "prepare",
            self._settings.prepare_timeout_seconds,
            **context.arrays(round_number),
            options={
                "device": arm.device,
                "threads": context.threads,
                "seed": context.plan.seed,
                "switches": dict(arm.switches),
                "cache_directory": str(cache),
                # Left out where it is the default: engines of another revision may not know it.
                **({"precision": arm.precision} if arm.precision != STRICT else {}),
                **({"own_random": True} if timed and self._is_framework() else {}),
            },
        )

    def _is_framework(self) -> bool:
        """Whether the engine is a framework, and of this revision."""
        plan, arm = self._context.plan, self.result.arm
        return arm.engine in plan.settings.get(FRAMEWORKS, ()) and subject_of(plan, arm) is None

    def wait_prepare(self) -> Phases:
        """The phases of the worker up to its first step."""
        prepared = self._require_worker().wait()
        return Phases(
            cache="warm",
            import_seconds=self._import_seconds + prepared["import_seconds"],
            build_seconds=prepared["build_seconds"],
            compile_seconds=prepared["compile_seconds"],
            first_run_seconds=prepared["first_run_seconds"],
        )

    def wait_prepare_and_suspend(self) -> None:
        """Wait for the first step, then stop the worker's threads until `warm_up`."""
        self._start_phases = self.wait_prepare()
        self._require_worker().suspend()

    def keep_warm_start(self) -> None:
        """Keep the phases of the first warm worker, and what the engine says of itself."""
        worker = self._require_worker()
        if self.result.phases_with("warm") is None and self._start_phases is not None:
            self._keep_phases(self._start_phases)
        worker.resume()
        self._keep_facts()
        worker.suspend()
        self.has_started = True
        self.result = replace(self.result, status="ok")

    def warm_up(self) -> None:
        """Run steps until they are steady, then suspend."""
        worker = self._require_worker()
        worker.resume()
        self._request(
            "warm_up", self._settings.sample_timeout_seconds, rule=asdict(self._settings.warm_up)
        )
        worker.suspend()
        self.start_seconds = seconds_since(self._context.clock, self._start_ns)
        self.measured_seconds = 0.0
        self.rounds_in_process = 0

    def restart_is_due(self) -> bool:
        """Whether this worker has done its rounds, and a new one costs little enough."""
        settings = self._settings
        if self.rounds_in_process < settings.restart_every:
            return False
        if self.start_seconds <= settings.cheap_start_seconds:
            return True
        share = settings.restart_share
        return self.start_seconds * (1.0 - share) <= self.measured_seconds * share

    def measure_round(self, round_number: int, position: int) -> ArmRound:
        """The samples of one round; all other arms are suspended."""
        worker = self._require_worker()
        start_ns = self._context.clock.now_ns()
        timeout_seconds = self._settings.sample_timeout_seconds
        worker.resume()
        self._request("load", timeout_seconds, seed=self._context.input_seed(round_number))
        taken = self._request(
            "sample",
            timeout_seconds,
            warm_up_rule=asdict(self._settings.later_warm_up),
            rule=asdict(self._settings.sample),
        )
        worker.suspend()
        self.measured_seconds += seconds_since(self._context.clock, start_ns)
        self.rounds_in_process += 1
        loops = int(taken["loops"])
        return ArmRound(
            round=round_number,
            seconds=tuple(each / (loops * NANOSECONDS) for each in taken["nanoseconds"]),
            loops=loops,
            steady=taken["steady"],
            position=position,
            process=self._process,
            device=_read_device_times(taken.get("device")),
        )

    def measure_energy(self) -> None:
        """What steady steps cost in energy, after `warm_up`."""
        rule = self._settings.energy_rule
        worker = self._require_worker()
        worker.resume()
        seconds = self._settings.sample_timeout_seconds + 2 * rule.blocks * rule.block_seconds
        found = self._request("energy", seconds, rule=asdict(rule))
        worker.suspend()
        lists = {name: tuple(each) for name, each in found.items() if isinstance(each, list)}
        self.result = replace(self.result, energy=EnergyUse(**{**found, **lists}))

    def finish_worker(self) -> None:
        """Ask the worker for its memory, then end it."""
        worker = self._require_worker()
        worker.resume()
        self._keep_memory()
        self.stop()

    def stop(self) -> None:
        """End the worker; the next is another process."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.stop(self._settings.stop_timeout_seconds)
        if self.rounds_in_process:
            self._process += 1
            self.rounds_in_process = 0

    def kill(self) -> None:
        """End the worker now, whatever it does."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()

    def facts(self) -> Message:
        """What the engine says of the prepared case."""
        return self._request("facts", self._settings.sample_timeout_seconds)

    def profile(self, steps: int) -> Message:
        """Where the time of steady steps goes: `step_seconds`, `launches` and `phases`."""
        seconds = self._settings.sample_timeout_seconds
        self._request("warm_up", seconds, rule=asdict(self._settings.warm_up))
        return self._request("profile", seconds, steps=steps)

    def device_limits(self) -> Message:
        """What the arm's GPU does at best, as its engine measures it; nothing where it cannot."""
        seconds = self._settings.sample_timeout_seconds
        return self._request("device_limits", seconds, device=self.result.arm.device)

    def graphs(self) -> Message:
        """The graphs of the step; see `benchctl.measure.graph_message`."""
        return self._request("graphs", self._settings.sample_timeout_seconds)

    def save_outputs(self, folder: Path) -> None:
        """Write the outputs of the first step to files."""
        seconds = self._settings.prepare_timeout_seconds
        self._request("save_outputs", seconds, folder=str(folder))

    def difference(self, folder: Path) -> float:
        """The largest relative difference of the outputs from those in `folder`."""
        seconds = self._settings.prepare_timeout_seconds
        return float(self._request("difference", seconds, folder=str(folder))["difference"])

    # Parts -------------------------------------------------------------------------------

    def _require_worker(self) -> Worker:
        assert self._worker is not None, "a request needs a worker"
        return self._worker

    def _request(self, op: str, timeout_seconds: float, **fields: Any) -> Message:
        return request(self._require_worker(), op, timeout_seconds, **fields)

    def _keep_phases(self, phases: Phases) -> None:
        others = tuple(each for each in self.result.phases if each.cache != phases.cache)
        self.result = replace(self.result, phases=(*others, phases))

    def _keep_facts(self) -> None:
        facts = self.facts()
        self.result = replace(
            self.result,
            kernels=tuple(facts["kernels"]),
            notes=tuple(facts["notes"]),
            counts=facts["counts"],
        )

    def _keep_memory(self) -> None:
        """The largest peaks over all warm workers, and what they held of a GPU when they ended."""
        memory = self._request("memory", self._settings.sample_timeout_seconds)
        self._keep_facts()
        found = Memory(
            memory["above_import_bytes"],
            _engine_peak_bytes(self.result.counts),
            (memory.get("device") or {}).get("process_bytes"),
        )
        self.result = replace(self.result, memory=Memory.largest([self.result.memory, found]))


def _read_device_times(message: Message | None) -> DeviceTimes | None:
    """Device times that have travelled."""
    if message is None:
        return None
    lists = {name: tuple(values) for name, values in message.items() if name != "phases"}
    phases = {name: tuple(values) for name, values in message.get("phases", {}).items()}
    return DeviceTimes(**lists, phases=phases)


def _engine_peak_bytes(counts: Mapping[str, int]) -> int | None:
    return next((counts[name] for name in ENGINE_PEAK_COUNTS if name in counts), None)
