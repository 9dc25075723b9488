"""How many elements of each window lie inside the image: some frameworks count padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contract import Array
from ..vocabulary import Padding, Pair


def window_counts(sizes: Sequence[int], window: Pair, stride: Pair, padding: Padding) -> Array:
    """[P, Q] for images of `sizes` (rows, columns); float64."""
    rows, columns = (
        _along_one_axis(*each) for each in zip(sizes, window, stride, padding, strict=True)
    )
    return np.outer(rows, columns)


def _along_one_axis(size: int, window: int, stride: int, padding: Pair) -> Array:
    positions = (size + sum(padding) - window) // stride + 1
    starts = np.arange(positions) * stride - padding[0]
    counts: Array = np.minimum(starts + window, size) - np.maximum(starts, 0)
    return counts.astype(np.float64)
