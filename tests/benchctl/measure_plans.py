"""Plans of fake arms, and an observer that remembers, for the tests of benchctl.measure."""

from __future__ import annotations

import sys
from pathlib import Path

from benchctl.measure.clock import VirtualClock
from benchctl.measure.fake import FAKE_ENGINE, FAKE_WORKLOAD, FakeEngine
from benchctl.measure.observer import SilentObserver
from benchctl.measure.settings import MeasureSettings
from benchctl.measure.worker_client import LocalWorker
from benchctl.store.journal import Journal
from benchctl.store.record import ArmResult, ArmSpec, CaseSpec, Plan, Run

QUICK = {
    "warm_up": {"min_steps": 3, "min_seconds": 0.01, "limit_seconds": 0.2},
    "sample": {"min_sample_seconds": 0.002, "round_seconds": 0.006, "max_samples": 3},
}
"""Plan settings under which a real worker's round takes little time."""

QUICK_PROCESSES = {
    "warm_up": {"min_seconds": 0.02, "limit_seconds": 5.0},
    "sample": {"min_sample_seconds": 0.005, "round_seconds": 0.03},
}
"""Settings for steps of two milliseconds, that nothing has to warm up, in a process a round."""


def fake_arm(name: str, **switches: object) -> ArmSpec:
    return ArmSpec(name, FAKE_ENGINE, "cpu", {key: str(value) for key, value in switches.items()})


def fake_case(mode: str = "gradient", elements: int = 4) -> CaseSpec:
    parameters = {"elements": elements, "mode": mode}
    return CaseSpec(f"fake[elements={elements},mode={mode}]", FAKE_WORKLOAD, parameters)


def fake_plan(*arms: ArmSpec, rounds: int = 3, cases: tuple[CaseSpec, ...] = (), **more) -> Plan:
    return Plan(
        cases=cases or (fake_case(),),
        arms=arms,
        rounds=rounds,
        seed=more.pop("seed", 7),
        threads=1,
        reference_arm=arms[0].id,
        **more,
    )


def new_journal(store: Path, plan: Plan, run_id: str = "") -> Journal:
    started = "2026-01-02T03:04:05Z"
    machine = {"id": "0123456789ab"}
    return Journal.create(
        store, Run(run_id, started, plan, machine, {}, {}, {}, ("benchctl", "run"), (), False)
    )


def local_launcher(clock: VirtualClock, engines: list[FakeEngine] | None = None):
    """Starts workers in this process whose engine lives on `clock`."""

    def find(name: str) -> FakeEngine:
        engine = FakeEngine(clock)
        if engines is not None:
            engines.append(engine)
        return engine

    def launch(environment: dict[str, str]) -> LocalWorker:
        return LocalWorker(clock, find)

    return launch


def results_of(run: Run, case_number: int = 0) -> dict[str, ArmResult]:
    return {each.arm.id: each for each in run.cases[case_number].arms}


def virtual_settings(cache: Path, **more: object) -> MeasureSettings:
    return MeasureSettings(cache_directory=str(cache), **more)


class RecordingObserver(SilentObserver):
    """Remembers notes, failures and rounds."""

    def __init__(self, echo: bool = False) -> None:
        self.notes: list[str] = []
        self.failed: list[str] = []
        self.checked: list[str] = []
        self.rounds: list[tuple[str, int, int]] = []
        self.seconds_left: list[float] = []
        self._echo = echo

    def note(self, text: str) -> None:
        self.notes.append(text)

    def arm_checked(self, case, result) -> None:
        self.checked.append(result.arm.id)

    def arm_failed(self, case, result) -> None:
        self.failed.append(result.arm.id)

    def round_finished(self, case, done, total, seconds_left) -> None:
        self.rounds.append((case.id, done, total))
        self.seconds_left.append(seconds_left)
        if self._echo:
            sys.stdout.write(f"round {done}\n")
            sys.stdout.flush()
