"""Compiled random numbers from a counter: Philox4x32-10.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011. Each number is a function of key and counter alone, so any thread may make any of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import prange

from .compiled import compiled_loop

Array = npt.NDArray[Any]

ROUNDS = 10
_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_LOW_WORD = np.uint64(0xFFFFFFFF)
_WORD_BITS = np.uint64(32)


@compiled_loop()
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """Four 32-bit words from a counter of four words and a key of two, all held in uint64."""
    for _ in range(ROUNDS):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0 = (product_1 >> _WORD_BITS) ^ c1 ^ k0
        c2 = (product_0 >> _WORD_BITS) ^ c3 ^ k1
        c1 = product_1 & _LOW_WORD
        c3 = product_0 & _LOW_WORD
        k0 = (k0 + _WEYL_0) & _LOW_WORD
        k1 = (k1 + _WEYL_1) & _LOW_WORD
    return c0, c1, c2, c3


@compiled_loop()
def _block(index: int, step: int, k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """The words of one block of a step."""
    block, turn = np.uint64(index), np.uint64(step)
    return philox(
        block & _LOW_WORD, block >> _WORD_BITS, turn & _LOW_WORD, turn >> _WORD_BITS, k0, k1
    )


@compiled_loop()
def _unit24(word: Any) -> float:
    """A word's upper 24 bits as a number in [0, 1)."""
    return float(np.int64(word >> np.uint64(8))) * 2.0**-24


@compiled_loop()
def _unit53(high: Any, low: Any) -> float:
    """53 bits of two words as a number in [0, 1)."""
    upper = float(np.int64(high >> np.uint64(5)))
    return (upper * 2.0**26 + float(np.int64(low >> np.uint64(6)))) * 2.0**-53


@compiled_loop()
def _normal_pair(u: float, v: float, ulp: float) -> tuple[float, float]:
    """Two standard normals by Box and Muller; u + ulp lies in (0, 1]."""
    radius = math.sqrt(-2.0 * math.log(u + ulp))
    angle = 2.0 * math.pi * v
    return radius * math.cos(angle), radius * math.sin(angle)


@compiled_loop(parallel=True)
def fill_single(out: Array, step: int, k0: Any, k1: Any, normal: bool) -> None:
    """Flat float32 out: four numbers a block."""
    size = out.size
    for b in prange((size + 3) // 4):
        w0, w1, w2, w3 = _block(b, step, k0, k1)
        z0, z1, z2, z3 = _unit24(w0), _unit24(w1), _unit24(w2), _unit24(w3)
        if normal:
            z0, z1 = _normal_pair(z0, z1, 2.0**-24)
            z2, z3 = _normal_pair(z2, z3, 2.0**-24)
        at = b * 4
        out[at] = z0
        if at + 1 < size:
            out[at + 1] = z1
        if at + 2 < size:
            out[at + 2] = z2
        if at + 3 < size:
            out[at + 3] = z3


@compiled_loop(parallel=True)
def fill_double(out: Array, step: int, k0: Any, k1: Any, normal: bool) -> None:
    """Flat float64 out: two numbers a block."""
    size = out.size
    for b in prange((size + 1) // 2):
        w0, w1, w2, w3 = _block(b, step, k0, k1)
        z0, z1 = _unit53(w0, w1), _unit53(w2, w3)
        if normal:
            z0, z1 = _normal_pair(z0, z1, 2.0**-53)
        out[b * 2] = z0
        if b * 2 + 1 < size:
            out[b * 2 + 1] = z1
