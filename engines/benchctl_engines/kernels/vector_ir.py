"""Vectors of float32 in LLVM's intermediate representation, as wide as the host's registers.

Compiled loops leave vectorisation to LLVM. Where registers must be planned by hand, a kernel is an
intrinsic built with this module. Addresses are 64-bit integers: an intrinsic sees no array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numba.extending
from llvmlite import ir
from numba.core import cgutils

from .host_vectors import FLOAT_BYTES, LANES

POINTER_BYTES = 8


# Called with the arguments of the compiled code, not those of the function it decorates.
intrinsic: Any = numba.extending.intrinsic


_INT = ir.IntType(64)
_INT32 = ir.IntType(32)
_FLOAT = ir.FloatType()
VECTOR = ir.VectorType(_FLOAT, LANES)
# Rows of an image start at any multiple of an element.
_ALIGNMENT = FLOAT_BYTES


class VectorBuilder:
    """Writes vector instructions at the place where an LLVM builder stands."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self._multiply_add = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(VECTOR, [VECTOR, VECTOR, VECTOR]),
            f"llvm.fma.v{LANES}f32",
        )

    def integer(self, value: int) -> Any:
        """A 64-bit integer constant."""
        return ir.Constant(_INT, value)

    def zero(self) -> Any:
        """A vector of zeros."""
        return ir.Constant(VECTOR, [0.0] * LANES)

    def offset(self, address: Any, *terms: Any) -> Any:
        """address plus all terms, in bytes; Python integers become constants."""
        for term in terms:
            if isinstance(term, int):
                if term == 0:
                    continue
                term = self.integer(term)
            address = self.builder.add(address, term)
        return address

    def times(self, value: Any, factor: int) -> Any:
        """value * factor for an integer value."""
        return self.builder.mul(value, self.integer(factor))

    def load(self, address: Any) -> Any:
        """The vector at an address."""
        pointer = self.builder.inttoptr(address, VECTOR.as_pointer())
        return self.builder.load(pointer, align=_ALIGNMENT)

    def store(self, value: Any, address: Any) -> None:
        """Write a vector."""
        pointer = self.builder.inttoptr(address, VECTOR.as_pointer())
        self.builder.store(value, pointer, align=_ALIGNMENT)

    def prefetch(self, address: Any) -> None:
        """Ask for the cache line at an address, which need not be one that can be read."""
        byte = ir.IntType(8).as_pointer()
        hint = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32]),
            "llvm.prefetch.p0",
        )
        # To be read, kept in all caches, data.
        options = [ir.Constant(_INT32, each) for each in (0, 3, 1)]
        self.builder.call(hint, [self.builder.inttoptr(address, byte), *options])

    def load_address(self, address: Any) -> Any:
        """The 64-bit integer at an address: an entry of a table of addresses."""
        return self.builder.load(self.builder.inttoptr(address, _INT.as_pointer()))

    def load_splat(self, address: Any) -> Any:
        """All lanes set to the float at an address."""
        pointer = self.builder.inttoptr(address, _FLOAT.as_pointer())
        return self.splat(self.builder.load(pointer))

    def splat(self, scalar: Any) -> Any:
        """All lanes set to a scalar."""
        undefined = ir.Constant(VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(_INT32, 0))
        return self.shuffle(first, first, [0] * LANES)

    def constant(self, value: float) -> Any:
        """All lanes set to a number known now."""
        return ir.Constant(VECTOR, [float(value)] * LANES)

    def shuffle(self, left: Any, right: Any, lanes: Sequence[int]) -> Any:
        """Lanes picked from left (0 to LANES - 1) and right (LANES and above)."""
        mask = ir.Constant(ir.VectorType(_INT32, len(lanes)), list(lanes))
        return self.builder.shuffle_vector(left, right, mask)

    def multiply_add(self, left: Any, right: Any, added: Any) -> Any:
        """left * right + added, rounded once."""
        return self.builder.call(self._multiply_add, [left, right, added])

    def add(self, left: Any, right: Any) -> Any:
        """left + right."""
        return self.builder.fadd(left, right)

    def subtract(self, left: Any, right: Any) -> Any:
        """left - right."""
        return self.builder.fsub(left, right)

    def multiply(self, left: Any, right: Any) -> Any:
        """left * right."""
        return self.builder.fmul(left, right)

    def larger(self, value: Any, bound: Any) -> Any:
        """The larger of two vectors; where a value is NaN it stays NaN."""
        return self.builder.select(self.builder.fcmp_ordered("<=", value, bound), bound, value)

    def larger_of_two(self, left: Any, right: Any) -> Any:
        """The larger of two vectors; NaN where either is."""
        keep = self.builder.or_(
            self.builder.fcmp_ordered(">", left, right),
            self.builder.fcmp_unordered("uno", left, left),
        )
        return self.builder.select(keep, left, right)

    @contextmanager
    def counted(self, count: Any, step: int) -> Iterator[Any]:
        """A loop over range(0, count, step) that runs at least once; yields the index."""
        builder = self.builder
        before = builder.block
        body = builder.append_basic_block("body")
        builder.branch(body)
        builder.position_at_end(body)
        index = builder.phi(_INT)
        index.add_incoming(self.integer(0), before)
        yield index
        following = builder.add(index, self.integer(step))
        index.add_incoming(following, builder.block)
        done = builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("<", following, count), body, done)
        builder.position_at_end(done)


def transposed(vectors: VectorBuilder, rows: Sequence[Any]) -> list[Any]:
    """The LANES x LANES block in `rows` with rows and columns exchanged, within registers."""
    rows = list(rows)
    half = LANES // 2
    while half:
        # Exchange the off-diagonal half x half corners of every 2*half block.
        for start in range(0, LANES, 2 * half):
            for i in range(start, start + half):
                upper, lower = rows[i], rows[i + half]
                first = [
                    lane if lane % (2 * half) < half else LANES + lane - half
                    for lane in range(LANES)
                ]
                second = [
                    lane + half if lane % (2 * half) < half else LANES + lane
                    for lane in range(LANES)
                ]
                rows[i] = vectors.shuffle(upper, lower, first)
                rows[i + half] = vectors.shuffle(upper, lower, second)
        half //= 2
    return rows
