"""The Wilcoxon rank-sum (Mann-Whitney) test, its interval and its estimate, exact at any size.

The values are two samples that are not paired, such as the log times of two stored runs, drawn
independently from distributions that differ by a shift at most. All three answers come from the
differences x_i - y_j of every pair: U is the number of positive ones, so the test and the interval
always agree.

Ties: a pair of equal values counts for neither side, which can only make the p-value larger and
the interval wider. No mid-ranks are used, so the null distribution stays the one of whole counts
0..m n.

Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, sections 4.1 to 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from benchctl.stats.signed_rank import Alternative, Floats

_ROUNDING = 1e-12


def hodges_lehmann_shift(
    values: Sequence[float] | Floats, reference: Sequence[float] | Floats
) -> float:
    """How far `values` lie above `reference`: the median of all differences; raises on none."""
    differences = pairwise_differences(values, reference)
    if differences.size == 0:
        raise ValueError("hodges_lehmann_shift expected at least one value a side, received none")
    return float(np.median(differences))


def confidence_interval(
    values: Sequence[float] | Floats,
    reference: Sequence[float] | Floats,
    confidence: float = 0.95,
) -> tuple[float, float] | None:
    """The interval of the shift that covers it with at least the given probability.

    None where even the whole range of the differences does not reach that confidence (three values
    or fewer a side at 0.95).
    """
    differences = np.sort(pairwise_differences(values, reference))
    k = interval_rank(len(values), len(reference), confidence)
    if k == 0:
        return None
    return float(differences[k - 1]), float(differences[differences.size - k])


def p_value(
    values: Sequence[float] | Floats,
    reference: Sequence[float] | Floats,
    alternative: Alternative = "two-sided",
) -> float:
    """How likely samples at least this far apart are when the shift is 0.

    "greater" tests against values above the reference, "less" against values below it.
    """
    differences = pairwise_differences(values, reference)
    lower_tails = positive_pair_tails(len(values), len(reference))
    p_greater = float(lower_tails[np.count_nonzero(differences <= 0)])
    p_less = float(lower_tails[np.count_nonzero(differences >= 0)])
    if alternative == "greater":
        return p_greater
    if alternative == "less":
        return p_less
    if alternative == "two-sided":
        return min(1.0, 2 * min(p_greater, p_less))
    raise ValueError(f"alternative expected two-sided, greater or less, received {alternative!r}")


def interval_rank(count: int, reference_count: int, confidence: float) -> int:
    """The k for which the k-th smallest and k-th largest difference bound the interval.

    It is the number of counts u with P(U <= u) <= (1 - confidence) / 2; 0 when there is none.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence expected between 0 and 1, received {confidence}")
    # Tails are fractions such as 1/20, and one that equals the error must not miss it by rounding.
    # The last entry is P(U <= m n) = 1, so k never exceeds the number of differences.
    tails = positive_pair_tails(count, reference_count)
    return int(np.searchsorted(tails, (1 - confidence) / 2 * (1 + _ROUNDING), side="right"))


def pairwise_differences(
    values: Sequence[float] | Floats, reference: Sequence[float] | Floats
) -> Floats:
    """x_i - y_j of every pair, in one flat array of m n."""
    first = np.asarray(values, dtype=np.float64)
    second = np.asarray(reference, dtype=np.float64)
    for array in (first, second):
        if array.ndim != 1 or not np.all(np.isfinite(array)):
            raise ValueError("expected two flat lists of finite values")
    return np.asarray(np.subtract.outer(first, second).ravel(), dtype=np.float64)


def positive_pair_tails(count: int, reference_count: int) -> Floats:
    """P(U <= u) for u = 0..m n, every way to deal the values to the two samples alike."""
    # U and m n - U are distributed alike, so the two orders of the sizes share one entry.
    return _tails(min(count, reference_count), max(count, reference_count))


@lru_cache(maxsize=64)
def _tails(fewer: int, more: int) -> Floats:
    """The largest of i + j values is of the first sample with probability i / (i + j).

    It then makes a positive pair with all j of the others, and the rest is the case of i - 1 and j;
    otherwise it adds none, and the rest is the case of i and j - 1.
    """
    without_first = [np.ones(1)] * (more + 1)  # i = 0: no pairs
    for i in range(1, fewer + 1):
        row = [np.ones(1)]  # j = 0: no pairs
        for j in range(1, more + 1):
            probabilities = np.zeros(i * j + 1)
            probabilities[j:] = i / (i + j) * without_first[j]
            probabilities[: i * (j - 1) + 1] += j / (i + j) * row[j - 1]
            row.append(probabilities)
        without_first = row
    tails = np.cumsum(without_first[more])
    tails[-1] = 1.0
    tails.flags.writeable = False
    return tails
