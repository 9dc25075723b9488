"""A caching allocator for a GPU: asking the driver for memory takes longer than most kernels.

All work is on one stream, so what was given back may be given out again at once: whatever still
reads it was issued before whatever will write it.
"""

from __future__ import annotations

from typing import Any

from ...gpu.array import DeviceArray
from ...gpu.driver import Allocation, Driver, OutOfDeviceMemoryError
from ...primitives.specs import TensorSpec, spec

ROUNDING_BYTES = 512

LENDING_BYTES = 1 << 20
"""From here on an idle block of up to twice the size is used rather than a new one."""


class Lease:
    """Holds a block for as long as some array refers to it."""

    __slots__ = ("_block", "_pool")

    def __init__(self, pool: DevicePool, block: Allocation) -> None:
        self._pool = pool
        self._block = block

    def __del__(self) -> None:
        self._pool._take_back(self._block)


class DevicePool:
    """Blocks of a driver's memory, kept by size; an array's owner gives its block back.

    `limit_bytes` is the most that is held; `caching` off gives every block back to the driver at
    once, to show what the pool is worth. Sizes are rounded up to 512 bytes. Raises
    `OutOfDeviceMemoryError`.
    """

    def __init__(
        self, driver: Driver, limit_bytes: int | None = None, caching: bool = True
    ) -> None:
        self.limit_bytes = limit_bytes
        self.caching = caching
        self._driver = driver
        self._idle: dict[int, list[Allocation]] = {}
        self.used_bytes = 0
        self.held_bytes = 0
        self.peak_bytes = 0
        self.peak_used_bytes = 0

    def take(self, spec: TensorSpec) -> DeviceArray:
        """An uninitialised array."""
        block = self._block(-(-spec.nbytes // ROUNDING_BYTES) * ROUNDING_BYTES or ROUNDING_BYTES)
        return DeviceArray(block.pointer, spec, Lease(self, block))

    def take_scratch(self, nbytes: int) -> DeviceArray:
        """Bytes for one kernel's call, of a block that others of like size share."""
        block = self._block(max(ROUNDING_BYTES, 1 << (nbytes - 1).bit_length()))
        return DeviceArray(block.pointer, spec((nbytes,), "uint8"), Lease(self, block))

    def clear(self) -> None:
        """Give idle blocks back to the driver."""
        for size, blocks in self._idle.items():
            self.held_bytes -= size * len(blocks)
        self._idle.clear()

    def _block(self, nbytes: int) -> Allocation:
        blocks = self._idle.get(nbytes)
        block = blocks.pop() if blocks else self._lent_block(nbytes) or self._new_block(nbytes)
        self.used_bytes += block.nbytes
        if self.used_bytes > self.peak_used_bytes:
            self.peak_used_bytes = self.used_bytes
        return block

    def _lent_block(self, nbytes: int) -> Allocation | None:
        """Where many bytes are asked for, the smallest idle block of up to twice as many."""
        if nbytes < LENDING_BYTES:
            return None
        sizes = [size for size, blocks in self._idle.items() if blocks and size >= nbytes]
        size = min(sizes, default=0)
        return self._idle[size].pop() if nbytes <= size <= 2 * nbytes else None

    def _new_block(self, nbytes: int) -> Allocation:
        if self.limit_bytes is not None and self.held_bytes + nbytes > self.limit_bytes:
            self.clear()
            if self.held_bytes + nbytes > self.limit_bytes:
                raise OutOfDeviceMemoryError(
                    f"{nbytes} bytes asked for, {self.used_bytes} of the {self.limit_bytes} that "
                    "this run may use are in use"
                )
        try:
            made = self._driver.allocate(nbytes)
        except OutOfDeviceMemoryError:
            if not any(self._idle.values()):
                raise
            self.clear()
            made = self._driver.allocate(nbytes)
        self.held_bytes += nbytes
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)
        return made

    def _take_back(self, block: Any) -> None:
        size = block.nbytes
        self.used_bytes -= size
        if self.caching:
            self._idle.setdefault(size, []).append(block)
        else:
            self.held_bytes -= size
