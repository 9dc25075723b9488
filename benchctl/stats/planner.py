"""How many rounds an answer takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from benchctl.stats.signed_rank import Floats
from benchctl.stats.verdict import DEFAULT_CONFIDENCE, DEFAULT_MARGIN

# The signed-rank test needs 3/pi more normal values than the t-test does: about 5 %.
_RANK_TEST_COST = 1.05
# The interval of few rounds is wider than the normal formula knows; by simulation, this many
# more rounds give the power asked for from 6 rounds up.
_SMALL_SAMPLE_ROUNDS = 4
# The interquartile range of a normal distribution in standard deviations.
_QUARTILES_IN_DEVIATIONS = 1.349


def minimum_rounds(
    confidence: float = DEFAULT_CONFIDENCE, comparisons: int = 1, sides: int = 2
) -> int:
    """The fewest rounds at which the signed-rank test can reject at all.

    With R rounds the smallest p-value is sides / 2**R, and Holm multiplies the smallest of several
    comparisons by their number: 6 rounds for one two-sided test at 95 %, 7 for two or three.
    """
    return math.ceil(math.log2(sides * max(1, comparisons) / (1 - confidence)))


def robust_spread(values: Sequence[float] | Floats) -> float:
    """Standard deviation of the bulk of the values, from their quartiles; deaf to spikes."""
    if len(values) < 2:
        return 0.0
    lower, upper = np.quantile(np.asarray(values, dtype=np.float64), (0.25, 0.75))
    return float(upper - lower) / _QUARTILES_IN_DEVIATIONS


def rounds_needed(
    effect: float,
    spread: float,
    *,
    margin: float = DEFAULT_MARGIN,
    confidence: float = DEFAULT_CONFIDENCE,
    power: float = 0.9,
) -> int | None:
    """Rounds after which a difference is told apart from the margin with the given power.

    `effect` is the true ln(time / reference time), `spread` the standard deviation of one round's
    log ratio. An effect beyond the margin is to end in FASTER or SLOWER, one within it in SAME.
    None where the effect lies on the margin: no number of rounds settles that.

    R = ceil(1.05 ((z_a + z_b) spread / gap)^2) + 4, the normal sample size plus the cost of ranks.
    """
    log_margin = math.log1p(margin)
    gap = abs(abs(effect) - log_margin)
    if gap < 1e-3 * max(log_margin, 1e-6):
        return None
    quantile = NormalDist().inv_cdf
    if abs(effect) > log_margin:
        needed_deviations = quantile((1 + confidence) / 2) + quantile(power)
    else:  # both one-sided tests must reject, so they share the allowed misses
        needed_deviations = quantile(confidence) + quantile((1 + power) / 2)
    rounds = math.ceil(_RANK_TEST_COST * (needed_deviations * spread / gap) ** 2)
    return max(minimum_rounds(confidence), rounds + _SMALL_SAMPLE_ROUNDS)


def more_rounds(
    log_ratios: Sequence[float] | Floats,
    estimate: float,
    *,
    margin: float = DEFAULT_MARGIN,
    confidence: float = DEFAULT_CONFIDENCE,
) -> int | None:
    """About how many further rounds an inconclusive comparison needs; None if out of reach."""
    needed = rounds_needed(
        estimate, robust_spread(log_ratios), margin=margin, confidence=confidence
    )
    return None if needed is None else max(1, needed - len(log_ratios))
