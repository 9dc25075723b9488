"""Floats of 16 bits: what is stored as one, and how the host rounds to them.

A GPU may store what a program calls float32 as IEEE's binary16 ("float16": 11 significant bits, up
to 65504) or as bfloat16 (8 bits, the range of float32). The host has no arithmetic of either: it
holds a half as the float32 of the same value, and makes its bits when they go to the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..contract import Array, Precision
from .specs import HALVES, TensorSpec, spec, stated_dtype

STORED_AS: Mapping[str, str] = {"fp16": "float16", "bf16": "bfloat16"}
"""What float32 is stored as, by precision; those that are missing store it as it is."""

LOSS_SCALES: Mapping[str, float] = {"fp16": 1024.0}
"""What a backward pass is scaled by, a power of two: binary16 has no numbers below 6e-8."""


def stored_dtype(dtype: str, precision: Precision) -> str:
    """The dtype of a program as it is stored at this precision."""
    return STORED_AS.get(precision, dtype) if dtype == "float32" else dtype


def stored_spec(array: Array, precision: Precision) -> TensorSpec:
    """What an array of a program is stored as; raises `ShapeError` on a dtype unknown."""
    return spec(array.shape, stored_dtype(stated_dtype(str(array.dtype)), precision))


def loss_scale(precision: Precision) -> float:
    """What gradients are multiplied by on their way, and divided by at its end."""
    return LOSS_SCALES.get(precision, 1.0)


def held(value: Any, dtype: str) -> Array:
    """An array or a number as the host holds a tensor of this dtype."""
    if dtype not in HALVES:
        return np.array(value, dtype)
    return rounded(np.array(value, np.float32), dtype)


def rounded(array: Array, dtype: str) -> Array:
    """The nearest numbers of a half dtype, as float32; ties go to the even one."""
    return from_bits(to_bits(array, dtype), dtype)


def to_bits(array: Array, dtype: str) -> Array:
    """The halves nearest to float32 numbers, as uint16; too large ones become infinite."""
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16).view(np.uint16)
    words = np.ascontiguousarray(array, np.float32).reshape(-1).view(np.uint32)
    # Half a unit less one, and one more where the last bit kept is odd.
    nearest = (words + np.uint32(0x7FFF) + (words >> 16 & 1)) >> 16
    # Of a NaN this might make an infinity: it keeps its upper bits, one of them set.
    quiet = words >> 16 | np.uint32(0x40)
    bits = np.where(np.isnan(words.view(np.float32)), quiet, nearest)
    return bits.astype(np.uint16).reshape(array.shape)


def from_bits(bits: Array, dtype: str) -> Array:
    """The values of halves, exactly, as float32."""
    if dtype == "float16":
        return bits.view(np.float16).astype(np.float32)
    words = bits.reshape(-1).astype(np.uint32) << np.uint32(16)
    return words.view(np.float32).reshape(bits.shape)
