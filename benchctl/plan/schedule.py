"""A plan from workloads, axes and arms; which arms and rounds a case has; how long it may take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchctl.measure.settings import MeasureSettings, settings_of
from benchctl.plan.arms import AUTOTUNE, parse_arm
from benchctl.plan.cases import expand_cases
from benchctl.plan.errors import PlanError, UnknownNameError
from benchctl.plan.interpreters import with_interpreters
from benchctl.plan.registry import frameworks_among, load_workload
from benchctl.plan.suites import SuiteEntry
from benchctl.store.record import ArmSpec, CaseSpec, Plan
from benchctl_workloads.workload import Workload

DEFAULT_ARMS = ("static", "eager", "numpy")
PREFERRED_REFERENCE = "numpy"
DEFAULT_ROUNDS = 10
# Cases of this size are long enough for few rounds to be steady, and too long for many.
LARGE_CASE_FLOPS = 1_000_000_000
LARGE_CASE_ROUNDS = 8

# Keys of `Plan.settings`: what single cases have instead of the plan's arms and rounds.
CASE_ARMS = "case_arms"
CASE_ROUNDS = "case_rounds"
MEASURE = "measure"
CASE_MEASURE = "case_measure"
# The engines of the plan that adapt a framework: no table ranks them among ours.
FRAMEWORKS = "frameworks"


def build_plan(
    entries: Iterable[SuiteEntry],
    *,
    arms: Sequence[str] = (),
    device: str = "cpu",
    precision: str = "",
    autotune: bool = False,
    rounds: int | None = None,
    seed: int = 0,
    threads: int = 1,
    reference: str = "",
    suite: str = "",
    budget_seconds: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of all entries; `arms` and `rounds`, where given, replace those of the entries.

    The reference arm is `reference`, else numpy where it takes part, else the first arm. Raises
    `PlanError`.
    """
    cases: dict[str, CaseSpec] = {}
    arms_by_case: dict[str, tuple[ArmSpec, ...]] = {}
    rounds_by_case: dict[str, int] = {}
    measure_by_case: dict[str, dict[str, Any]] = {}
    for entry in entries:
        entry_arms = [
            parse_arm(text, device, precision, autotune)
            for text in arms or entry.arms or DEFAULT_ARMS
        ]
        workload = load_workload(entry.workload)
        measure = {**entry.measure, **_own_threads(workload, threads)}
        for case in expand_cases(workload, entry.axes):
            cases[case.id] = case
            arms_by_case[case.id] = _unique((*arms_by_case.get(case.id, ()), *entry_arms))
            rounds_by_case[case.id] = rounds or entry.rounds or default_rounds(case)
            if measure:
                measure_by_case[case.id] = dict(measure)
    if not cases:
        raise PlanError("expected at least one workload to measure, received none")
    all_arms = _unique(arm for case_arms in arms_by_case.values() for arm in case_arms)
    if autotune and not any(AUTOTUNE in arm.switches for arm in all_arms):
        raise PlanError(
            "autotune expected an engine of ours on a GPU, received "
            f"{', '.join(arm.id for arm in all_arms)}",
            "--device gpu --engine static, or leave --autotune out",
        )
    frameworks = frameworks_among(dict.fromkeys(arm.engine for arm in all_arms))
    most_rounds = max(rounds_by_case.values())
    plan = Plan(
        cases=tuple(cases.values()),
        arms=all_arms,
        rounds=most_rounds,
        seed=seed,
        threads=threads,
        reference_arm=_choose_reference(all_arms, reference),
        suite=suite,
        budget_seconds=budget_seconds,
        settings={
            **(settings or {}),
            CASE_ARMS: {
                name: [arm.id for arm in case_arms]
                for name, case_arms in arms_by_case.items()
                if case_arms != all_arms
            },
            CASE_ROUNDS: {
                name: count for name, count in rounds_by_case.items() if count != most_rounds
            },
            CASE_MEASURE: measure_by_case,
            **({FRAMEWORKS: frameworks} if frameworks else {}),
        },
    )
    return with_interpreters(plan)


def arms_of_case(plan: Plan, case_id: str) -> tuple[ArmSpec, ...]:
    """The arms that run a case, in the plan's order."""
    chosen = plan.settings.get(CASE_ARMS, {}).get(case_id)
    if chosen is None:
        return plan.arms
    return tuple(arm for arm in plan.arms if arm.id in chosen)


def rounds_of_case(plan: Plan, case_id: str) -> int:
    """The number of rounds planned for a case."""
    return int(plan.settings.get(CASE_ROUNDS, {}).get(case_id, plan.rounds))


def plan_of_case(plan: Plan, case_id: str) -> Plan:
    """The same plan with the measurement settings that hold for one case."""
    own = plan.settings.get(CASE_MEASURE, {}).get(case_id)
    if not own:
        return plan
    measure = {**plan.settings.get(MEASURE, {}), **own}
    return replace(plan, settings={**plan.settings, MEASURE: measure})


def threads_of_case(plan: Plan, case_id: str) -> int:
    """The threads that the engines of a case get."""
    own = plan.settings.get(CASE_MEASURE, {}).get(case_id, {})
    return int(own.get("threads") or plan.threads)


def default_rounds(case: CaseSpec) -> int:
    """The rounds of a case for which nobody gave a number: fewer for long steps."""
    return LARGE_CASE_ROUNDS if case.flops >= LARGE_CASE_FLOPS else DEFAULT_ROUNDS


@dataclass(frozen=True, slots=True)
class CostModel:
    """A rough machine, for estimates made before anything is measured; no result depends on it."""

    flops_per_second_per_thread: float = 2e10
    bytes_per_second: float = 5e9
    step_overhead_seconds: float = 2e-5
    # The reference is one step in float64, on kernels that nobody tuned.
    reference_factor: float = 4.0
    worker_start_seconds: float = 0.5
    # Drawing normal weights and handing them over.
    parameters_per_second: float = 5e7

    def step_seconds(self, case: CaseSpec, threads: int) -> float:
        """One step at the modelled speed."""
        computing = case.flops / (self.flops_per_second_per_thread * max(1, threads))
        return max(computing, case.bytes_moved / self.bytes_per_second) + self.step_overhead_seconds

    def start_seconds(self, case: CaseSpec) -> float:
        """One new worker with the case's parameters in it, before its first step."""
        return self.worker_start_seconds + case.parameter_count / self.parameters_per_second


def estimate_seconds(plan: Plan, model: CostModel | None = None) -> float:
    """Roughly how long a plan takes, from flops and bytes alone: a guess, to be shown as one.

    Never more than the plan's budget, where it has one.
    """
    model = model or CostModel()
    total = 0.0
    for case in plan.cases:
        settings = settings_of(plan_of_case(plan, case.id))
        step = model.step_seconds(case, threads_of_case(plan, case.id))
        total += model.reference_factor * step
        total += len(arms_of_case(plan, case.id)) * _arm_seconds(
            model, settings, case, step, rounds_of_case(plan, case.id)
        )
    return total if plan.budget_seconds is None else min(total, plan.budget_seconds)


def _arm_seconds(
    model: CostModel, settings: MeasureSettings, case: CaseSpec, step: float, rounds: int
) -> float:
    """One arm of one case: its processes, their warm-up, and the samples of all rounds."""
    start = model.start_seconds(case)
    warm_up = max(settings.warm_up.min_seconds, settings.warm_up.min_steps * step)
    sample = max(settings.sample.min_sample_seconds, step)
    sampling = settings.sample.samples_for(step) * sample
    again = max(settings.later_warm_up.min_seconds, settings.later_warm_up.min_steps * step)
    cold = start + step if settings.cold else 0.0
    processes = math.ceil(rounds / settings.restart_every)
    if start > settings.cheap_start_seconds:
        share = settings.restart_share
        affordable = rounds * (again + sampling) * share / ((1.0 - share) * start)
        processes = min(processes, max(1, math.floor(affordable)))
    return cold + processes * (start + warm_up) + rounds * (again + sampling)


def _own_threads(workload: Workload, threads: int) -> dict[str, int]:
    """The engines' threads where they are fewer than the plan's: one is left to a feed."""
    return {"threads": max(1, threads - 1)} if hasattr(workload, "feed") else {}


def _unique(arms: Iterable[ArmSpec]) -> tuple[ArmSpec, ...]:
    return tuple({arm.id: arm for arm in arms}.values())


def _choose_reference(arms: tuple[ArmSpec, ...], wanted: str) -> str:
    """The id of the arm named `wanted`, else of the first with the preferred engine."""
    names = {name: arm.id for arm in reversed(arms) for name in (arm.id.partition("@")[0], arm.id)}
    if wanted and wanted not in names:
        raise UnknownNameError("arm to compare with", wanted, (arm.id for arm in arms))
    preferred = (arm.id for arm in arms if arm.engine == PREFERRED_REFERENCE)
    return names[wanted] if wanted else next(preferred, arms[0].id)
