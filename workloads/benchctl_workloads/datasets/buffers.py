"""Memory for batches that is handed out again as soon as nobody refers to it."""

from __future__ import annotations

from sys import getrefcount

import numpy as np
import numpy.typing as npt

from benchctl_engines.contract import Array

MOST_KEPT = 32
"""Blocks that are watched; a consumer who keeps more batches than this owns the oldest alone."""


class Buffers:
    """Arrays of one shape and dtype, each in use as long as anything refers to it or to a view.

    What views an array refers to the array that owns the memory, so that the owner's reference
    count tells. A count that another thread is about to lower only delays the reuse.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._shape = shape
        self._dtype = dtype
        self._owners: list[Array] = [np.empty(0, dtype)]
        self._idle_references = 0
        self._idle_references = self._references_when_idle()
        self._owners.clear()

    def _references_when_idle(self) -> int:
        """What getrefcount says, in the loop of `take`, of an array that nobody views."""
        counts = [getrefcount(owner) for owner in self._owners]
        return counts[0]

    def take(self, rows: int) -> Array:
        """An uninitialised array of the first `rows` rows."""
        for owner in self._owners:
            if getrefcount(owner) == self._idle_references:
                return owner[:rows]
        if len(self._owners) == MOST_KEPT:
            del self._owners[0]
        made = np.empty(self._shape, self._dtype)
        self._owners.append(made)
        return made[:rows]
