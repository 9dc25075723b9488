"""Pinned host memory through which arrays go to the device without holding up the host.

A copy from pinned memory is issued and done later. Two buffers take turns, and each waits for its
own last copy before it is written to again.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ...contract import Array

SLOT_BYTES = 8 * 2**20


class Staging:
    """Copies host arrays to the device in pieces of `SLOT_BYTES`, on one stream."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cuda = cupy.cuda
        self._stream = stream
        self._slots: list[tuple[Any, Array, Any]] = []
        self._turn = 0

    def copy_to_device(self, pointer: int, host: Array) -> None:
        """Copy a C-contiguous array; it may be changed when this returns."""
        source = host.reshape(-1).view(np.uint8)
        for start in range(0, host.nbytes, SLOT_BYTES):
            piece = source[start : start + SLOT_BYTES]
            memory, view, copied = self._next_slot()
            copied.synchronize()
            view[: piece.nbytes] = piece
            self._cuda.runtime.memcpyAsync(
                pointer + start,
                memory.ptr,
                piece.nbytes,
                self._cuda.runtime.memcpyHostToDevice,
                self._stream.ptr,
            )
            copied.record(self._stream)

    def _next_slot(self) -> tuple[Any, Array, Any]:
        """(pinned memory, the same as an array, event of its last copy)."""
        self._turn = 1 - self._turn
        if len(self._slots) < 2:
            memory = self._cuda.alloc_pinned_memory(SLOT_BYTES)
            view = np.ctypeslib.as_array((ctypes.c_uint8 * SLOT_BYTES).from_address(memory.ptr))
            # An event that was never recorded counts as reached.
            self._slots.append((memory, view, self._cuda.Event(disable_timing=True)))
            self._turn = len(self._slots) - 1
        return self._slots[self._turn]
