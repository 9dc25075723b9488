"""Compiled copies between memory orders."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop

Array = npt.NDArray[Any]


@compiled_loop(parallel=True)
def transpose_matrices(out: Array, x: Array, block: int) -> None:
    """out[a, n, m] = x[a, m, n], in blocks that fit the first-level cache."""
    A, M, N = x.shape
    stripes = -(-N // block)
    for task in prange(A * stripes):
        a = task // stripes
        low = (task - a * stripes) * block
        high = min(low + block, N)
        for m0 in range(0, M, block):
            m1 = min(m0 + block, M)
            for n in range(low, high):
                target = out[a, n]
                for m in range(m0, m1):
                    target[m] = x[a, m, n]
