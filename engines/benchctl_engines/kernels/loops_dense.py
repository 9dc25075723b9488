"""Products of a small batch with a large matrix, which memory limits: the matrix is read once.

BLAS packs the matrix first, for a batch that would use it many times. These loops multiply where
it lies. float32; a worker is an iteration of the parallel loop and owns columns or rows of the
result, or whole shares of its sums, so that the order of additions does not depend on the number
of workers. A batch of one has loops of its own: nothing is used twice, so the matrix is read from
front to back, a few lines side by side.
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

# A single row's sums are made in so many shares of the depth, however many workers there are.
SHARES = 16
# Rows of the matrix that are read side by side for them, each from front to back.
_STREAMS = 8


@compiled_loop(parallel=True, fastmath={"contract"})
def multiply_row(
    out: Array, x: Array, w: Array, bias: Array, floor: float, sums: Array, threads: int
) -> None:
    """out[M] = max(x[K] @ w[K, M] + bias[M], floor); an empty bias is none.

    `sums` [SHARES, M] is worked in.
    """
    K, M = w.shape
    flat = w.reshape(w.size)
    groups = K // _STREAMS
    for worker in prange(threads):
        for share in range(SHARES * worker // threads, SHARES * (worker + 1) // threads):
            made = sums[share]
            made[:] = 0
            first, last = groups * share // SHARES, groups * (share + 1) // SHARES
            for k in range(first * _STREAMS, last * _STREAMS, _STREAMS):
                a, b, c, d, e, f, g, h = (
                    x[k],
                    x[k + 1],
                    x[k + 2],
                    x[k + 3],
                    x[k + 4],
                    x[k + 5],
                    x[k + 6],
                    x[k + 7],
                )
                lines = flat[k * M : (k + _STREAMS) * M].reshape(_STREAMS, M)
                l0, l1, l2, l3 = lines[0], lines[1], lines[2], lines[3]
                l4, l5, l6, l7 = lines[4], lines[5], lines[6], lines[7]
                for j in range(M):
                    value = made[j] + a * l0[j] + b * l1[j] + c * l2[j] + d * l3[j]
                    made[j] = value + e * l4[j] + f * l5[j] + g * l6[j] + h * l7[j]
            if share == SHARES - 1:
                for k in range(groups * _STREAMS, K):
                    line = flat[k * M : (k + 1) * M]
                    for j in range(M):
                        made[j] += x[k] * line[j]
    for j in range(M):
        value = sums[0, j]
        for share in range(1, SHARES):
            value += sums[share, j]
        if bias.size:
            value += bias[j]
        out[j] = floor if value <= floor else value


# Rows of the transposed matrix that are read side by side.
_DOTS = 4


@compiled_loop(parallel=True, fastmath={"contract", "reassoc"})
def multiply_row_transposed(
    out: Array, x: Array, w: Array, bias: Array, floor: float, threads: int
) -> None:
    """out[M] = max(x[K] @ w[M, K].T + bias[M], floor); an empty bias is none."""
    M, K = w.shape
    flat = w.reshape(w.size)
    groups = M // _DOTS
    for worker in prange(threads):
        for group in range(groups * worker // threads, groups * (worker + 1) // threads):
            m = group * _DOTS
            lines = flat[m * K : (m + _DOTS) * K].reshape(_DOTS, K)
            l0, l1, l2, l3 = lines[0], lines[1], lines[2], lines[3]
            s0 = s1 = s2 = s3 = np.float32(0)
            for k in range(K):
                s0 += x[k] * l0[k]
                s1 += x[k] * l1[k]
                s2 += x[k] * l2[k]
                s3 += x[k] * l3[k]
            out[m], out[m + 1], out[m + 2], out[m + 3] = s0, s1, s2, s3
    for m in range(groups * _DOTS, M):
        total = np.float32(0)
        for k in range(K):
            total += x[k] * flat[m * K + k]
        out[m] = total
    for m in range(M):
        value = out[m]
        if bias.size:
            value += bias[m]
        out[m] = floor if value <= floor else value


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
