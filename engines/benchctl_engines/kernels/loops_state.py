"""Compiled updates of variables."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import njit, prange

Array = npt.NDArray[Any]


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def subtract(out: Array, var: Array, delta: Array) -> None:
    """out = var - delta, flat; out may be var itself."""
    for i in prange(out.size):
        out[i] = var[i] - delta[i]


@njit(cache=True, nogil=True, parallel=True, error_model="numpy")
def subtract_scaled(out: Array, var: Array, delta: Array, scale: Any) -> None:
    """out = var - scale * delta, flat; `scale` has out's dtype; out may be var itself."""
    for i in prange(out.size):
        out[i] = var[i] - scale * delta[i]
