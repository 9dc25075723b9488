"""The Wilcoxon signed-rank test, its interval and its estimate, exact at any number of values.

The values are differences that are symmetric about their centre when nothing else is known, such
as the log ratios of paired rounds. All three answers come from the Walsh averages (d_i + d_j) / 2,
i <= j: the rank sum W+ is the number of positive ones, so the test and the interval always agree.

Ties and zeros: a Walsh average that equals the null value counts for neither side, which can only
make the p-value larger and the interval wider. Nothing is dropped and no mid-ranks are used, so
the null distribution stays the one of whole rank sums 0..R(R+1)/2.

Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, sections 3.1 to 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]


def hodges_lehmann(values: Sequence[float] | Floats) -> float:
    """The centre of the values: the median of their Walsh averages; raises on no values."""
    averages = walsh_averages(values)
    if averages.size == 0:
        raise ValueError("hodges_lehmann expected at least one value, received none")
    return float(np.median(averages))


def confidence_interval(
    values: Sequence[float] | Floats, confidence: float = 0.95
) -> tuple[float, float] | None:
    """The interval of the centre that covers it with at least the given probability.

    None where even the whole range of so few values does not reach that confidence (five values
    or fewer at 0.95).
    """
    averages = np.sort(walsh_averages(values))
    k = interval_rank(len(values), confidence)
    if k == 0:
        return None
    return float(averages[k - 1]), float(averages[averages.size - k])


def p_value(values: Sequence[float] | Floats, alternative: Alternative = "two-sided") -> float:
    """How likely values at least this far from centre 0 are when the centre is 0.

    "greater" tests against a centre above 0, "less" against one below.
    """
    averages = walsh_averages(values)
    lower_tails = rank_sum_tails(len(values))
    p_greater = float(lower_tails[np.count_nonzero(averages <= 0)])
    p_less = float(lower_tails[np.count_nonzero(averages >= 0)])
    if alternative == "greater":
        return p_greater
    if alternative == "less":
        return p_less
    if alternative == "two-sided":
        return min(1.0, 2 * min(p_greater, p_less))
    raise ValueError(f"alternative expected two-sided, greater or less, received {alternative!r}")


def interval_rank(count: int, confidence: float) -> int:
    """The k for which the k-th smallest and k-th largest Walsh average bound the interval.

    It is the number of rank sums w with P(W+ <= w) <= (1 - confidence) / 2; 0 when there is none.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence expected between 0 and 1, received {confidence}")
    # The last entry is P(W+ <= M) = 1, so k never exceeds the number of averages.
    return int(np.searchsorted(rank_sum_tails(count), (1 - confidence) / 2, side="right"))


def walsh_averages(values: Sequence[float] | Floats) -> Floats:
    """The averages of all pairs of the R values, each with itself too: R(R+1)/2 of them."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.all(np.isfinite(array)):
        raise ValueError("expected a flat list of finite values")
    first, second = _pairs(array.size)
    # Halved before adding: the sum of two large values must not overflow.
    half = array / 2
    return np.asarray(half[first] + half[second], dtype=np.float64)


# As few lengths as a simulation or a report has at once; those of 1000 values take 8 MB.
@lru_cache(maxsize=8)
def _pairs(count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The places i <= j of all pairs: finding them takes longer than adding what lies there."""
    return np.triu_indices(count)


@lru_cache(maxsize=64)
def rank_sum_tails(count: int) -> Floats:
    """P(W+ <= w) for w = 0..count(count+1)/2, each rank's sign being a fair coin.

    Rank by rank: the sum is w either without the rank or with it, each with probability 1/2.
    """
    probabilities = np.zeros(count * (count + 1) // 2 + 1)
    probabilities[0] = 1.0
    for rank in range(1, count + 1):
        with_rank = probabilities[:-rank].copy()
        probabilities[rank:] += with_rank
        probabilities /= 2
    tails = np.cumsum(probabilities)
    tails[-1] = 1.0
    tails.flags.writeable = False
    return tails
