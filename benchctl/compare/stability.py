"""Why the results of a stored run are unstable: every arm of every case judged by its rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchctl.compare.findings import Notice
from benchctl.compare.instabilities import Details, Instability, Observation
from benchctl.compare.round_checks import Rounds, check_rounds
from benchctl.compare.summary import CONFIDENCE, CaseSummary, paired_log_ratios, summarise
from benchctl.stats.planner import minimum_rounds, robust_spread, rounds_needed
from benchctl.store.record import ArmResult, ArmStatus, CaseSpec, Run

__all__ = [
    "EFFECTS",
    "ArmStability",
    "CaseStability",
    "Instability",
    "Observation",
    "RunStability",
    "assess_arm",
    "assess_run",
]

EFFECTS = (0.05, 0.02)
"""Differences for which the rounds needed are told; the first is what a result should show."""
MOST_ROUNDS = 200
"""More rounds than this are no advice."""


@dataclass(frozen=True, slots=True)
class ArmStability:
    """One arm of a case: how much it varies, and why it may not be trusted.

    Spreads are standard deviations of ln(time), so about fractions of it: `between_rounds` of the
    round medians (robust), `inside_rounds` of the samples of one round (median over the rounds).
    `process_share` is the part of the variance of round medians that lies between processes.
    `rounds_needed` is by effect (`EFFECTS`): the rounds after which such a difference from the
    reference is shown at 95 % with a power of 90 %. Each is None where it cannot be told.
    """

    arm_id: str
    status: ArmStatus
    rounds: int = 0
    between_rounds: float | None = None
    inside_rounds: float | None = None
    process_share: float | None = None
    rounds_needed: Mapping[float, int | None] = field(default_factory=dict)
    observations: tuple[Observation, ...] = ()

    @property
    def is_steady(self) -> bool:
        """Whether it was measured and nothing speaks against it."""
        return self.rounds > 0 and not self.observations


@dataclass(frozen=True, slots=True)
class CaseStability:
    """One case, its arms fastest first; `observations` are those of all arms together."""

    case: CaseSpec
    arms: tuple[ArmStability, ...]
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class RunStability:
    """One run; `observations` and `warnings` concern all of it."""

    run: Run
    cases: tuple[CaseStability, ...]
    observations: tuple[Observation, ...]
    warnings: tuple[Notice, ...]

    @property
    def arms(self) -> list[ArmStability]:
        """The measured arms of all cases."""
        return [arm for case in self.cases for arm in case.arms if arm.rounds]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found, neither of an arm nor of a case or the run."""
        return not (
            self.observations
            or self.warnings
            or any(case.observations for case in self.cases)
            or any(arm.observations for arm in self.arms)
        )


def assess_run(run: Run) -> RunStability:
    """Why the results of a run are unstable, for every case and arm."""
    summary = summarise(run)
    step = run.environment.get("clock_step_seconds")
    clock_step_seconds = float(step) if isinstance(step, int | float) else 0.0
    cases = tuple(_assess_case(case, clock_step_seconds) for case in summary.cases)
    return RunStability(run, cases, _run_observations(run), summary.warnings)


def _assess_case(case: CaseSummary, clock_step_seconds: float) -> CaseStability:
    reference = case.arm(case.reference_id)
    comparisons = max(1, sum(bool(arm.rounds) for arm in case.arms) - 1)
    arms = tuple(
        assess_arm(
            arm.result,
            None if reference is None else reference.result,
            comparisons=comparisons,
            clock_step_seconds=clock_step_seconds,
        )
        for arm in case.arms
    )
    return CaseStability(case.case, arms, _different_versions(case))


def assess_arm(
    result: ArmResult,
    reference: ArmResult | None = None,
    *,
    comparisons: int = 1,
    clock_step_seconds: float = 0.0,
) -> ArmStability:
    """Why the rounds of one arm are unstable.

    `reference` is the arm that it is compared with, one of `comparisons` such comparisons. Without
    one, or for the reference itself, the rounds needed are those against an arm as noisy.
    """
    taken = tuple(each for each in result.rounds if each.seconds)
    if not taken:
        return ArmStability(result.arm.id, result.status)
    rounds = Rounds.of(taken)
    between = robust_spread(rounds.logs) if len(taken) > 1 else None
    needed = _rounds_needed(between, result, reference, comparisons)
    observations = check_rounds(rounds, clock_step_seconds)
    variances = rounds.variances
    return ArmStability(
        arm_id=result.arm.id,
        status=result.status,
        rounds=len(taken),
        between_rounds=between,
        inside_rounds=rounds.inside_spread,
        process_share=None if variances is None else variances.share_between,
        rounds_needed=needed,
        observations=(*observations, *_few_rounds(len(taken), between, needed, comparisons)),
    )


def _few_rounds(
    rounds: int, between: float | None, needed: Mapping[float, int | None], comparisons: int
) -> tuple[Observation, ...]:
    """Fewer rounds than the ratio needs, unless it is only the reference that varies."""
    effect = EFFECTS[0]
    least = needed[effect] or minimum_rounds(CONFIDENCE, comparisons)
    own = least if between is None else _rounds_at(effect, math.sqrt(2) * between, comparisons)
    if rounds >= min(least, own):
        return ()
    words = "1 round is" if rounds == 1 else f"{rounds} rounds are"
    advice = f"measure about {least}: --rounds {least}"
    if least > MOST_ROUNDS:
        advice = f"about {least} would do: find out why it varies so much first"
    details: Details = {"rounds": words, "effect": 100 * effect, "advice": advice}
    return (Observation(Instability.FEW_ROUNDS, details),)


def _rounds_needed(
    between: float | None, result: ArmResult, reference: ArmResult | None, comparisons: int
) -> dict[float, int | None]:
    """The rounds needed by effect, from the spread of the log ratios of paired rounds."""
    if between is None:
        return dict.fromkeys(EFFECTS)
    spread = math.sqrt(2) * between
    if reference is not None and reference.arm.id != result.arm.id:
        pairs = paired_log_ratios(result, reference)
        spread = robust_spread(pairs) if len(pairs) > 1 else spread
    return {effect: _rounds_at(effect, spread, comparisons) for effect in EFFECTS}


def _rounds_at(effect: float, spread: float, comparisons: int) -> int:
    """Rounds after which the interval excludes 1: any difference counts, without a margin."""
    least = minimum_rounds(CONFIDENCE, comparisons)
    return max(least, rounds_needed(math.log1p(effect), spread, margin=0.0) or least)


def _different_versions(case: CaseSummary) -> tuple[Observation, ...]:
    """Packages of which the measured arms of a case have more than one version."""
    found: dict[str, dict[str, list[str]]] = {}
    for arm in case.arms:
        for package, version in arm.result.versions.items() if arm.rounds else ():
            found.setdefault(package, {}).setdefault(version, []).append(arm.result.arm.id)
    several = {package: versions for package, versions in found.items() if len(versions) > 1}
    return tuple(
        Observation(
            Instability.DIFFERENT_VERSIONS,
            {
                "package": package,
                "listed": ", ".join(f"{each} ({', '.join(ids)})" for each, ids in versions.items()),
            },
        )
        for package, versions in several.items()
    )


def _run_observations(run: Run) -> tuple[Observation, ...]:
    """What the recorded environment says of clock frequency and granted time."""
    found = []
    governor, quota = run.environment.get("governor"), run.environment.get("cpu_quota")
    if isinstance(governor, str) and governor not in ("", "performance"):
        found.append(Observation(Instability.FREQUENCY_GOVERNOR, {"governor": governor}))
    if isinstance(quota, int | float) and quota < run.plan.threads:
        details = {"quota": quota, "threads": run.plan.threads}
        found.append(Observation(Instability.CPU_QUOTA, details))
    return tuple(found)
