"""What a set of paired log ratios says: faster, slower, the same, or not enough to tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from benchctl.stats import rank_sum
from benchctl.stats.signed_rank import Floats, confidence_interval, hodges_lehmann, p_value

DEFAULT_MARGIN = 0.02
DEFAULT_CONFIDENCE = 0.95


class Verdict(Enum):
    """How one arm compares with its reference."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Estimate and interval of ln(time / reference time), and the verdict from them.

    `low` and `high` are None, and the verdict is INCONCLUSIVE, where the values are too few for
    the confidence asked for. `p_value` is two-sided, against no difference at all.
    """

    estimate: float
    low: float | None
    high: float | None
    p_value: float
    verdict: Verdict


def judge(
    log_ratios: Sequence[float] | Floats,
    margin: float = DEFAULT_MARGIN,
    confidence: float = DEFAULT_CONFIDENCE,
) -> Judgement:
    """Judge ln(time / reference time) of paired rounds; `margin` is a fraction of the time.

    SLOWER and FASTER need the whole interval beyond the margin. SAME is two one-sided tests at
    1 - confidence each, so its interval is the one at 2 * confidence - 1 (90 % for 95 %).
    """
    _check(margin, confidence)
    return _judgement(
        hodges_lehmann(log_ratios),
        p_value(log_ratios),
        lambda level: confidence_interval(log_ratios, level),
        margin,
        confidence,
    )


def judge_unpaired(
    log_times: Sequence[float] | Floats,
    reference_log_times: Sequence[float] | Floats,
    margin: float = DEFAULT_MARGIN,
    confidence: float = DEFAULT_CONFIDENCE,
) -> Judgement:
    """The same of ln(time) and ln(reference time) that were not measured together.

    The times are independent of each other, such as medians of processes. What changed on the
    machine between the two measurements is part of the difference.
    """
    _check(margin, confidence)
    return _judgement(
        rank_sum.hodges_lehmann_shift(log_times, reference_log_times),
        rank_sum.p_value(log_times, reference_log_times),
        lambda level: rank_sum.confidence_interval(log_times, reference_log_times, level),
        margin,
        confidence,
    )


def _check(margin: float, confidence: float) -> None:
    if margin < 0:
        raise ValueError(f"margin expected 0 or more, received {margin}")
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence expected between 0.5 and 1, received {confidence}")


def _judgement(
    estimate: float,
    p: float,
    interval_at: Callable[[float], tuple[float, float] | None],
    margin: float,
    confidence: float,
) -> Judgement:
    interval = interval_at(confidence)
    if interval is None:
        return Judgement(estimate, None, None, p, Verdict.INCONCLUSIVE)
    low, high = interval
    verdict = Verdict.INCONCLUSIVE
    log_margin = math.log1p(margin)
    if low > log_margin:
        verdict = Verdict.SLOWER
    elif high < -log_margin:
        verdict = Verdict.FASTER
    elif _inside(interval_at(2 * confidence - 1), log_margin):
        verdict = Verdict.SAME
    return Judgement(estimate, low, high, p, verdict)


def _inside(interval: tuple[float, float] | None, log_margin: float) -> bool:
    return interval is not None and -log_margin < interval[0] and interval[1] < log_margin
