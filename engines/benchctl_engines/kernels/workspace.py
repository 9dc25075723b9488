"""Typed, aligned pieces of a kernel's workspace."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ALIGNMENT_BYTES = 64


def aligned_bytes(nbytes: int) -> int:
    """`nbytes` rounded up to the alignment, so that the next piece is aligned too."""
    return -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def aligned_memory(nbytes: int) -> Array:
    """`nbytes` uninitialised bytes at an aligned address."""
    raw = np.empty(nbytes + ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[start : start + nbytes]


class Pieces:
    """Where the pieces of a workspace lie: add them while preparing, view them while running."""

    __slots__ = ("_pieces", "nbytes")

    def __init__(self) -> None:
        self._pieces: list[tuple[int, int, np.dtype[Any]]] = []
        self.nbytes = 0

    def add(self, shape: Iterable[int], dtype: str | np.dtype[Any]) -> int:
        """Reserve room for an array; returns the number by which `view` finds it."""
        resolved = np.dtype(dtype)
        size = math.prod(shape)
        self._pieces.append((self.nbytes, size, resolved))
        # At least one byte: an empty piece must still reach the kernel as an argument.
        self.nbytes += aligned_bytes(max(size * resolved.itemsize, 1))
        return len(self._pieces) - 1

    def view(self, workspace: Array, piece: int) -> Array:
        """The piece as a flat array of its dtype."""
        offset, size, dtype = self._pieces[piece]
        result: Array = workspace[offset : offset + size * dtype.itemsize].view(dtype)
        return result
