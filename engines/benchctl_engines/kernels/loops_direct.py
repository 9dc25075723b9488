"""Compiled loops of direct convolution: lines of output as matrix products, nothing unfolded.

A block is some output lines of one image. The input lines under it are copied once, padded and
channels last, to a worker's own slab; the R lines under an output line are then the segments of a
product, since along a line the S*C inputs under a filter lie next to each other. The gradient of
the filters is the product of the same slab, transposed, with the gradient's lines.

A worker is an iteration of a prange with a contiguous share of the blocks, so one thread count
gives one result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop
from .gemm_tile import FROM_BIAS, FROM_RESULT, multiply
from .host_vectors import FEWEST_ROWS, LANES, WIDTH
from .winograd_tiles import transpose_block

Array = npt.NDArray[Any]
NO_FLOOR = np.float32(-np.inf)


@compiled_loop()
def gather_channels(slab, start, x, line, plane, C, count):  # type: ignore[no-untyped-def]
    """slab[start + i*C + c] = x[line + c*plane + i] for i < count."""
    if C % LANES == 0 and count >= LANES:
        source, target = x.ctypes.data, slab.ctypes.data
        for c in range(0, C, LANES):
            for at in range(0, count, LANES):
                i = min(at, count - LANES)
                transpose_block(
                    source + 4 * (line + c * plane + i),
                    4 * plane,
                    target + 4 * (start + i * C + c),
                    4 * C,
                )
        return
    for c in range(C):
        for i in range(count):
            slab[start + i * C + c] = x[line + c * plane + i]


@compiled_loop()
def scatter_channels(y, line, plane, slab, start, row, K, count):  # type: ignore[no-untyped-def]
    """y[line + k*plane + i] = slab[start + i*row + k] for i < count."""
    if K % LANES == 0 and count >= LANES:
        source, target = slab.ctypes.data, y.ctypes.data
        for k in range(0, K, LANES):
            for at in range(0, count, LANES):
                i = min(at, count - LANES)
                transpose_block(
                    source + 4 * (start + i * row + k),
                    4 * row,
                    target + 4 * (line + k * plane + i),
                    4 * plane,
                )
        return
    for k in range(K):
        for i in range(count):
            y[line + k * plane + i] = slab[start + i * row + k]


@compiled_loop()
def fill_slab(slab, x, lines, n, first, count):  # type: ignore[no-untyped-def]
    """The padded input lines under output lines [first, first + count) of image n."""
    C, H, W = lines.C, lines.H, lines.W
    top = first * lines.stride_h - lines.top
    high = (count - 1) * lines.stride_h + lines.R
    # Columns [low, stop) of the slab lie inside the image.
    low = min(max(lines.left, 0), lines.slab_width)
    stop = min(max(W + lines.left, low), lines.slab_width)
    for i in range(high):
        start = i * lines.slab_row
        y = top + i
        if y < 0 or y >= H or low == stop:
            slab[start : start + lines.slab_row] = 0
            continue
        slab[start : start + low * C] = 0
        slab[start + stop * C : start + lines.slab_row] = 0
        if lines.nchw:
            line = (n * C * H + y) * W + low - lines.left
            gather_channels(slab, start + low * C, x, line, H * W, C, stop - low)
        else:
            line = ((n * H + y) * W + low - lines.left) * C
            slab[start + low * C : start + stop * C] = x[line : line + (stop - low) * C]


@compiled_loop()
def block_lines(lines, block):  # type: ignore[no-untyped-def]
    """(image, first output line, count) of a block."""
    n = block // lines.blocks
    at = block - n * lines.blocks
    first = lines.P * at // lines.blocks
    return n, first, lines.P * (at + 1) // lines.blocks - first


@compiled_loop(parallel=True)
def pack_filters(packed, w, R, S, C, K, channels_last, rotated, threads):  # type: ignore[no-untyped-def]
    """packed[panel, tap, C, WIDTH] from the filters; lanes without a channel are zero.

    w is [R, S, C, K] where `channels_last`, else [K, C, R, S]. `rotated`: those of the transposed
    convolution, where w has C and K exchanged.
    """
    panels = (K + WIDTH - 1) // WIDTH
    taps = R * S
    items = panels * taps * C
    for worker in prange(threads):
        for item in range(items * worker // threads, items * (worker + 1) // threads):
            j = item // (taps * C)
            tap = (item - j * taps * C) // C
            c = item - (j * taps + tap) * C
            at = taps - 1 - tap if rotated else tap
            k = j * WIDTH
            if channels_last:
                start = (at * K + k) * C + c if rotated else (at * C + c) * K + k
                stride = C if rotated else 1
            else:
                start = (c * K + k) * taps + at if rotated else (k * C + c) * taps + at
                stride = taps if rotated else C * taps
            target = item * WIDTH
            width = min(WIDTH, K - k)
            for lane in range(width):
                packed[target + lane] = w[start + lane * stride]
            packed[target + width : target + WIDTH] = 0


@compiled_loop(parallel=True)
def convolve_lines(y, x, packed, bias, floor, lines, scratch, threads):  # type: ignore[no-untyped-def]
    """y = max(convolution of x + bias, floor), filters as from `pack_filters`.

    bias has a whole number of panels.
    """
    K, P, Q = lines.K, lines.P, lines.Q
    panels = (K + WIDTH - 1) // WIDTH
    depth, rows = lines.S * lines.C, max(Q, FEWEST_ROWS)
    blocks = lines.N * lines.blocks
    # Results go straight to their place where nothing lies beside them that a tile would touch.
    straight = not lines.nchw and Q >= FEWEST_ROWS
    wide = panels * WIDTH
    for worker in prange(threads):
        own = scratch[worker * lines.worker_floats : (worker + 1) * lines.worker_floats]
        made = own[lines.made :]
        slab, staged = own.ctypes.data, made.ctypes.data
        for block in range(blocks * worker // threads, blocks * (worker + 1) // threads):
            n, first, count = block_lines(lines, block)
            fill_slab(own, x, lines, n, first, count)
            for j in range(panels):
                whole = straight and (j + 1) * WIDTH <= K
                panel = packed.ctypes.data + 4 * j * lines.R * depth * WIDTH
                for i in range(count):
                    line = (n * P + first + i) * Q * K
                    if whole:
                        target, row = y.ctypes.data + 4 * (line + j * WIDTH), 4 * K
                    else:
                        target, row = staged + 4 * (i * rows * wide + j * WIDTH), 4 * wide
                    multiply(
                        slab + 4 * i * lines.stride_h * lines.slab_row,
                        4 * lines.stride_w * lines.C,
                        4,
                        4 * lines.slab_row,
                        panel,
                        4 * WIDTH,
                        target,
                        row,
                        rows,
                        depth,
                        lines.R,
                        FROM_BIAS,
                        bias.ctypes.data + 4 * j * WIDTH,
                        floor,
                    )
                    if whole or lines.nchw:
                        continue
                    low, high = j * WIDTH, min((j + 1) * WIDTH, K)
                    for q in range(Q):
                        at = (i * rows + q) * wide
                        for k in range(low, high):
                            y[line + q * K + k] = made[at + k]
            if lines.nchw:
                for i in range(count):
                    line = (n * K * P + first + i) * Q
                    scatter_channels(y, line, P * Q, made, i * rows * wide, wide, K, Q)


@compiled_loop()
def fill_gradient(made, g, lines, n, first, count):  # type: ignore[no-untyped-def]
    """made[line, q, whole panels] from g, channels last; lanes without a channel are zero."""
    K, P, Q = lines.K, lines.P, lines.Q
    wide = (K + WIDTH - 1) // WIDTH * WIDTH
    if not lines.nchw:
        for q in range(count * Q):
            at = ((n * P + first) * Q + q) * K
            made[q * wide : q * wide + K] = g[at : at + K]
            made[q * wide + K : (q + 1) * wide] = 0
        return
    if wide == K:
        line = (n * K * P + first) * Q
        gather_channels(made, 0, g, line, P * Q, K, count * Q)
        return
    for q in range(count * Q):
        made[q * wide + K : (q + 1) * wide] = 0
        for k in range(K):
            made[q * wide + k] = g[((n * K + k) * P + first) * Q + q]


@compiled_loop(parallel=True)
def correlate_lines(sums, x, g, lines, scratch, threads):  # type: ignore[no-untyped-def]
    """sums[worker, R, rows, whole panels] = a worker's share of the filters' gradient.

    Row s*C + c belongs to tap column s and channel c; there are FEWEST_ROWS at least.
    """
    K, P, Q = lines.K, lines.P, lines.Q
    panels = (K + WIDTH - 1) // WIDTH
    wide = panels * WIDTH
    rows = max(lines.S * lines.C, FEWEST_ROWS)
    blocks = lines.N * lines.blocks
    share = lines.R * rows * wide
    straight = not lines.nchw and wide == K
    for worker in prange(threads):
        own = scratch[worker * lines.worker_floats : (worker + 1) * lines.worker_floats]
        made = own[lines.made :]
        total = sums[worker * share : (worker + 1) * share]
        total[:] = 0
        for block in range(blocks * worker // threads, blocks * (worker + 1) // threads):
            n, first, count = block_lines(lines, block)
            fill_slab(own, x, lines, n, first, count)
            if straight:
                right = g.ctypes.data + 4 * (n * P + first) * Q * K
            else:
                fill_gradient(made, g, lines, n, first, count)
                right = made.ctypes.data
            for r in range(lines.R):
                for j in range(panels):
                    multiply(
                        own.ctypes.data + 4 * r * lines.slab_row,
                        4,
                        4 * lines.stride_w * lines.C,
                        4 * lines.stride_h * lines.slab_row,
                        right + 4 * j * WIDTH,
                        4 * wide,
                        total.ctypes.data + 4 * (r * rows * wide + j * WIDTH),
                        4 * wide,
                        rows,
                        Q,
                        count,
                        FROM_RESULT,
                        0,
                        NO_FLOOR,
                    )


@compiled_loop(parallel=True)
def add_shares(w, sums, lines, channels_last, threads):  # type: ignore[no-untyped-def]
    """The filters' gradient, [R, S, C, K] where `channels_last`, else [K, C, R, S]."""
    C, K, R, S = lines.C, lines.K, lines.R, lines.S
    wide = (K + WIDTH - 1) // WIDTH * WIDTH
    rows = max(S * C, FEWEST_ROWS)
    share = R * rows * wide
    items = R * S * C
    for worker in prange(threads):
        for item in range(items * worker // threads, items * (worker + 1) // threads):
            r = item // (S * C)
            start = (r * rows + item - r * S * C) * wide
            s, c = item // C - r * S, item % C
            target = item * K if channels_last else (c * R + r) * S + s
            stride = 1 if channels_last else C * R * S
            for k in range(K):
                total = sums[start + k]
                for other in range(1, threads):
                    total += sums[other * share + start + k]
                w[target + k * stride] = total
