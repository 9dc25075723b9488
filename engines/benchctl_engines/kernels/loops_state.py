"""Compiled updates of variables."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop

Array = npt.NDArray[Any]


@compiled_loop(parallel=True)
def subtract(out: Array, var: Array, delta: Array) -> None:
    """out = var - delta, flat; out may be var itself."""
    for i in prange(out.size):
        out[i] = var[i] - delta[i]


@compiled_loop(parallel=True)
def subtract_scaled(out: Array, var: Array, delta: Array, scale: Any) -> None:
    """out = var - scale * delta, flat; `scale` has out's dtype; out may be var itself."""
    for i in prange(out.size):
        out[i] = var[i] - scale * delta[i]
