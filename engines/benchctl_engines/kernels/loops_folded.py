"""Compiled loops of the input gradient for few channels, such as those of an image in colour.

Positions fill the vectors, not channels. For each column of the window, the product of its filters
[R*C, K] with the gradient's line [K, Q] lands on the R image lines under the window: the tile adds
to them where they lie, so nothing is unfolded or folded back.

A worker is an iteration of a prange with a contiguous share of the blocks; each sum has one order
whatever the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from .compiled import compiled_loop
from .gemm_tile import FROM_RESULT, multiply
from .host_vectors import LANES, WIDTH
from .winograd_tiles import transpose_block

NO_FLOOR = np.float32(-np.inf)


@compiled_loop()
def pack_columns(packed, w, folds, channels_last):  # type: ignore[no-untyped-def]
    """packed[S, rows, K] with rows r*C + c; those without a filter are zero.

    w is [R, S, C, K] where `channels_last`, else [K, C, R, S].
    """
    C, K, R, S = folds.C, folds.K, folds.R, folds.S
    for s in range(S):
        for row in range(folds.rows):
            target = (s * folds.rows + row) * K
            r, c = row // C, row % C
            for k in range(K):
                if r >= R:
                    packed[target + k] = 0
                elif channels_last:
                    packed[target + k] = w[((r * S + s) * C + c) * K + k]
                else:
                    packed[target + k] = w[((k * C + c) * R + r) * S + s]


@compiled_loop()
def fill_panels(panels, g, folds, n, p):  # type: ignore[no-untyped-def]
    """panels[panel, K, WIDTH] = line p of the gradient, positions last; zero beyond its end."""
    K, P, Q = folds.K, folds.P, folds.Q
    size = K * WIDTH
    if folds.nchw:
        # A plane's line in one go: planes may lie so that few of their lines fit a cache at once.
        for k in range(K):
            start = ((n * K + k) * P + p) * Q
            for q in range(0, Q, WIDTH):
                width = min(WIDTH, Q - q)
                target = q * K + k * WIDTH
                panels[target : target + width] = g[start + q : start + q + width]
                panels[target + width : target + WIDTH] = 0
        return
    start = (n * P + p) * Q * K
    whole = Q // LANES * LANES if K % LANES == 0 else 0
    for q in range(0, whole, LANES):
        target = q // WIDTH * size + q % WIDTH
        for k in range(0, K, LANES):
            transpose_block(
                g.ctypes.data + 4 * (start + q * K + k),
                4 * K,
                panels.ctypes.data + 4 * (target + k * WIDTH),
                4 * WIDTH,
            )
    for q in range(whole, (Q + WIDTH - 1) // WIDTH * WIDTH):
        target = q // WIDTH * size + q % WIDTH
        for k in range(K):
            panels[target + k * WIDTH] = g[start + q * K + k] if q < Q else np.float32(0)


@compiled_loop()
def write_line(dx, sums, start, folds, n, h):  # type: ignore[no-untyped-def]
    """Line h of image n from the sums of its channels and phases."""
    C, H, W = folds.C, folds.H, folds.W
    for c in range(C):
        source = start + c * folds.stride_w * folds.phase
        if folds.nchw and folds.stride_w == 1:
            target = ((n * C + c) * H + h) * W
            dx[target : target + W] = sums[source + folds.left : source + folds.left + W]
            continue
        target = ((n * C + c) * H + h) * W if folds.nchw else (n * H + h) * W * C + c
        step = 1 if folds.nchw else C
        for w in range(W):
            column = (w + folds.left) // folds.stride_w
            phase = w + folds.left - column * folds.stride_w
            dx[target + w * step] = sums[source + phase * folds.phase + column]


@compiled_loop(parallel=True)
def fold_lines(dx, g, packed, folds, scratch, threads):  # type: ignore[no-untyped-def]
    """dx = the gradient g of a convolution carried back to its image; filters as packed above."""
    C, H, K, R, S = folds.C, folds.H, folds.K, folds.R, folds.S
    row = folds.stride_w * folds.phase
    line = C * row
    blocks = folds.N * folds.blocks
    for worker in prange(threads):
        own = scratch[worker * folds.worker_floats : (worker + 1) * folds.worker_floats]
        sums = own[folds.sums :]
        panels, target = own.ctypes.data, sums.ctypes.data
        for block in range(blocks * worker // threads, blocks * (worker + 1) // threads):
            n = block // folds.blocks
            at = block - n * folds.blocks
            first = H * at // folds.blocks
            count = H * (at + 1) // folds.blocks - first
            sums[:] = 0
            # Lines of the gradient whose window meets the block.
            low = max(-((R - 1 - first - folds.top) // folds.stride_h), 0)
            stop = min((first + count - 1 + folds.top) // folds.stride_h + 1, folds.P)
            for p in range(low, stop):
                # Sums begin R - 1 lines above the block.
                reached = p * folds.stride_h - folds.top - first + R - 1
                fill_panels(own, g, folds, n, p)
                for q in range(0, folds.Q, WIDTH):
                    for s in range(S):
                        column = s // folds.stride_w
                        phase = s - column * folds.stride_w
                        multiply(
                            packed.ctypes.data + 4 * s * folds.rows * K,
                            4 * K,
                            4,
                            0,
                            panels + 4 * q * K,
                            4 * WIDTH,
                            target + 4 * (reached * line + phase * folds.phase + q + column),
                            4 * row,
                            folds.rows,
                            K,
                            1,
                            FROM_RESULT,
                            0,
                            NO_FLOOR,
                        )
            for i in range(count):
                write_line(dx, sums, (i + R - 1) * line, folds, n, first + i)
