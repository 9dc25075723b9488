"""What all CUDA kernels of ours share: text from files, sizes as arguments, numbers of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from ..primitives.specs import HALVES, TensorSpec

if TYPE_CHECKING:
    from ..gpu.driver import Driver
    from .table import KernelRequest

C_TYPES = {
    "float32": "float",
    "float64": "double",
    "bool": "bool",
    "uint8": "unsigned char",
    "int32": "int",
    "int64": "long long",
    "float16": "half_t",
    "bfloat16": "bfloat_t",
}

WORK_TYPES = {"float32": "float", "float64": "double", "float16": "float", "bfloat16": "float"}
"""What is computed with, by the dtype of what is stored."""

HALF_TYPES = {C_TYPES[each] for each in HALVES}

WORDS = {1: "uint8", 2: "float16", 4: "int32", 8: "int64"}
"""By size in bytes, the dtype as which elements are moved that are not computed with."""

THREADS = 256
"""Threads of a block, unless a kernel has a reason for another number."""

VECTOR_BYTES = 16
"""What one thread moves with one instruction at best."""

BLOCKS_PER_MULTIPROCESSOR = 8
"""Blocks of 256 that fill a multiprocessor; a larger grid would only start more of them."""

WIDE_ELEMENTS = 1 << 30
"""From here on positions take 64 bits; below, a position plus a step of the grid fits 31."""


@cache
def _file(name: str) -> str:
    return (files(__package__) / "cuda_text" / f"{name}.cuh").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Index:
    """How positions are passed to a kernel: 32 or, where `wide`, 64 bits."""

    wide: bool

    @property
    def letter(self) -> str:
        """A position or a size in a signature."""
        return "q" if self.wide else "i"

    @property
    def divisor_letters(self) -> str:
        """A `DIVISOR` of indices.cuh in a signature."""
        return self.letter * 3

    def divisor(self, size: int) -> tuple[int, int, int]:
        """The arguments of a `DIVISOR`: the size, a factor and a shift that stand for it.

        For 0 <= i < 2^31, i // size = (high word of i * factor + i) >> shift.
        """
        if self.wide:
            return (size, 0, 0)
        shift = max(size - 1, 0).bit_length()
        factor = ((1 << 32) * ((1 << shift) - size)) // max(size, 1) + 1
        return (size, signed_word(factor), shift)


def signed_word(word: int) -> int:
    """The int32 with the bits of this 32-bit word."""
    return word - (1 << 32) if word >= 1 << 31 else word


def index_for(*specs: TensorSpec) -> Index:
    """Positions wide enough for the largest of these."""
    return Index(max((each.size for each in specs), default=0) >= WIDE_ELEMENTS)


def source(index: Index, *names: str, **macros: str) -> str:
    """CUDA text of scalars.cuh, indices.cuh and these files, after `#define`s of the macros.

    Where one of these is a half type, with what defines it.
    """
    lines = [f"#define {name} {value}\n" for name, value in macros.items()]
    if index.wide:
        lines.append("#define WIDE\n")
    halves = ("halves",) if HALF_TYPES & {*macros.values()} else ()
    return "".join([*lines, *map(_file, ("scalars", *halves, "indices", *names))])


def real_types(dtype: str) -> dict[str, str]:
    """The macros REAL, the C type that is stored, and WORK, the one that is computed with."""
    return {"REAL": C_TYPES[dtype], "WORK": WORK_TYPES[dtype]}


def driver_of(request: KernelRequest) -> Driver:
    """The GPU that a request is for."""
    assert request.driver is not None, "a kernel of a GPU is prepared for a driver"
    return request.driver


def grid_of(driver: Driver, threads: int) -> tuple[int, int, int]:
    """A grid for a loop that strides by the whole grid, where so many threads find work."""
    blocks = -(-threads // THREADS)
    return (max(min(blocks, BLOCKS_PER_MULTIPROCESSOR * driver.facts.multiprocessors), 1), 1, 1)
