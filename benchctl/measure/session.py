"""Measuring a plan: the entry points of benchctl.measure.

`measure` times every case of a plan into a journal, `verify` only checks results against the
float64 reference, `explain` asks an engine what it does, `graphs` what it computes, `profile` where
its time goes, and `differences` how far its results are from another's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchctl.measure.arm import ArmRun, CaseContext
from benchctl.measure.budget import Budget
from benchctl.measure.case_run import CaseRun, RoundLog
from benchctl.measure.clock import Clock, WallClock
from benchctl.measure.observer import Observer
from benchctl.measure.protocol import ArmFailure, Message
from benchctl.measure.settings import MeasureSettings, removed_variables, settings_of
from benchctl.measure.worker_client import Launch, ProcessWorker
from benchctl.plan.schedule import plan_of_case
from benchctl.store.record import ArmResult, ArmRound, ArmSpec, CaseResult, CaseSpec, Plan, Run

if TYPE_CHECKING:
    from benchctl_engines.contract import StepGraphs

INTERLEAVED = "interleaved"
"""The key of a plan's settings that asks for every round of all cases before the next."""

__all__ = [
    "INTERLEAVED",
    "ArmFailure",
    "ArmGraphs",
    "Observer",
    "RunLog",
    "differences",
    "explain",
    "graphs",
    "measure",
    "profile",
    "verify",
]


class RunLog(RoundLog, Protocol):
    """The journal of a run, as far as measuring needs it."""

    def finish(self) -> None:
        """Mark the run as complete, and close."""

    def close(self) -> None:
        """Leave the run incomplete, to be resumed."""


def measure(
    plan: Plan,
    journal: RunLog,
    observer: Observer,
    *,
    done: Run | None = None,
    budget_seconds: float | None = None,
    settings: MeasureSettings | None = None,
    launch: Launch = ProcessWorker,
    clock: Clock | None = None,
) -> None:
    """Measure every case of `plan` and finish the journal.

    `done` is an incomplete run being resumed: its finished rounds are not measured again. The
    budget (the plan's unless given here) ends a case after a whole round. Where it leaves a case
    without any round, the journal is closed but not finished. So it is on any error and on
    Ctrl-C, which is raised again after all workers have ended; every finished round is stored by
    then.
    """
    clock = clock or WallClock()
    seconds = plan.budget_seconds if budget_seconds is None else budget_seconds
    try:
        observer.plan_started(plan)
        _note_removed_variables(settings or settings_of(plan), observer)
        runs = [
            CaseRun(
                CaseContext(plan, case, settings or settings_of_case(plan, case), launch, clock),
                journal,
                observer,
                _case_result(done, case),
            )
            for case in plan.cases
        ]
        if plan.settings.get(INTERLEAVED):
            _measure_interleaved(runs, observer)
            journal.finish()
            return
        all_measured = _measure_cases(runs, Budget(clock, seconds))
        if not all_measured:
            missing = sum(not run.has_results for run in runs)
            observer.note(
                f"the time budget of {seconds:g} s ended before {missing} of {len(runs)} cases; "
                "benchctl run --resume measures them"
            )
            journal.close()
            return
    except BaseException:
        journal.close()
        raise
    journal.finish()


def _measure_cases(runs: list[CaseRun], budget: Budget) -> bool:
    """Measure cases until the budget is spent; whether every case has results."""
    open_runs = [run for run in runs if not run.is_complete]
    for run in runs:
        if run not in open_runs:
            run.measure(budget.deadline(cases_left=1))
        elif not budget.is_spent:
            run.measure(budget.deadline(cases_left=len(open_runs) - open_runs.index(run)))
    return all(run.has_results for run in runs)


def _measure_interleaved(runs: list[CaseRun], observer: Observer) -> None:
    """Check all cases, then measure round by round over all of them, each arm in a new process.

    Every other round takes the cases in reverse, so that a drift over a pair of rounds cancels.
    """
    for run in runs:
        observer.case_started(run.case, [arm.result.arm for arm in run.arms.values()])
        run.check()
    for number in range(max(run.planned_rounds for run in runs)):
        for run in runs if number % 2 == 0 else reversed(runs):
            if number in run.finished_rounds or run.is_complete:
                continue
            run.measure_fresh_round(number)
            observer.round_finished(
                run.case, len(run.finished_rounds), run.planned_rounds, seconds_left=None
            )
    for run in runs:
        run.end_rounds()
        observer.case_finished(run.case)


def verify(
    plan: Plan,
    observer: Observer,
    *,
    settings: MeasureSettings | None = None,
    launch: Launch = ProcessWorker,
) -> list[tuple[CaseSpec, ArmResult]]:
    """Run one step of every arm of every case and compare it with the reference; no timing."""
    observer.plan_started(plan)
    _note_removed_variables(settings or settings_of(plan), observer)
    results = []
    for case in plan.cases:
        own = settings or settings_of_case(plan, case)
        own = replace(own, cold=False, check_outputs=True)
        context = CaseContext(plan, case, own, launch, WallClock())
        run = CaseRun(context, _NoJournal(), observer, None)
        observer.case_started(case, [arm.result.arm for arm in run.arms.values()])
        run.check()
        observer.case_finished(case)
        results += [(case, arm.result) for arm in run.arms.values()]
    return results


def explain(
    plan: Plan,
    case: CaseSpec,
    arm: ArmSpec,
    *,
    settings: MeasureSettings | None = None,
    launch: Launch = ProcessWorker,
) -> Message:
    """What the engine of `arm` says of `case` after one step: the fields of `RunnerFacts`.

    kernels, notes, counts and source. Raises `ArmFailure` where the engine cannot run the case.
    """
    with _prepared_arm(plan, case, arm, settings, launch) as run:
        return run.facts()


def profile(
    plan: Plan,
    case: CaseSpec,
    arm: ArmSpec,
    steps: int,
    *,
    with_limits: bool = False,
    settings: MeasureSettings | None = None,
    launch: Launch = ProcessWorker,
) -> Message:
    """Where the time of a step of `case` goes on `arm`: the fields of `StepProfile`.

    `with_limits` adds `device_limits`, what the arm's GPU does at best. Raises `ArmFailure` where
    the engine cannot run the case, or cannot tell.
    """
    with _prepared_arm(plan, case, arm, settings, launch) as run:
        found = run.profile(steps)
        if with_limits:
            found["device_limits"] = run.device_limits()
        return found


@dataclass(frozen=True, slots=True)
class ArmGraphs:
    """The graphs of a step, and how long each of its launches took, if that was asked for."""

    graphs: StepGraphs
    launch_seconds: tuple[float, ...] = ()


def graphs(
    plan: Plan,
    case: CaseSpec,
    arm: ArmSpec,
    steps: int = 0,
    *,
    settings: MeasureSettings | None = None,
    launch: Launch = ProcessWorker,
) -> ArmGraphs:
    """The graph of a step of `case` on `arm`, with medians of its launches over so many steps.

    Raises `ArmFailure` where the engine cannot run the case, or makes no graph.
    """
    from benchctl.measure.graph_message import read_graphs

    with _prepared_arm(plan, case, arm, settings, launch) as run:
        found = read_graphs(run.graphs())
        launches = run.profile(steps)["launches"] if steps else ()
    return ArmGraphs(found, tuple(float(each["seconds"]) for each in launches))


def differences(
    plan: Plan,
    case: CaseSpec,
    base: ArmSpec,
    arms: Sequence[ArmSpec],
    *,
    settings: MeasureSettings | None = None,
    launch: Launch = ProcessWorker,
) -> dict[str, float]:
    """The largest relative difference of each arm's first step from that of `base`, by arm id.

    Arms that cannot run are left out. Raises `ArmFailure` where `base` cannot.
    """
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="benchctl-outputs-") as name:
        folder = Path(name)
        with _prepared_arm(plan, case, base, settings, launch) as run:
            run.save_outputs(folder)
        for arm in arms:
            with suppress(ArmFailure), _prepared_arm(plan, case, arm, settings, launch) as run:
                found[arm.id] = run.difference(folder)
    return found


@contextmanager
def _prepared_arm(
    plan: Plan, case: CaseSpec, arm: ArmSpec, settings: MeasureSettings | None, launch: Launch
) -> Iterator[ArmRun]:
    """A worker of its own that has run the first step."""
    settings = settings or settings_of_case(plan, case)
    cache = settings.cache_folder
    run = ArmRun(CaseContext(plan, case, settings, launch, WallClock()), ArmResult(arm))
    try:
        run.launch(cache)
        run.wait_import(cache)
        run.wait_prepare()
        yield run
        run.stop()
    finally:
        run.kill()


def settings_of_case(plan: Plan, case: CaseSpec) -> MeasureSettings:
    """The plan's settings with what it says of this case alone."""
    return settings_of(plan_of_case(plan, case.id))


class _NoJournal:
    """Keeps nothing."""

    def append_arm(self, case_id: str, result: ArmResult) -> None:
        """Nothing."""

    def append_rounds(self, case_id: str, rounds: Mapping[str, ArmRound]) -> None:
        """Nothing."""


def _case_result(done: Run | None, case: CaseSpec) -> CaseResult | None:
    cases = () if done is None else done.cases
    return next((each for each in cases if each.case.id == case.id), None)


def _note_removed_variables(settings: MeasureSettings, observer: Observer) -> None:
    removed = removed_variables(settings)
    if removed:
        listed = ", ".join(f"{name}={value}" for name, value in removed.items())
        observer.note(
            f"the engines run without {listed}: such overrides slow NumPy down "
            "(--keep-blas-override keeps them)"
        )
