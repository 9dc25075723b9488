"""Compiled loops of max pooling.

Offsets are the index within the window, row-major, of its first maximum; NaN counts as the largest
value. Padding never wins. Axis letters: N batch, C channels, H W input, P Q output, R S window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop

Array = npt.NDArray[Any]


@compiled_loop(parallel=True)
def max_pool_nchw(
    y: Array,
    offsets: Array,
    x: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """y, offsets [planes, P, Q] from x[planes, H, W]."""
    planes, P, Q = y.shape
    H, W = x.shape[1], x.shape[2]
    for line in prange(planes * P):
        plane = line // P
        p = line - plane * P
        ih0 = p * stride_h - top
        for q in range(Q):
            iw0 = q * stride_w - left
            best = -np.inf
            winner = -1
            for r in range(max(-ih0, 0), min(H - ih0, R)):
                for s in range(max(-iw0, 0), min(W - iw0, S)):
                    value = x[plane, ih0 + r, iw0 + s]
                    if winner < 0 or value > best or (value != value and best == best):
                        best = value
                        winner = r * S + s
            y[plane, p, q] = best
            offsets[plane, p, q] = max(winner, 0)


@compiled_loop(inline="always")
def _beats(value: float, best: float) -> bool:
    """Whether a later element replaces the best so far; the first NaN stays."""
    return (value > best) | ((value != value) & (best == best))


@compiled_loop(parallel=True)
def max_pool_2x2_nchw(y: Array, offsets: Array, x: Array) -> None:
    """y, offsets [planes, P, Q] from x[planes, H, W]: 2x2 windows side by side, no padding.

    Without inner loops over the window, and with unsigned indices, the row runs in vector
    registers.
    """
    planes, P, Q = y.shape
    for line in prange(planes * P):
        plane = line // P
        p = line - plane * P
        above, below = x[plane, 2 * p], x[plane, 2 * p + 1]
        out, places = y[plane, p], offsets[plane, p]
        for q in range(np.uint64(Q)):
            left = q + q
            right = left + np.uint64(1)
            best = above[left]
            winner = np.uint8(0)
            for value, place in (
                (above[right], np.uint8(1)),
                (below[left], np.uint8(2)),
                (below[right], np.uint8(3)),
            ):
                wins = _beats(value, best)
                best = value if wins else best
                winner = place if wins else winner
            out[q] = best
            places[q] = winner


@compiled_loop(parallel=True)
def max_pool_nhwc(
    y: Array,
    offsets: Array,
    x: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """y, offsets [N, P, Q, C] from x[N, H, W, C]."""
    N, P, Q, C = y.shape
    H, W = x.shape[1], x.shape[2]
    for line in prange(N * P):
        n = line // P
        p = line - n * P
        ih0 = p * stride_h - top
        for q in range(Q):
            iw0 = q * stride_w - left
            best = y[n, p, q]
            winner = offsets[n, p, q]
            best[:] = -np.inf
            winner[:] = 0
            first = True
            for r in range(max(-ih0, 0), min(H - ih0, R)):
                for s in range(max(-iw0, 0), min(W - iw0, S)):
                    values = x[n, ih0 + r, iw0 + s]
                    tap = np.uint8(r * S + s)
                    for c in range(C):
                        value = values[c]
                        wins = first | (value > best[c]) | ((value != value) & (best[c] == best[c]))
                        best[c] = value if wins else best[c]
                        winner[c] = tap if wins else winner[c]
                    first = False


@compiled_loop(parallel=True)
def max_pool_2x2_gradient_nchw(dx: Array, g: Array, offsets: Array) -> None:
    """dx[planes, 2*P, 2*Q] from g[planes, P, Q]: 2x2 windows side by side that cover the plane.

    Every element belongs to one window, so it is written once and nothing is added.
    """
    planes, P, Q = g.shape
    zero = g.dtype.type(0)
    for line in prange(planes * P):
        plane = line // P
        p = line - plane * P
        gradients, winners = g[plane, p], offsets[plane, p]
        for r in range(2):
            row = dx[plane, 2 * p + r]
            first, second = np.uint8(2 * r), np.uint8(2 * r + 1)
            for q in range(np.uint64(Q)):
                left = q + q
                value, winner = gradients[q], winners[q]
                row[left] = value if winner == first else zero
                row[left + np.uint64(1)] = value if winner == second else zero


@compiled_loop(parallel=True)
def max_pool_2x2_gradient_nhwc(dx: Array, g: Array, offsets: Array) -> None:
    """dx[N, 2*P, 2*Q, C] from g[N, P, Q, C], as in `max_pool_2x2_gradient_nchw`."""
    N, P, Q, C = g.shape
    zero = g.dtype.type(0)
    for line in prange(N * P):
        n = line // P
        p = line - n * P
        for q in range(Q):
            gradients, winners = g[n, p, q], offsets[n, p, q]
            for place in range(4):
                target = dx[n, 2 * p + place // 2, 2 * q + place % 2]
                tap = np.uint8(place)
                for c in range(np.uint64(C)):
                    # Loaded whether wanted or not: a load under a condition is no vector's.
                    value = gradients[c]
                    target[c] = value if winners[c] == tap else zero


@compiled_loop(parallel=True)
def max_pool_gradient_nchw(
    dx: Array,
    g: Array,
    offsets: Array,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """dx[planes, H, W]: g[planes, P, Q] added at the winning positions, zero elsewhere."""
    planes, H, W = dx.shape
    P, Q = g.shape[1], g.shape[2]
    # windows may overlap within a plane, so a plane is the unit of work
    for plane in prange(planes):
        for ih in range(H):
            for iw in range(W):
                dx[plane, ih, iw] = 0
        for p in range(P):
            for q in range(Q):
                offset = int(offsets[plane, p, q])
                r = offset // S
                ih = p * stride_h - top + r
                iw = q * stride_w - left + offset - r * S
                if 0 <= ih < H and 0 <= iw < W:
                    dx[plane, ih, iw] += g[plane, p, q]


@compiled_loop(parallel=True)
def max_pool_gradient_nhwc(
    dx: Array,
    g: Array,
    offsets: Array,
    R: int,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """dx[N, H, W, C]: g[N, P, Q, C] added at the winning positions, zero elsewhere."""
    N, H, W, C = dx.shape
    P, Q = g.shape[1], g.shape[2]
    # each input row gathers from the windows that cover it, so rows may run side by side
    for row in prange(N * H):
        n = row // H
        ih = row - n * H
        dx[n, ih] = 0
        for r in range(R):
            p = (ih + top - r) // stride_h
            if p < 0 or p >= P or p * stride_h != ih + top - r:
                continue
            for q in range(Q):
                iw0 = q * stride_w - left
                gradients = g[n, p, q]
                winners = offsets[n, p, q]
                for s in range(max(-iw0, 0), min(W - iw0, S)):
                    target = dx[n, ih, iw0 + s]
                    tap = np.uint8(r * S + s)
                    for c in range(C):
                        if winners[c] == tap:
                            target[c] += gradients[c]


@compiled_loop(parallel=True)
def max_pool_gather_nchw(
    out: Array,
    u: Array,
    offsets: Array,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """out[planes, P, Q] = u[planes, H, W] at the winning positions."""
    planes, P, Q = out.shape
    H, W = u.shape[1], u.shape[2]
    for line in prange(planes * P):
        plane = line // P
        p = line - plane * P
        for q in range(Q):
            offset = int(offsets[plane, p, q])
            r = offset // S
            ih = p * stride_h - top + r
            iw = q * stride_w - left + offset - r * S
            inside = 0 <= ih < H and 0 <= iw < W
            out[plane, p, q] = u[plane, ih, iw] if inside else 0


@compiled_loop(parallel=True)
def max_pool_gather_nhwc(
    out: Array,
    u: Array,
    offsets: Array,
    S: int,
    stride_h: int,
    stride_w: int,
    top: int,
    left: int,
) -> None:
    """out[N, P, Q, C] = u[N, H, W, C] at the winning positions."""
    N, P, Q, C = out.shape
    H, W = u.shape[1], u.shape[2]
    for line in prange(N * P):
        n = line // P
        p = line - n * P
        for q in range(Q):
            for c in range(C):
                offset = int(offsets[n, p, q, c])
                r = offset // S
                ih = p * stride_h - top + r
                iw = q * stride_w - left + offset - r * S
                inside = 0 <= ih < H and 0 <= iw < W
                out[n, p, q, c] = u[n, ih, iw, c] if inside else 0
