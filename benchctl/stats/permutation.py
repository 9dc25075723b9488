"""A test of ranks by random orders: valid at any number of values, for any contrast."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from benchctl.stats.signed_rank import Floats

# Enough for the smallest p-value of ten values in two halves, 2 / 252, to be told from 0.01.
_SHUFFLES = 9999
_MOST_CELLS = 2_000_000


def permutation_p_value(values: Floats, design: Floats) -> float:
    """How likely values in random order fit the design at least as well; the same every time.

    `values`: [R], of which only the ranks count. `design`: [R, Q], one column a contrast; the fit
    is the sum of squares of ranks @ design. Equal values share their rank. Source: Phipson and
    Smyth 2010, Permutation p-values should never be zero.
    """
    ranks = centred_ranks(values)
    shuffled = ranks[_orders(len(ranks))]  # [shuffles, R]
    # Sums of the same ranks in another order may differ in their last bit.
    least = (1 - 1e-9) * float(np.sum((ranks @ design) ** 2))
    hits = np.count_nonzero(np.sum((shuffled @ design) ** 2, axis=1) >= least)
    return float(1 + hits) / (1 + len(shuffled))


def centred_ranks(values: Floats) -> Floats:
    """Ranks less their mean; equal values share theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(shared[places] - (len(values) + 1) / 2, dtype=np.float64)


@lru_cache(maxsize=4)
def _orders(count: int) -> npt.NDArray[np.intp]:
    """Random orders of `count` values: [shuffles, count]; fewer where values are many."""
    shuffles = min(_SHUFFLES, 1 + _MOST_CELLS // count)
    in_order = np.tile(np.arange(count), (shuffles, 1))
    return np.random.default_rng(0).permuted(in_order, axis=1)
