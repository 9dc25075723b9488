"""Values in groups, such as rounds by process: how much lies between groups, and their kinds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchctl.stats.signed_rank import Floats

Labels = npt.NDArray[np.intp]
"""The group of every value, numbered from 0 without a gap."""


@dataclass(frozen=True, slots=True)
class Variances:
    """Variance between groups, and that of the values of one group."""

    between: float
    inside: float

    @property
    def share_between(self) -> float:
        """The part of the variance of a value that lies between groups."""
        return self.between / (self.between + self.inside) if self.between > 0 else 0.0


def group_variances(values: Floats, labels: Labels) -> Variances | None:
    """The variance components of groups of any sizes, by the method of moments.

    None for a single group, or where no group has two values. Source: Searle, Casella and
    McCulloch, Variance Components, section 3.6.
    """
    sizes = np.bincount(labels)
    degrees_between, degrees_inside = len(sizes) - 1, len(values) - len(sizes)
    if degrees_between < 1 or degrees_inside < 1:
        return None
    means = group_means(values, labels)
    inside = float(np.sum((values - means[labels]) ** 2)) / degrees_inside
    among = float(np.sum(sizes * (means - np.mean(values)) ** 2)) / degrees_between
    typical_size = (len(values) - float(np.sum(sizes**2)) / len(values)) / degrees_between
    return Variances(max(0.0, (among - inside) / typical_size), inside)


def group_means(values: Floats, labels: Labels) -> Floats:
    """The mean of every group."""
    return np.asarray(np.bincount(labels, values) / np.bincount(labels), dtype=np.float64)


def group_contrasts(labels: Labels) -> Floats:
    """One column a group, [R, groups], for which a permutation test has the statistic of Kruskal
    and Wallis: the sum over groups of (sum of ranks)**2 / size.
    """
    sizes = np.bincount(labels)
    members = labels[:, None] == np.arange(len(sizes))
    return np.asarray(members / np.sqrt(sizes), dtype=np.float64)


def two_kinds(centres: Floats, separation: float = 1.0, least: int = 2) -> tuple[int, float] | None:
    """How many of the centres form a lower cluster, and the gap between it and the upper one.

    Each cluster has `least` members or more, and the gap exceeds `separation` times the width of
    both; None where there are no such two.
    """
    ordered = np.sort(centres)
    for count in range(least, len(ordered) - least + 1):
        low, high = ordered[:count], ordered[count:]
        gap = float(high[0] - low[-1])
        if gap > separation * max(float(np.ptp(low)), float(np.ptp(high))):
            return count, gap
    return None
