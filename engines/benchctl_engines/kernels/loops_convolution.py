"""Compiled loops around the matrix products of a convolution.

A panel holds the inputs of a range of output positions, flattened over [N, P, Q]: it is
[C*R*S, positions] in NCHW and [positions, R*S*C] in NHWC, the order of the filters' own memory.

The loops run on one thread on purpose. They alternate with products on BLAS's own threads, which
keep their cores busy for a while after each product; a second pool of threads would then wait for
a core at every panel, and lose far more than it gains.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .compiled import compiled_loop
from .loops_memory import copy_run

Array = npt.NDArray[Any]


@compiled_loop()
def im2col_nchw(
    panel: Array,
    x: Array,
    first: int,
    P: int,
    Q: int,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """Fill panel[C*R*S, positions] from x[N, C, H, W], line by line."""
    C, H, W = x.shape[1], x.shape[2], x.shape[3]
    positions = panel.shape[1]
    flat_panel, flat_x = panel.reshape(panel.size), x.reshape(x.size)
    first_line = first // Q
    for k in range(panel.shape[0]):
        c = k // (R * S)
        r = (k - c * R * S) // S
        shift = k - c * R * S - r * S - left
        # output columns [low, high) whose input column lies inside the image
        low = -(shift // stride_w)
        high = (W - 1 - shift) // stride_w + 1
        n = first_line // P
        p = first_line - n * P
        q = first - first_line * Q
        at = k * positions
        done = at + positions
        while at < done:
            run = min(Q - q, done - at)
            ih = p * stride_h - top + r
            begin = end = 0
            if 0 <= ih < H:
                begin = min(max(low - q, 0), run)
                end = max(min(high - q, run), begin)
            source = ((n * C + c) * H + ih) * W + q * stride_w + shift
            for i in range(begin):
                flat_panel[at + i] = 0
            if stride_w == 1:
                copy_run(flat_panel, at + begin, flat_x, source + begin, end - begin)
            else:
                for i in range(begin, end):
                    flat_panel[at + i] = flat_x[source + i * stride_w]
            for i in range(end, run):
                flat_panel[at + i] = 0
            at += run
            q = 0
            p += 1
            if p == P:
                p = 0
                n += 1


@compiled_loop()
def im2col_same_width_nchw(
    panel: Array,
    x: Array,
    first: int,
    P: int,
    Q: int,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """Fill panel[C*R*S, positions] from x[N, C, H, W] where the stride is 1 and Q == W.

    Output and input lines are equally long, so that a filter tap reads one run of memory over all
    lines of an image; the columns that fell outside it are then cleared.
    """
    C, H, W = x.shape[1], x.shape[2], x.shape[3]
    positions = panel.shape[1]
    pixels = P * Q
    flat_panel, flat_x = panel.reshape(panel.size), x.reshape(x.size)
    for k in range(panel.shape[0]):
        c = k // (R * S)
        r = (k - c * R * S) // S
        shift = k - c * R * S - r * S - left
        # output columns [low, high) whose input column lies inside the image
        low = min(max(-shift, 0), W)
        high = max(min(W - shift, W), low)
        position = first
        while position < first + positions:
            n = position // pixels
            start = position - n * pixels
            stop = min(pixels, start + first + positions - position)
            # panel index and x index of this image's position 0
            at = k * positions + position - first - start
            source = (n * C + c) * H * W + (r - top) * W + shift
            begin = min(max((top - r) * W, start), stop)
            end = max(min((H + top - r) * W, stop), begin)
            for i in range(start, begin):
                flat_panel[at + i] = 0
            inside = max(begin, -source)
            count = min(end, flat_x.size - source) - inside
            copy_run(flat_panel, at + inside, flat_x, source + inside, max(count, 0))
            if low > 0 or high < W:
                for line in range(begin // W * W, end, W):
                    for i in range(max(line, begin), min(line + low, end)):
                        flat_panel[at + i] = 0
                    for i in range(max(line + high, begin), min(line + W, end)):
                        flat_panel[at + i] = 0
            for i in range(end, stop):
                flat_panel[at + i] = 0
            position += stop - start


@compiled_loop()
def im2col_nhwc(
    panel: Array,
    x: Array,
    first: int,
    P: int,
    Q: int,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """Fill panel[positions, R*S*C] from x[N, H, W, C]."""
    H, W, C = x.shape[1], x.shape[2], x.shape[3]
    flat_panel, flat_x = panel.reshape(panel.size), x.reshape(x.size)
    for j in range(panel.shape[0]):
        line = (first + j) // Q
        n = line // P
        ih0 = (line - n * P) * stride_h - top
        iw0 = (first + j - line * Q) * stride_w - left
        # taps [low, high) of each filter row fall inside the image
        low = min(max(-iw0, 0), S)
        high = max(min(W - iw0, S), low)
        for r in range(R):
            ih = ih0 + r
            at = (j * R + r) * S * C
            begin = end = 0
            if 0 <= ih < H:
                begin = low * C
                end = high * C
                source = ((n * H + ih) * W + iw0) * C
                copy_run(flat_panel, at + begin, flat_x, source + begin, end - begin)
            for i in range(at, at + begin):
                flat_panel[i] = 0
            for i in range(at + end, at + S * C):
                flat_panel[i] = 0


@compiled_loop()
def col2im_nchw(
    x: Array,
    panel: Array,
    first: int,
    P: int,
    Q: int,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """Add panel[C*R*S, positions] onto the places of x[N, C, H, W] that im2col reads."""
    C, H, W = x.shape[1], x.shape[2], x.shape[3]
    positions = panel.shape[1]
    # channels share no element of x, so they may run side by side
    for c in range(C):
        for tap in range(R * S):
            r = tap // S
            shift = tap - r * S - left
            j = 0
            line = first // Q
            q = first - line * Q
            while j < positions:
                n = line // P
                run = min(Q - q, positions - j)
                ih = (line - n * P) * stride_h - top + r
                if 0 <= ih < H:
                    low = max(q, -(shift // stride_w))
                    high = min(q + run, (W - 1 - shift) // stride_w + 1)
                    for i in range(low, high):
                        x[n, c, ih, i * stride_w + shift] += panel[c * R * S + tap, j + i - q]
                j += run
                line += 1
                q = 0


@compiled_loop()
def col2im_nhwc(
    x: Array,
    panel: Array,
    first: int,
    P: int,
    Q: int,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """Add panel[positions, R*S*C] onto the places of x[N, H, W, C] that im2col reads."""
    H, W, C = x.shape[1], x.shape[2], x.shape[3]
    last = first + panel.shape[0]
    first_row = first // (P * Q) * H
    last_row = ((last - 1) // (P * Q) + 1) * H
    # each input row gathers what belongs to it, so rows may run side by side
    for row in range(first_row, last_row):
        n = row // H
        ih = row - n * H
        for r in range(R):
            p = (ih + top - r) // stride_h
            if p < 0 or p >= P or p * stride_h != ih + top - r:
                continue
            line = (n * P + p) * Q
            for q in range(max(0, first - line), min(Q, last - line)):
                j = line + q - first
                iw0 = q * stride_w - left
                for s in range(max(-iw0, 0), min(W - iw0, S)):
                    at = (r * S + s) * C
                    for c in range(C):
                        x[n, ih, iw0 + s, c] += panel[j, at + c]


@compiled_loop()
def rotate_filter_nchw(rotated: Array, w: Array) -> None:
    """rotated[C, K, R, S] = w[K, C, R, S] turned by 180 degrees."""
    K, C, R, S = w.shape
    for c in range(C):
        for k in range(K):
            for r in range(R):
                for s in range(S):
                    rotated[c, k, r, s] = w[k, c, R - 1 - r, S - 1 - s]


@compiled_loop()
def rotate_filter_nhwc(rotated: Array, w: Array) -> None:
    """rotated[R, S, K, C] = w[R, S, C, K] turned by 180 degrees."""
    R, S, C, K = w.shape
    block = 16
    stripes = -(-K // block)
    for task in range(R * S * stripes):
        r = task // (S * stripes)
        s = task // stripes - r * S
        k0 = (task - (r * S + s) * stripes) * block
        k1 = min(k0 + block, K)
        for c0 in range(0, C, block):
            for k in range(k0, k1):
                for c in range(c0, min(c0 + block, C)):
                    rotated[r, s, k, c] = w[R - 1 - r, S - 1 - s, c, k]


@compiled_loop()
def gather_positions(staged: Array, images: Array, first_image: int) -> None:
    """staged[K, n*P*Q] = images[N, K, P*Q] of the n images from `first_image` on."""
    K, pixels = images.shape[1], images.shape[2]
    count = staged.shape[1] // max(pixels, 1)
    for k in range(K):
        for n in range(count):
            for i in range(pixels):
                staged[k, n * pixels + i] = images[first_image + n, k, i]


@compiled_loop()
def scatter_positions(images: Array, staged: Array, first_image: int) -> None:
    """images[N, K, P*Q] of the n images from `first_image` on = staged[K, n*P*Q]."""
    K, pixels = images.shape[1], images.shape[2]
    count = staged.shape[1] // max(pixels, 1)
    for k in range(K):
        for n in range(count):
            for i in range(pixels):
                images[first_image + n, k, i] = staged[k, n * pixels + i]


@compiled_loop()
def accumulate(total: Array, part: Array) -> None:
    """total += part, both flat."""
    for i in range(total.size):
        total[i] += part[i]
