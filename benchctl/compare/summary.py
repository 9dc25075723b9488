"""From the raw samples of a run to medians, intervals, ratios and a winner; nothing is stored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchctl.compare.findings import Finding, Notice, run_notices
from benchctl.plan.schedule import rounds_of_case
from benchctl.stats.multiplicity import holm
from benchctl.stats.planner import minimum_rounds, more_rounds, robust_spread
from benchctl.stats.signed_rank import confidence_interval
from benchctl.stats.verdict import Judgement, Verdict, judge
from benchctl.store.record import ArmResult, CaseResult, CaseSpec, Phases, Plan, Run

CONFIDENCE = 0.95
# Round medians that vary by more than this make a reader doubt the machine.
NOISY_SPREAD = 0.10


@dataclass(frozen=True, slots=True)
class Relative:
    """An arm against the reference arm, from the rounds that both have.

    `ratio` is time / reference time: below 1 is faster. `p_value` is adjusted for the number of
    arms compared with the reference (Holm). `low` and `high` are None, and the verdict is
    INCONCLUSIVE, where the rounds are too few; `more_rounds` is then about how many are missing.
    """

    ratio: float
    low: float | None
    high: float | None
    p_value: float
    verdict: Verdict
    rounds: int
    more_rounds: int | None = None

    @property
    def significant(self) -> bool:
        """Whether a difference is shown: the interval excludes 1, also after Holm's correction."""
        if self.low is None or self.high is None:
            return False
        return not self.low <= 1 <= self.high and self.p_value <= 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm: the median of its round medians, its interval, and how it compares.

    `interval_seconds` is None where the rounds are too few; `relative` is None for the reference
    itself and for arms without rounds.
    """

    result: ArmResult
    rounds: int
    median_seconds: float | None
    interval_seconds: tuple[float, float] | None
    relative: Relative | None


@dataclass(frozen=True, slots=True)
class Winner:
    """The fastest arm and how many times faster it is than the reference.

    Where the reference itself is fastest, `over_id` is the next arm. `significant` says whether
    the interval excludes 1, also after Holm's correction for the number of arms.
    """

    arm_id: str
    over_id: str
    ratio: float
    low: float | None
    high: float | None
    significant: bool


@dataclass(frozen=True, slots=True)
class Payback:
    """After how many steps the fastest arm has made up for what it costs before the first.

    The cost is build + compile + first run. A count is 1 where the arm never was behind, None
    where the phases were not measured with that cache.
    """

    arm_id: str
    over_id: str
    cold_steps: int | None
    warm_steps: int | None


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """One case, its arms fastest first and those without rounds last, in the plan's order."""

    case: CaseSpec
    arms: tuple[ArmSummary, ...]
    reference_id: str
    winner: Winner | None
    payback: Payback | None
    warnings: tuple[Notice, ...]

    def arm(self, arm_id: str) -> ArmSummary | None:
        """The arm of that id."""
        return next((each for each in self.arms if each.result.arm.id == arm_id), None)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run, summarised; `warnings` are those of the whole run."""

    run: Run
    cases: tuple[CaseSummary, ...]
    warnings: tuple[Notice, ...]

    def case(self, case_id: str) -> CaseSummary | None:
        """The case of that id."""
        return next((each for each in self.cases if each.case.id == case_id), None)


def summarise(run: Run) -> RunSummary:
    """Everything the tables, charts and documents of a run are made of."""
    cases = tuple(summarise_case(run.plan, case) for case in run.cases)
    return RunSummary(run, cases, warnings_of_run(run))


def warnings_of_run(run: Run) -> tuple[Notice, ...]:
    """What concerns the run as a whole: whether it is complete, its environment and load."""
    done = sum(max((len(arm.rounds) for arm in case.arms), default=0) for case in run.cases)
    planned = sum(rounds_of_case(run.plan, case.id) for case in run.plan.cases)
    return run_notices(run, done, planned)


def summarise_case(plan: Plan, case: CaseResult) -> CaseSummary:
    """One case: its arms compared with the plan's reference or, without it, the first measured."""
    measured = [arm for arm in case.arms if round_medians(arm)]
    reference = _choose_reference(measured, plan.reference_arm)
    comparisons = _compare(measured, reference)
    arms = [_summarise_arm(arm, comparisons.get(arm.arm.id)) for arm in case.arms]
    arms.sort(key=_speed_key)
    winner = _find_winner(arms, reference.arm.id if reference else "")
    return CaseSummary(
        case=case.case,
        arms=tuple(arms),
        reference_id=reference.arm.id if reference else "",
        winner=winner,
        payback=_find_payback(arms, winner, reference.arm.id if reference else ""),
        warnings=_case_notices(case, arms, reference, plan),
    )


def round_medians(result: ArmResult) -> dict[int, float]:
    """Seconds of the median sample of every round, by round."""
    return {each.round: float(np.median(each.seconds)) for each in result.rounds if each.seconds}


def paired_log_ratios(result: ArmResult, reference: ArmResult) -> list[float]:
    """ln(time / reference time) of the rounds that both arms have, in the order of rounds."""
    times, reference_times = round_medians(result), round_medians(reference)
    # A difference of logarithms, so that swapping the arms exactly changes the sign.
    return [
        math.log(times[each]) - math.log(reference_times[each])
        for each in sorted(times.keys() & reference_times.keys())
    ]


def one_off_seconds(phases: Phases | None) -> float | None:
    """Build + compile + first run: the deck's one cold number. None where none was measured."""
    if phases is None or phases.first_run_seconds is None:
        return None
    return (
        phases.first_run_seconds + (phases.build_seconds or 0.0) + (phases.compile_seconds or 0.0)
    )


def _choose_reference(measured: list[ArmResult], planned: str) -> ArmResult | None:
    by_id = {result.arm.id: result for result in measured}
    return by_id.get(planned) or next(iter(measured), None)


def _compare(measured: list[ArmResult], reference: ArmResult | None) -> dict[str, Relative]:
    """Every other measured arm against the reference, by arm id."""
    if reference is None:
        return {}
    pairs = {
        result.arm.id: paired_log_ratios(result, reference)
        for result in measured
        if result is not reference
    }
    pairs = {arm_id: ratios for arm_id, ratios in pairs.items() if ratios}
    judgements = {arm_id: judge(ratios, confidence=CONFIDENCE) for arm_id, ratios in pairs.items()}
    adjusted = holm([judgement.p_value for judgement in judgements.values()])
    return {
        arm_id: _relative(judgement, p_value, pairs[arm_id])
        for (arm_id, judgement), p_value in zip(judgements.items(), adjusted, strict=True)
    }


def _relative(judgement: Judgement, p_value: float, log_ratios: list[float]) -> Relative:
    verdict = judgement.verdict
    if verdict in (Verdict.FASTER, Verdict.SLOWER) and p_value > 1 - CONFIDENCE:
        verdict = Verdict.INCONCLUSIVE
    missing = None
    if verdict is Verdict.INCONCLUSIVE:
        missing = more_rounds(log_ratios, judgement.estimate, confidence=CONFIDENCE)
    return Relative(
        ratio=math.exp(judgement.estimate),
        low=None if judgement.low is None else math.exp(judgement.low),
        high=None if judgement.high is None else math.exp(judgement.high),
        p_value=p_value,
        verdict=verdict,
        rounds=len(log_ratios),
        more_rounds=missing,
    )


def _summarise_arm(result: ArmResult, relative: Relative | None) -> ArmSummary:
    medians = list(round_medians(result).values())
    if not medians:
        return ArmSummary(result, 0, None, None, None)
    interval = confidence_interval([math.log(each) for each in medians], CONFIDENCE)
    return ArmSummary(
        result=result,
        rounds=len(medians),
        median_seconds=float(np.median(medians)),
        interval_seconds=interval and (math.exp(interval[0]), math.exp(interval[1])),
        relative=relative,
    )


def _speed_key(arm: ArmSummary) -> float:
    return math.inf if arm.median_seconds is None else arm.median_seconds


def _find_winner(arms: list[ArmSummary], reference_id: str) -> Winner | None:
    """The fastest arm by its median, against the reference or, if that is it, the next arm."""
    rivals = ((arm.result.arm.id, arm.relative) for arm in arms if arm.relative is not None)
    rival_id, relative = next(rivals, ("", None))
    if relative is None:
        return None
    low, high = relative.low, relative.high
    if relative.ratio < 1:
        return Winner(
            rival_id,
            reference_id,
            1 / relative.ratio,
            None if high is None else 1 / high,
            None if low is None else 1 / low,
            relative.significant,
        )
    return Winner(reference_id, rival_id, relative.ratio, low, high, relative.significant)


def _find_payback(
    arms: list[ArmSummary], winner: Winner | None, reference_id: str
) -> Payback | None:
    """When the winner has paid back its preparation against the reference.

    After n steps an arm has taken one_off + (n - 1) * step: its first run is a step already.
    """
    if winner is None or not winner.significant or winner.over_id != reference_id:
        return None
    by_id = {arm.result.arm.id: arm for arm in arms}
    fast, slow = by_id[winner.arm_id], by_id[reference_id]
    gain_seconds = (slow.median_seconds or 0.0) - (fast.median_seconds or 0.0)
    if gain_seconds <= 0:
        return None
    steps: dict[str, int | None] = {}
    for cache in ("cold", "warm"):
        fast_once = one_off_seconds(fast.result.phases_with(cache))
        # An arm that keeps no cache is measured cold only.
        slow_once = one_off_seconds(
            slow.result.phases_with(cache) or slow.result.phases_with("cold")
        )
        steps[cache] = None
        if fast_once is not None and slow_once is not None:
            steps[cache] = 1 + max(0, math.ceil((fast_once - slow_once) / gain_seconds))
    if steps["cold"] is None and steps["warm"] is None:
        return None
    return Payback(winner.arm_id, reference_id, steps["cold"], steps["warm"])


def _case_notices(
    case: CaseResult, arms: list[ArmSummary], reference: ArmResult | None, plan: Plan
) -> tuple[Notice, ...]:
    notices = []
    planned, planned_rounds = plan.reference_arm, rounds_of_case(plan, case.case.id)
    # What is n/a has its reason below the table, whose heading names the reference that it has.
    failed = any(arm.arm.id == planned and arm.status != "unavailable" for arm in case.arms)
    if reference is not None and failed and reference.arm.id != planned:
        details = {"planned": planned}
        notices.append(Notice(Finding.REFERENCE_MISSING, reference.arm.id, details))
    measured = [arm for arm in arms if arm.rounds]
    needed = minimum_rounds(CONFIDENCE, max(1, len(measured) - 1))
    for arm in measured:
        notices.extend(_arm_notices(arm, needed, plan, planned_rounds))
    return tuple(notices)


def _how_to_get(needed_rounds: int, plan: Plan, planned_rounds: int) -> str:
    if planned_rounds < needed_rounds:
        return f"--rounds {needed_rounds}"
    return "a longer --budget" if plan.budget_seconds else "benchctl run --resume"


def _arm_notices(
    arm: ArmSummary, needed_rounds: int, plan: Plan, planned_rounds: int
) -> list[Notice]:
    result = arm.result
    details: dict[Finding, dict[str, str | int | float]] = {}
    if result.verification is None:
        details[Finding.UNVERIFIED] = {}
    if arm.rounds < needed_rounds and result.status == "ok":
        details[Finding.FEW_ROUNDS] = {
            "rounds": "1 round is" if arm.rounds == 1 else f"{arm.rounds} rounds are",
            "needed": needed_rounds,
            "percent": 100 * CONFIDENCE,
            "how": _how_to_get(needed_rounds, plan, planned_rounds),
        }
    elif arm.rounds >= needed_rounds and len({each.process for each in result.rounds}) == 1:
        details[Finding.ONE_PROCESS] = {}
    unsteady = sum(not each.steady for each in result.rounds)
    if unsteady:
        details[Finding.NEVER_STEADY] = {"unsteady": unsteady, "rounds": arm.rounds}
    spread = robust_spread([math.log(each) for each in round_medians(result).values()])
    if spread > NOISY_SPREAD:
        details[Finding.NOISY] = {
            "percent": 100 * spread,
            "more": max(2 * arm.rounds, needed_rounds),
        }
    return [Notice(finding, result.arm.id, blanks) for finding, blanks in details.items()]
