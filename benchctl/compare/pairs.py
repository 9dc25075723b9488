"""Two sides of a comparison, case by case: from rounds measured together or from two stored runs.

Rounds measured together are compared pairwise, which takes the machine's drift out. Two stored
runs have no common rounds: their processes are compared, and what the machine did between the two
is in the ratio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchctl.compare.summary import CONFIDENCE, paired_log_ratios, round_medians
from benchctl.plan.subjects import Pair, pairs_of
from benchctl.stats.geometric_mean import GeometricMean, geometric_mean
from benchctl.stats.multiplicity import holm
from benchctl.stats.planner import more_rounds
from benchctl.stats.verdict import DEFAULT_MARGIN, Judgement, Verdict, judge, judge_unpaired
from benchctl.store.record import ArmResult, CaseSpec, Run

# With fewer processes than this a side, rounds stand in for them.
LEAST_PROCESSES = 5


@dataclass(frozen=True, slots=True)
class PairResult:
    """One case on both sides; ratios are head / base, so above 1 is slower.

    `judgement` is of ln(ratio), its p-value adjusted for the number of pairs (Holm), its verdict
    INCONCLUSIVE where that correction takes it away. It is None, and `reason` says why, where a
    side was not measured or sides may not be compared. `more_rounds` is about how many further
    rounds an inconclusive pair needs.
    """

    case: CaseSpec
    label: str
    base: ArmResult
    head: ArmResult
    rounds: int
    judgement: Judgement | None
    log_ratios: Mapping[int, float]
    more_rounds: int | None = None
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """The verdict, inconclusive where there is no judgement."""
        return Verdict.INCONCLUSIVE if self.judgement is None else self.judgement.verdict

    @property
    def base_seconds(self) -> float | None:
        """Median of the base's round medians."""
        return median_seconds(self.base)

    @property
    def head_seconds(self) -> float | None:
        """Median of the head's round medians."""
        return median_seconds(self.head)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All pairs, the largest difference first; `paired` tells whether rounds were common.

    `margin` is the difference that does not count, `runs` are those that the times come from.
    """

    base_name: str
    head_name: str
    pairs: tuple[PairResult, ...]
    mean: GeometricMean | None
    paired: bool
    only_base: tuple[str, ...] = ()
    only_head: tuple[str, ...] = ()
    margin: float = DEFAULT_MARGIN
    runs: tuple[Run, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """How many pairs have this verdict."""
        return sum(each.verdict is verdict for each in self.pairs)


def median_seconds(result: ArmResult) -> float | None:
    """Median of the round medians of an arm."""
    medians = list(round_medians(result).values())
    return float(np.median(medians)) if medians else None


def compare_rounds(
    run: Run,
    base_name: str,
    head_name: str,
    *,
    margin: float = DEFAULT_MARGIN,
    margins: Mapping[str, float] | None = None,
) -> Comparison:
    """The pairs of one run, whose rounds both sides have in common."""
    found = []
    allowed = {case.case.id: (margins or {}).get(case.case.id, margin) for case in run.cases}
    for case in run.cases:
        by_id = {arm.arm.id: arm for arm in case.arms}
        for pair in pairs_of(run.plan, [arm.arm for arm in case.arms]):
            base, head = by_id[pair.base_id], by_id[pair.head_id]
            found.append(_paired(case.case, pair, base, head, allowed[case.case.id]))
    finished = _finished(found, allowed)
    return Comparison(
        base_name, head_name, finished, _mean(found), paired=True, margin=margin, runs=(run,)
    )


def compare_stored(
    base: Run, head: Run, *, margin: float = DEFAULT_MARGIN, across_machines: bool = False
) -> Comparison:
    """The arms that two runs have in common, by case and arm id.

    Where the runs come from two machines no pair is judged, unless `across_machines`.
    """
    reason = "" if across_machines else _foreign_words(base, head)
    base_arms, head_arms = _arms(base), _arms(head)
    found = [
        _unpaired(case, arm, base_arms[key][1], margin, reason)
        for key, (case, arm) in head_arms.items()
        if key in base_arms
    ]
    return Comparison(
        base.run_id,
        head.run_id,
        _finished(found, {}),
        mean=None,
        paired=False,
        only_base=tuple(" ".join(key) for key in base_arms if key not in head_arms),
        only_head=tuple(" ".join(key) for key in head_arms if key not in base_arms),
        margin=margin,
        runs=(base, head),
    )


def _foreign_words(base: Run, head: Run) -> str:
    """Why two runs are not judged: their machines differ, or are not known to be one."""
    one, other = base.machine.get("id"), head.machine.get("id")
    if not one or not other:
        return "the machine is not known (--across-machines judges all the same)"
    return "" if one == other else "measured on another machine"


def _arms(run: Run) -> dict[tuple[str, str], tuple[CaseSpec, ArmResult]]:
    return {(case.case.id, arm.arm.id): (case.case, arm) for case in run.cases for arm in case.arms}


def _paired(
    case: CaseSpec, pair: Pair, base: ArmResult, head: ArmResult, margin: float
) -> PairResult:
    common = sorted(round_medians(base).keys() & round_medians(head).keys())
    log_ratios = paired_log_ratios(head, base)
    judgement = judge(log_ratios, margin, CONFIDENCE) if log_ratios else None
    return PairResult(
        case=case,
        label=pair.label,
        base=base,
        head=head,
        rounds=len(log_ratios),
        judgement=judgement,
        log_ratios=dict(zip(common, log_ratios, strict=True)),
        reason="" if log_ratios else _unmeasured(base, head),
    )


def _unpaired(
    case: CaseSpec, head: ArmResult, base: ArmResult, margin: float, reason: str
) -> PairResult:
    base_logs, head_logs = process_log_medians(base), process_log_medians(head)
    measured = bool(base_logs and head_logs)
    judgement = None
    if measured and not reason:
        judgement = judge_unpaired(head_logs, base_logs, margin, CONFIDENCE)
    return PairResult(
        case=case,
        label=head.arm.id,
        base=base,
        head=head,
        rounds=min(len(round_medians(base)), len(round_medians(head))),
        judgement=judgement,
        log_ratios={},
        reason=reason if measured else _unmeasured(base, head),
    )


def process_log_medians(result: ArmResult) -> list[float]:
    """ln of the median of each process's round medians; of each round where processes are few."""
    medians = round_medians(result)
    by_process: dict[int, list[float]] = {}
    for each in result.rounds:
        if each.round in medians:
            by_process.setdefault(each.process, []).append(medians[each.round])
    if len(by_process) >= LEAST_PROCESSES:
        return [math.log(float(np.median(times))) for times in by_process.values()]
    return [math.log(each) for each in medians.values()]


def _unmeasured(base: ArmResult, head: ArmResult) -> str:
    for side, result in (("base", base), ("head", head)):
        if not round_medians(result):
            said = result.message.partition("\n")[0] or result.status
            return f"{side} was not measured: {said}"
    return "the sides have no round in common"


def _finished(found: Sequence[PairResult], margins: Mapping[str, float]) -> tuple[PairResult, ...]:
    """With p-values adjusted for their number, the largest difference first.

    `margins` are by case id, for pairs whose rounds are common.
    """
    judged = [each for each in found if each.judgement is not None]
    adjusted = iter(holm([each.judgement.p_value for each in judged if each.judgement]))
    results = [
        each
        if each.judgement is None
        else _adjusted(each, each.judgement, next(adjusted), margins.get(each.case.id))
        for each in found
    ]
    return tuple(sorted(results, key=_difference, reverse=True))


def _adjusted(
    pair: PairResult, judgement: Judgement, p_value: float, margin: float | None
) -> PairResult:
    verdict = judgement.verdict
    if verdict in (Verdict.FASTER, Verdict.SLOWER) and p_value > 1 - CONFIDENCE:
        verdict = Verdict.INCONCLUSIVE
    missing = None
    if verdict is Verdict.INCONCLUSIVE and margin is not None:
        log_ratios = list(pair.log_ratios.values())
        missing = more_rounds(log_ratios, judgement.estimate, margin=margin, confidence=CONFIDENCE)
    return replace(
        pair,
        judgement=replace(judgement, verdict=verdict, p_value=p_value),
        more_rounds=missing,
    )


def _difference(pair: PairResult) -> float:
    return -1.0 if pair.judgement is None else abs(pair.judgement.estimate)


def _mean(found: Sequence[PairResult]) -> GeometricMean | None:
    """The geometric mean over all pairs that have rounds, where there are several."""
    measured = [each.log_ratios for each in found if each.log_ratios]
    return geometric_mean(measured, CONFIDENCE) if len(measured) > 1 else None
