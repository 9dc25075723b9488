"""Compiled loops that finish a matrix product while it is in cache.

Loops that alternate with BLAS products run on one thread, see `loops_convolution`.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop

Array = npt.NDArray[Any]


@compiled_loop()
def bias_floor_rows(out: Array, bias: Array, start: int, stop: int, floor: float) -> None:
    """Rows [start, stop) of out[M, K]: max(out + bias[K], floor); NaN stays NaN.

    A floor of 0 is a ReLU, a floor of minus infinity only adds the bias. `floor` has out's dtype.
    """
    K = out.shape[1]
    for i in range(start, stop):
        for k in range(K):
            value = out[i, k] + bias[k]
            out[i, k] = floor if value <= floor else value


@compiled_loop()
def bias_floor_channels(
    out: Array, bias: Array, image: int, start: int, stop: int, floor: float
) -> None:
    """Columns [start, stop) of out[image], [K, P*Q]: max(out + bias[K], floor)."""
    for k in range(out.shape[1]):
        b = bias[k]
        for i in range(start, stop):
            value = out[image, k, i] + b
            out[image, k, i] = floor if value <= floor else value


@compiled_loop()
def subtract_scaled_rows(out: Array, w: Array, product: Array, start: int, scale: float) -> None:
    """out[start + i, :] = w[start + i, :] - scale * product[i, :]; out may be w itself."""
    M = w.shape[1]
    for i in range(product.shape[0]):
        for j in range(M):
            out[start + i, j] = w[start + i, j] - scale * product[i, j]


@compiled_loop(parallel=True)
def subtract_scaled_outer(out: Array, w: Array, a: Array, b: Array, scale: float) -> None:
    """out[i, :] = w[i, :] - scale * sum over n of a[n, i] * b[n, :]; out may be w itself.

    For a handful of n: a row of w is read and written once, which is what memory allows at best.
    """
    M = w.shape[1]
    for i in prange(w.shape[0]):
        for j in range(M):
            out[i, j] = w[i, j]
        for n in range(a.shape[0]):
            factor = scale * a[n, i]
            for j in range(M):
                out[i, j] -= factor * b[n, j]
