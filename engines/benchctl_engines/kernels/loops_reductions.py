"""Compiled sums, in blocks of fixed size and in double precision.

The blocks do not depend on the number of threads, nor does the order in which their sums are added,
so the result is the same to the last bit on any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop

Array = npt.NDArray[Any]


@compiled_loop(parallel=True, fastmath={"reassoc"})
def sum_rows(partial: Array, x: Array, block: int) -> None:
    """partial[row, b] = sum of x[row, b*block : (b+1)*block], float64."""
    rows, columns = x.shape
    blocks = partial.shape[1]
    for task in prange(rows * blocks):
        row = task // blocks
        b = task - row * blocks
        piece = x[row, b * block : min((b + 1) * block, columns)]
        total = 0.0
        for i in range(piece.size):
            total += piece[i]
        partial[row, b] = total


@compiled_loop(parallel=True)
def sum_columns(partial: Array, x: Array, row_block: int, column_block: int) -> None:
    """partial[b, column] = sum of x[b*row_block : (b+1)*row_block, column], float64."""
    rows, columns = x.shape
    blocks = partial.shape[0]
    stripes = -(-columns // column_block)
    for task in prange(blocks * stripes):
        b = task // stripes
        low = (task - b * stripes) * column_block
        total = partial[b, low : min(low + column_block, columns)]
        total[:] = 0
        for row in range(b * row_block, min((b + 1) * row_block, rows)):
            piece = x[row, low : low + total.size]
            for i in range(total.size):
                total[i] += piece[i]


@compiled_loop()
def add_outer(out: Array, partial: Array) -> None:
    """out[k] = sum over a and b of partial[a, k, b], in that order."""
    A, K, B = partial.shape
    for k in range(K):
        total = 0.0
        for a in range(A):
            for b in range(B):
                total += partial[a, k, b]
        out[k] = total
