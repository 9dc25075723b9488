"""The CPU as a device: which kernels, how many threads, and memory that is not faulted in anew.

A large array from the system's allocator is new pages every time, and each page costs a fault on
first touch. The pool hands out memory that was touched before.
"""

from __future__ import annotations

import os
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from ..contract import Array, Precision
from ..primitives.specs import TensorSpec

if TYPE_CHECKING:
    from ..gpu.driver import Driver
    from ..kernels.table import Tuner

POOLED_BYTES = 128 * 1024
"""Arrays of at least this size come from the pool: malloc maps them anew (M_MMAP_THRESHOLD)."""

LENDING_BYTES = 1 << 20
"""From here on an idle block of up to twice the size is used rather than a new one."""

_ALIGNMENT = 64


def aligned_bytes(count: int) -> Array:
    """`count` uninitialised bytes, 64-byte aligned."""
    raw = np.empty(count + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + count]


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


IDLE_LIMIT_BYTES = 256 * 2**20
"""What a pool may keep idle, or what was once in use at one time where that is more."""


class BufferPool:
    """A caching allocator: a block is free again when no array refers to it.

    NumPy arrays keep a reference to the block that they view, so the block's reference count
    tells whether it is in use; nothing has to be given back by hand. Blocks are kept by size, the
    least recently needed sizes are let go when too much lies idle.
    """

    __slots__ = (
        "_blocks",
        "_idle_references",
        "held_bytes",
        "idle_limit_bytes",
        "peak_bytes",
        "peak_used_bytes",
    )

    def __init__(self, idle_limit_bytes: int = IDLE_LIMIT_BYTES) -> None:
        self.idle_limit_bytes = idle_limit_bytes
        self.peak_used_bytes = 0
        # By size: (block, offset of its first aligned byte).
        self._blocks: dict[int, list[tuple[Array, int]]] = {}
        self.held_bytes = 0
        self.peak_bytes = 0
        self._idle_references = 0
        self._idle_references = self._count_when_idle()

    def _count_when_idle(self) -> int:
        """What getrefcount says, in the loop of `_idle_block`, of a block that no array views."""
        counts = [getrefcount(block) for block, _ in [(np.empty(1, np.uint8), 0)]]
        return counts[0]

    def take(self, spec: TensorSpec) -> Array:
        """An uninitialised array of this spec, 64-byte aligned."""
        block, offset = self._idle_block(spec.nbytes)
        return ndarray(spec.shape, spec.numpy_dtype, block, offset)

    def take_scratch(self, nbytes: int) -> Array:
        """Uninitialised bytes for one kernel's call, of a block that others of like size share.

        Every kernel asks for another size: blocks of exactly these would lie idle most of a step.
        """
        block, offset = self._idle_block(1 << (nbytes - 1).bit_length())
        return ndarray((nbytes,), np.uint8, block, offset)

    def _idle_block(self, nbytes: int) -> tuple[Array, int]:
        """A block that no array views, and the offset of its first aligned byte.

        It is of this size, or where many bytes are asked for and none is idle, of up to twice it.
        """
        blocks = self._blocks.get(nbytes)
        if blocks is None:
            blocks = self._blocks[nbytes] = []
        for block, offset in blocks:
            if getrefcount(block) == self._idle_references:
                return block, offset
        if nbytes >= LENDING_BYTES:
            for size in sorted(each for each in self._blocks if nbytes < each <= 2 * nbytes):
                for block, offset in self._blocks[size]:
                    if getrefcount(block) == self._idle_references:
                        return block, offset
        block = np.empty(nbytes + _ALIGNMENT, np.uint8)
        offset = -block.ctypes.data % _ALIGNMENT
        blocks.append((block, offset))
        self._blocks[nbytes] = self._blocks.pop(nbytes)  # the newest size is the last to go
        self.held_bytes += nbytes
        self._trim()
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)
        return block, offset

    def _busy(self, blocks: list[tuple[Array, int]]) -> list[tuple[Array, int]]:
        return [
            (block, offset)
            for block, offset in blocks
            if getrefcount(block) != self._idle_references
        ]

    def _trim(self) -> None:
        """Let go of idle blocks, oldest sizes first, until no more than the limit lies idle."""
        used = sum(nbytes * len(self._busy(each)) for nbytes, each in self._blocks.items())
        self.peak_used_bytes = max(self.peak_used_bytes, used)
        limit = max(self.idle_limit_bytes, self.peak_used_bytes)
        for nbytes in list(self._blocks):
            if self.held_bytes - used <= limit:
                return
            self._drop_idle(nbytes)

    def _drop_idle(self, nbytes: int) -> None:
        blocks = self._blocks[nbytes]
        busy = self._busy(blocks)
        self.held_bytes -= nbytes * (len(blocks) - len(busy))
        if busy:
            self._blocks[nbytes] = busy
        else:
            del self._blocks[nbytes]

    def clear(self) -> None:
        """Give idle blocks back to the system."""
        for nbytes in list(self._blocks):
            self._drop_idle(nbytes)


class Kind:
    """A spec on a device: what an eager tensor carries, so that one look finds its plans.

    `quick` holds the plans of small operations by what follows this operand; `one` is the scalar
    that starts a backward walk, made when first asked for.
    """

    __slots__ = ("device", "hooks", "one", "quick", "spec")

    def __init__(self, spec: TensorSpec, device: Device) -> None:
        self.spec = spec
        self.device = device
        self.hooks = device.hooks
        self.quick: dict[Any, Any] = {}
        self.one: Any = None


class Device:
    """Where an eager tensor lives: kernels of `name`, `threads` of them, memory from a pool.

    `pooled` off takes every array from NumPy, to show what the pool is worth. Kernels named in
    `left_out` are not chosen. A device of another kind has the same attributes: `pooled_bytes` is
    the size from which its arrays come from a pool, and arrays of the host go through `from_host`
    and `to_host`.
    """

    __slots__ = (
        "_kinds",
        "adder",
        "constants",
        "hooks",
        "kernel_names",
        "left_out",
        "name",
        "plans",
        "pool",
        "pooled",
        "threads",
    )

    pooled_bytes = POOLED_BYTES
    driver: Driver | None = None
    precision: Precision = "fp32"
    tuner: Tuner | None = None

    def __init__(
        self,
        name: str = "cpu",
        threads: int | None = None,
        pooled: bool = True,
        left_out: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.threads = threads or usable_cores()
        self.pooled = pooled
        self.left_out = left_out
        self.pool = BufferPool()
        self._kinds: dict[TensorSpec, Kind] = {}
        self.plans: dict[Any, Any] = {}
        self.adder: Any = None
        self.constants: dict[Any, Any] = {}
        self.hooks: list[Any] = []
        self.kernel_names: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"Device({self.name}, threads={self.threads})"

    def kind(self, spec: TensorSpec) -> Kind:
        """The one `Kind` of this spec here."""
        found = self._kinds.get(spec)
        if found is None:
            found = self._kinds[spec] = Kind(spec, self)
        return found

    def from_host(self, array: Array, dtype: str = "") -> Array:
        """The array as the device's kernels take it: itself; `dtype` where another than its own."""
        return array

    def to_host(self, array: Array) -> Array:
        """The device's array as one of the host: itself."""
        return array

    def copied(self, array: Array) -> Array:
        """An array of its own with the same numbers."""
        return array.copy()

    def scratch(self, spec: TensorSpec) -> Array:
        """Uninitialised, 64-byte aligned bytes for a kernel to work in."""
        return self.pool.take_scratch(spec.nbytes) if self.pooled else aligned_bytes(spec.nbytes)

    def empty(self, spec: TensorSpec) -> Array:
        """An uninitialised array of this spec."""
        if self.pooled and spec.nbytes >= POOLED_BYTES:
            return self.pool.take(spec)
        return np.empty(spec.shape, spec.numpy_dtype)
