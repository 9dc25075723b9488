"""Compiled loops of average pooling over the elements of a window that lie inside the image.

Axis letters: N batch, C channels, H W input, P Q output, R S window.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop

Array = npt.NDArray[Any]


@compiled_loop(inline="always")
def _inside(start: int, window: int, size: int) -> int:
    """How many of the window's elements along an axis lie inside."""
    return min(start + window, size) - max(start, 0)


@compiled_loop(parallel=True)
def average_pool_nchw(
    y: Array, x: Array, R: int, S: int, stride_h: int, stride_w: int, top: int, left: int
) -> None:
    """y[planes, P, Q] from x[planes, H, W]."""
    planes, P, Q = y.shape
    H, W = x.shape[1], x.shape[2]
    zero = y.dtype.type(0)
    for line in prange(planes * P):
        plane = line // P
        p = line - plane * P
        ih0 = p * stride_h - top
        for q in range(Q):
            iw0 = q * stride_w - left
            total = zero
            for ih in range(max(ih0, 0), min(ih0 + R, H)):
                for iw in range(max(iw0, 0), min(iw0 + S, W)):
                    total += x[plane, ih, iw]
            y[plane, p, q] = total / (_inside(ih0, R, H) * _inside(iw0, S, W))


@compiled_loop(parallel=True)
def average_pool_nhwc(
    y: Array, x: Array, R: int, S: int, stride_h: int, stride_w: int, top: int, left: int
) -> None:
    """y[N, P, Q, C] from x[N, H, W, C]."""
    N, P, Q, C = y.shape
    H, W = x.shape[1], x.shape[2]
    for line in prange(N * P):
        n = line // P
        p = line - n * P
        ih0 = p * stride_h - top
        for q in range(Q):
            iw0 = q * stride_w - left
            totals = y[n, p, q]
            totals[:] = 0
            for ih in range(max(ih0, 0), min(ih0 + R, H)):
                for iw in range(max(iw0, 0), min(iw0 + S, W)):
                    values = x[n, ih, iw]
                    for c in range(C):
                        totals[c] += values[c]
            count = y.dtype.type(_inside(ih0, R, H) * _inside(iw0, S, W))
            for c in range(C):
                totals[c] /= count


@compiled_loop(parallel=True)
def average_pool_gradient_nchw(
    dx: Array, g: Array, R: int, S: int, stride_h: int, stride_w: int, top: int, left: int
) -> None:
    """dx[planes, H, W]: each g[planes, P, Q] shared among the elements of its window."""
    planes, H, W = dx.shape
    P, Q = g.shape[1], g.shape[2]
    # each input row gathers from the windows that cover it, so rows may run side by side
    for row in prange(planes * H):
        plane = row // H
        ih = row - plane * H
        for iw in range(W):
            dx[plane, ih, iw] = 0
        for r in range(R):
            p = (ih + top - r) // stride_h
            if p < 0 or p >= P or p * stride_h != ih + top - r:
                continue
            rows = _inside(p * stride_h - top, R, H)
            for q in range(Q):
                iw0 = q * stride_w - left
                share = g[plane, p, q] / (rows * _inside(iw0, S, W))
                for iw in range(max(iw0, 0), min(iw0 + S, W)):
                    dx[plane, ih, iw] += share


@compiled_loop(parallel=True)
def average_pool_gradient_nhwc(
    dx: Array, g: Array, R: int, S: int, stride_h: int, stride_w: int, top: int, left: int
) -> None:
    """dx[N, H, W, C]: each g[N, P, Q, C] shared among the elements of its window."""
    N, H, W, C = dx.shape
    P, Q = g.shape[1], g.shape[2]
    for row in prange(N * H):
        n = row // H
        ih = row - n * H
        dx[n, ih] = 0
        for r in range(R):
            p = (ih + top - r) // stride_h
            if p < 0 or p >= P or p * stride_h != ih + top - r:
                continue
            rows = _inside(p * stride_h - top, R, H)
            for q in range(Q):
                iw0 = q * stride_w - left
                gradients = g[n, p, q]
                count = dx.dtype.type(rows * _inside(iw0, S, W))
                for iw in range(max(iw0, 0), min(iw0 + S, W)):
                    target = dx[n, ih, iw]
                    for c in range(C):
                        target[c] += gradients[c] / count
