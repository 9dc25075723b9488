"""Reference kernel of the random numbers: Philox4x32-10 over whole arrays of counters.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
SC 2011.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]

_LOW_WORD = np.uint64(0xFFFFFFFF)


def philox4x32(counter: Array, key: tuple[int, int], rounds: int = 10) -> Array:
    """Words [blocks, 4] from counters [blocks, 4], all 32-bit words held in uint64."""
    c0, c1, c2, c3 = (counter[:, word].astype(np.uint64) for word in range(4))
    for turn in range(rounds):
        k0 = np.uint64((key[0] + turn * 0x9E3779B9) & 0xFFFFFFFF)
        k1 = np.uint64((key[1] + turn * 0xBB67AE85) & 0xFFFFFFFF)
        product_0 = c0 * np.uint64(0xD2511F53)
        product_1 = c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (product_1 >> np.uint64(32)) ^ c1 ^ k0,
            product_1 & _LOW_WORD,
            (product_0 >> np.uint64(32)) ^ c3 ^ k1,
            product_0 & _LOW_WORD,
        )
    return np.stack([c0, c1, c2, c3], axis=1)


def _words(blocks: int, step: int, seed: int, site: int) -> Array:
    """The words [blocks, 4] of one step."""
    index = np.arange(blocks, dtype=np.uint64)
    counter = np.empty((blocks, 4), np.uint64)
    counter[:, 0] = index & _LOW_WORD
    counter[:, 1] = index >> np.uint64(32)
    counter[:, 2] = step & 0xFFFFFFFF
    counter[:, 3] = (step >> 32) & 0xFFFFFFFF
    key = (seed & 0xFFFFFFFF, ((seed >> 32) * 0x9E3779B1 + site) & 0xFFFFFFFF)
    return philox4x32(counter, key)


def _normal(uniform: Array, ulp: float) -> Array:
    """Box and Muller over pairs of neighbours; float64."""
    radius = np.sqrt(-2.0 * np.log(uniform[0::2] + ulp))
    angle = 2.0 * math.pi * uniform[1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


@kernel("random", "reference", "numpy")
def prepare_random(request: KernelRequest) -> Prepared:
    """Uniform in [0, 1) with the dtype's full precision, or standard normal."""
    attributes = request.attributes
    single = request.outputs[0].dtype == "float32"

    def random(out: Array, step: Array) -> None:
        blocks = -(-out.size // (4 if single else 2))
        words = _words(blocks, int(step), attributes["seed"], attributes["site"])
        if single:
            ulp = 2.0**-24
            uniform = (words.reshape(-1) >> np.uint64(8)).astype(np.float64) * ulp
        else:
            ulp = 2.0**-53
            high, low = words.reshape(-1, 2).T
            upper = (high >> np.uint64(5)).astype(np.float64) * 2.0**26
            uniform = (upper + (low >> np.uint64(6)).astype(np.float64)) * ulp
        values = _normal(uniform, ulp) if attributes["distribution"] == "normal" else uniform
        out[...] = values[: out.size].reshape(out.shape)

    return Prepared(random)
