"""What kernels of the GPU share: where their text lies, pieces of a workspace, sizes of grids."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from ..primitives.specs import HALVES
from .cuda_source import C_TYPES, WORK_TYPES

_TEXTS = Path(__file__).parent / "cuda_text"

ALIGNMENT_BYTES = 256
"""Pieces of a workspace start at multiples of this, as memory from the device does."""

LARGEST_INT32 = 2**31 - 1


@cache
def text_of(name: str) -> str:
    """A file of CUDA text."""
    return (_TEXTS / name).read_text(encoding="utf-8")


def index_types(dtype: str, counts: Iterable[int]) -> tuple[str, str]:
    """Definitions of `real`, `work` and `index_t`, and the letter of index_t in a signature.

    Indices have 32 bits where no array holds more elements than that, with room for the last block.
    """
    halves = text_of("halves.cuh") if dtype in HALVES else ""
    types = f"typedef {C_TYPES[dtype]} real;\ntypedef {WORK_TYPES[dtype]} work;\n"
    short = max(counts, default=0) < LARGEST_INT32 - 2048
    index, letter = ("int", "i") if short else ("long long", "q")
    return f"{halves}{types}typedef {index} index_t;\n", letter


def blocks_of(count: int, threads: int) -> tuple[int, int, int]:
    """The grid of one thread an element."""
    return (-(-count // threads), 1, 1)


class Room:
    """Lays out the pieces of a workspace while a kernel is prepared."""

    __slots__ = ("nbytes",)

    def __init__(self) -> None:
        self.nbytes = 0

    def take(self, nbytes: int) -> int:
        """Where a piece of so many bytes starts."""
        start = self.nbytes
        self.nbytes += -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        return start
