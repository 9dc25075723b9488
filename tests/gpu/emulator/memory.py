"""Device memory on the host: spoiled when given out, guarded on both sides, never quite let go.

The guards are checked where a test would wait for the device, and when the memory is given back.
Memory that was given back is kept for a while, to see whether anything still writes to it.
"""

from __future__ import annotations

import ctypes
import weakref
from bisect import bisect_right, insort
from collections import deque
from typing import Any

import numpy as np

from benchctl_engines.gpu.driver import DeviceError, OutOfDeviceMemoryError

SPOILED = 0xFF
"""Every byte of fresh and of freed memory: NaN, -1, 255."""

GUARD_BYTES = 1024
KEPT_BYTES = 64 * 2**20


def bytes_at(pointer: int, nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The memory at an address."""
    return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(pointer), np.uint8)


def numbers_at(pointer: int, shape: tuple[int, ...], dtype: str) -> Any:
    """An array at an address."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return bytes_at(pointer, size).view(dtype).reshape(shape)


def ending_memory(nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Bytes at a multiple of 512, with nothing of the block's own behind their end."""
    libc = ctypes.CDLL(None)
    address = ctypes.c_void_p()
    if libc.posix_memalign(ctypes.byref(address), ctypes.c_size_t(512), ctypes.c_size_t(nbytes)):
        raise MemoryError(f"{nbytes} bytes")
    made = bytes_at(int(address.value or 0), nbytes)
    weakref.finalize(made, libc.free, address)
    return made


class Block:
    """Bytes with guards around them; `pointer` is a multiple of 256 and not of 512."""

    def __init__(self, nbytes: int, serial: int, exact: bool) -> None:
        self.nbytes = nbytes
        # Large numbers in any floating dtype, and another byte each time: what is read beyond an
        # end shows in a sum, and a copy from one block's guard into another's is seen.
        self._byte = (0x61 + serial % 30) | (serial & 1) << 7
        if exact:
            raw, offset, guard = ending_memory(256 + nbytes), 256, 0
        else:
            raw, guard = np.empty(GUARD_BYTES + 512 + nbytes + GUARD_BYTES, np.uint8), GUARD_BYTES
            offset = guard + (256 - raw.ctypes.data - guard) % 512
        self.pointer = raw.ctypes.data + offset
        self._inside = raw[offset : offset + nbytes]
        self._guards = (raw[offset - guard : offset], raw[offset + nbytes :][:guard])
        for each in self._guards:
            each[:] = self._byte
        self.spoil()

    def spoil(self) -> None:
        """Make the contents useless."""
        self._inside[:] = SPOILED

    def fault(self) -> str | None:
        """What was written beside the block."""
        for guard, side in zip(self._guards, ("before", "behind"), strict=True):
            wrong = np.flatnonzero(guard != self._byte)
            if wrong.size:
                guard[:] = self._byte
                at = len(guard) - int(wrong[0]) if side == "before" else int(wrong[0])
                return f"{wrong.size} bytes written {at} bytes {side} a block of {self.nbytes}"
        return None

    def fault_when_free(self) -> str | None:
        """What was written after the block was given back."""
        beside = self.fault()
        if beside is None and bool((self._inside != SPOILED).any()):
            return f"a block of {self.nbytes} bytes was written to after it was given back"
        return beside


class EmulatedAllocation:
    """A block in use; given back when this object dies."""

    def __init__(self, memory: EmulatedMemory, block: Block) -> None:
        self.pointer = block.pointer
        self.nbytes = block.nbytes
        weakref.finalize(self, memory.give_back, block).atexit = False


class EmulatedMemory:
    """All memory of an emulated device; `exact` leaves guarding to AddressSanitizer."""

    def __init__(self, capacity: int, exact: bool = False) -> None:
        self.capacity = capacity
        self.exact = exact
        self.used = 0
        self.allocations = 0
        self._starts: list[int] = []
        self._blocks: dict[int, Block] = {}
        self._touched: dict[int, Block] = {}
        self._freed: deque[Block] = deque()
        self._freed_bytes = 0
        self._faults: list[str] = []

    def allocate(self, nbytes: int) -> EmulatedAllocation:
        """Spoiled memory; raises `OutOfDeviceMemoryError`."""
        if self.used + nbytes > self.capacity:
            raise OutOfDeviceMemoryError(
                f"{nbytes} bytes asked for, {self.capacity - self.used} of {self.capacity} are free"
            )
        block = Block(nbytes, self.allocations, self.exact)
        self.allocations += 1
        self.used += nbytes
        insort(self._starts, block.pointer)
        self._blocks[block.pointer] = block
        return EmulatedAllocation(self, block)

    def give_back(self, block: Block) -> None:
        """Keep the block, spoiled, until too much is kept."""
        self.used -= block.nbytes
        self._starts.remove(block.pointer)
        del self._blocks[block.pointer]
        self._touched.pop(block.pointer, None)
        self._note(block.fault())
        if self.exact:
            return
        block.spoil()
        self._freed.append(block)
        self._freed_bytes += block.nbytes
        while self._freed_bytes > KEPT_BYTES:
            oldest = self._freed.popleft()
            self._freed_bytes -= oldest.nbytes
            self._note(oldest.fault_when_free())

    def touch(self, pointer: int, nbytes: int = 0, what: str = "an argument") -> None:
        """Note a use; raises `DeviceError` where the bytes do not lie in one block in use."""
        place = bisect_right(self._starts, pointer) - 1
        if place >= 0:
            block = self._blocks[self._starts[place]]
            if pointer + nbytes <= block.pointer + block.nbytes:
                self._touched[block.pointer] = block
                return
        raise DeviceError(f"{what}: {nbytes} bytes at {pointer:#x} are no memory in use")

    def check(self, thoroughly: bool = False) -> None:
        """Raise `DeviceError` for writes outside blocks in use since the last check."""
        for block in self._blocks.values() if thoroughly else self._touched.values():
            self._note(block.fault())
        self._touched.clear()
        if thoroughly:
            for block in self._freed:
                self._note(block.fault_when_free())
                block.spoil()
        if self._faults:
            found, self._faults = self._faults, []
            raise DeviceError("illegal access: " + "; ".join(found))

    def _note(self, fault: str | None) -> None:
        if fault is not None:
            self._faults.append(fault)
