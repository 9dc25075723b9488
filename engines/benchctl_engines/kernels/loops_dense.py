"""Products of a small batch with a large matrix, which memory limits: the matrix is read once.

BLAS packs the matrix first, for a batch that would use it many times. These loops multiply where
it lies. float32; a worker is an iteration of the parallel loop and owns columns or rows of the
result, so that the order of additions does not depend on the number of workers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop
from .dots_tile import COUNTS, ROWS, dot_rows, prefetch_row
from .gemm_tile import FROM_RESULT, FROM_ZERO, multiply
from .host_vectors import FEWEST_ROWS, LANES, WIDTH

Array = npt.NDArray[Any]

# Rows of the matrix that are walked side by side: the first cache holds this many lines of one set.
DEPTH_BLOCK = 8
# Depth of the dot products that are taken at once, so that the batch stays in the second cache.
DOT_BLOCK = 8192


@compiled_loop(parallel=True)
def multiply_dense(
    out: Array,
    x: Array,
    w: Array,
    bias: Array,
    floor: float,
    packed: Array,
    sums: Array,
    threads: int,
) -> None:
    """out[N, M] = max(x[N, K] @ w[K, M] + bias[M], floor); an empty bias is none.

    M is at least WIDTH. `packed` [K, rows] and `sums` [panels, rows, WIDTH] are worked in; `rows`
    is N, or FEWEST_ROWS where that is more. They are adjacent because rows a multiple of 4096
    bytes apart would push one another out of the first cache.
    """
    N, K = x.shape
    M = w.shape[1]
    rows = packed.shape[1]
    panels = sums.shape[0]
    for worker in prange(threads):
        for k in range(K * worker // threads, K * (worker + 1) // threads):
            for n in range(N):
                packed[k, n] = x[n, k]
            for n in range(N, rows):
                packed[k, n] = 0
    left, right, target = packed.ctypes.data, w.ctypes.data, sums.ctypes.data
    unbounded = np.float32(-np.inf)
    for worker in prange(threads):
        first, last = panels * worker // threads, panels * (worker + 1) // threads
        for k in range(0, K, DEPTH_BLOCK):
            depth = min(DEPTH_BLOCK, K - k)
            for panel in range(first, last):
                source = right + 4 * (k * M + min(panel * WIDTH, M - WIDTH))
                for line in range(DEPTH_BLOCK, DEPTH_BLOCK + depth):
                    prefetch_row(source + 4 * line * M)
                multiply(
                    left + 4 * k * rows,
                    4,
                    4 * rows,
                    0,
                    source,
                    4 * M,
                    target + 4 * panel * rows * WIDTH,
                    4 * WIDTH,
                    rows,
                    depth,
                    1,
                    FROM_RESULT if k else FROM_ZERO,
                    right,
                    unbounded,
                )
        for n in range(N):
            for panel in range(first, last):
                column = min(panel * WIDTH, M - WIDTH)
                # The last panel overlaps the one before it, which another worker may write.
                for j in range(panel * WIDTH - column, WIDTH):
                    value = sums[panel, n, j]
                    if bias.size:
                        value += bias[column + j]
                    out[n, column + j] = floor if value <= floor else value


@compiled_loop(parallel=True)
def multiply_dense_transposed(
    out: Array,
    x: Array,
    w: Array,
    bias: Array,
    floor: float,
    spaced: Array,
    sums: Array,
    threads: int,
) -> None:
    """out[N, M] = max(x[N, K] @ w[M, K].T + bias[M], floor); an empty bias is none.

    M is at least ROWS, K at least LANES. Worked in: `spaced` [rows, row], whose rows are no
    multiple of 4096 bytes apart, and `sums` [threads, ROWS * COUNTS[-1]]; `rows` is N, or COUNTS[0]
    where that is more.
    """
    N, K = x.shape
    M = w.shape[0]
    count = COUNTS[0]
    for each in COUNTS:
        count = each if each <= spaced.shape[0] else count
    head = K % LANES
    triples = (M + ROWS - 1) // ROWS
    rows = spaced.shape[0]
    for n in prange(rows):
        for k in range(K):
            spaced[n, k] = x[n, k] if n < N else np.float32(0)
    spacing = 4 * spaced.shape[1]
    for worker in prange(threads):
        made = sums[worker]
        first, last = triples * worker // threads, triples * (worker + 1) // threads
        k = 0
        while k < K:
            before = head if k == 0 else 0
            steps = min((K - k - before) // LANES, DOT_BLOCK // LANES)
            depth = before + steps * LANES
            for triple in range(first, last):
                row = min(triple * ROWS, M - ROWS)
                for n0 in range(0, rows, count):
                    n = min(n0, rows - count)
                    dot_rows(
                        count,
                        w.ctypes.data + 4 * (row * K + k),
                        4 * K,
                        spaced.ctypes.data + 4 * k + n * spacing,
                        spacing,
                        before,
                        steps,
                        made.ctypes.data,
                    )
                    # The last group of either side overlaps the one before it.
                    for i in range(triple * ROWS - row, ROWS):
                        for j in range(n0 - n, min(count, N - n)):
                            value = made[i * count + j]
                            if k:
                                value += out[n + j, row + i]
                            elif bias.size:
                                value += bias[row + i]
                            out[n + j, row + i] = value
            k += depth
        for n in range(N):
            for i in range(first * ROWS, min(last * ROWS, M)):
                value = out[n, i]
                out[n, i] = floor if value <= floor else value


@compiled_loop(parallel=True)
def add_outer_products(w: Array, a: Array, b: Array, added: bool, threads: int) -> None:
    """w[K, M] = a[N, K].T @ b[N, M], added to w where `added`.

    K is at least FEWEST_ROWS, M at least WIDTH.
    """
    N, K = a.shape
    M = w.shape[1]
    whole = M // WIDTH
    groups = K // FEWEST_ROWS
    left, right, target = a.ctypes.data, b.ctypes.data, w.ctypes.data
    none, floor = np.int64(0), np.float32(-np.inf)
    for worker in prange(threads):
        group, last = groups * worker // threads, groups * (worker + 1) // threads
        while group < last:
            size = min(2, last - group)
            row = group * FEWEST_ROWS
            group += size
            rows = size * FEWEST_ROWS if group < groups else K - row
            for panel in range(whole):
                column = panel * WIDTH
                multiply(
                    left + 4 * row,
                    4,
                    4 * K,
                    0,
                    right + 4 * column,
                    4 * M,
                    target + 4 * (row * M + column),
                    4 * M,
                    rows,
                    N,
                    1,
                    FROM_RESULT if added else FROM_ZERO,
                    none,
                    floor,
                )
            for i in range(row, row + rows):
                for j in range(whole * WIDTH, M):
                    value = w[i, j] if added else np.float32(0)
                    for n in range(N):
                        value += a[n, i] * b[n, j]
                    w[i, j] = value
