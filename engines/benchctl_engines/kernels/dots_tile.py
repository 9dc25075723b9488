"""The innermost piece of a matrix product whose right side comes transposed: dot products of rows.

sums[ROWS, count] = W[ROWS, depth] . X[count, depth]. Several rows of both at a time, so that every
vector that is loaded is used several times; the vectors run along the depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types

from .host_vectors import FLOAT_BYTES, LANES, WIDTH, host_registers
from .vector_ir import VECTOR, VectorBuilder, intrinsic

LINE_BYTES = 64
ROWS = 3
# How many rows of X a call takes; accumulators fill the registers but for the vectors loaded.
COUNTS = (2, 4, 8) if host_registers() >= 32 else (2, 4)
_LANE = ir.IntType(32)
_LANES = ir.VectorType(_LANE, LANES)


@intrinsic
def dot_rows(  # type: ignore[no-untyped-def]
    typing_context, count, w, w_row, x, x_row, head, steps, sums
):
    """sums[row, n] for ROWS rows of W and `count` rows of X, one of COUNTS.

    Addresses, and strides in bytes. The depth is `head` floats, fewer than LANES and none of them
    where it is 0, and `steps` vectors after them; LANES floats can be read at the start of a row.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = VectorBuilder(builder)
        count, *rest = arguments
        done = builder.append_basic_block("dots_done")
        blocks = [builder.append_basic_block(f"dots_{each}") for each in COUNTS]
        chosen = builder.switch(count, blocks[0])
        for size, block in zip(COUNTS, blocks, strict=True):
            chosen.add_case(vectors.integer(size), block)
            builder.position_at_end(block)
            _emit_dots(vectors, size, rest)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate


@intrinsic
def prefetch_row(typing_context, address):  # type: ignore[no-untyped-def]
    """Ask for the WIDTH floats at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = VectorBuilder(builder)
        for start in range(0, WIDTH * FLOAT_BYTES, LINE_BYTES):
            vectors.prefetch(vectors.offset(arguments[0], start))
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _emit_dots(vectors: VectorBuilder, count: int, arguments: Sequence[Any]) -> None:
    w, w_row, x, x_row, head, steps, sums = arguments
    builder = vectors.builder
    w_rows = [vectors.offset(w, vectors.times(w_row, row)) for row in range(ROWS)]
    x_rows = [vectors.offset(x, vectors.times(x_row, n)) for n in range(count)]
    # The rows that come next: only the processor's own guess would fetch them otherwise.
    ahead = [vectors.offset(row, vectors.times(w_row, ROWS)) for row in w_rows]

    wanted = _first_lanes(vectors, head)
    left = [builder.select(wanted, vectors.load(row), vectors.zero()) for row in w_rows]
    right = [builder.select(wanted, vectors.load(row), vectors.zero()) for row in x_rows]
    first = [[vectors.multiply(a, b) for b in right] for a in left]

    start = builder.mul(head, vectors.integer(FLOAT_BYTES))
    entry, body, finish = (
        builder.block,
        builder.append_basic_block("dots_body"),
        builder.append_basic_block("dots_finish"),
    )
    builder.cbranch(builder.icmp_signed(">", steps, vectors.integer(0)), body, finish)
    builder.position_at_end(body)
    step = builder.phi(ir.IntType(64))
    step.add_incoming(vectors.integer(0), entry)
    phis = [[builder.phi(VECTOR) for _ in range(count)] for _ in range(ROWS)]
    place = vectors.offset(start, vectors.times(step, LANES * FLOAT_BYTES))
    for row in ahead:
        vectors.prefetch(vectors.offset(row, place))
    left = [vectors.load(vectors.offset(row, place)) for row in w_rows]
    made: list[list[Any]] = [[] for _ in range(ROWS)]
    for n in range(count):
        right_n = vectors.load(vectors.offset(x_rows[n], place))
        for row in range(ROWS):
            made[row].append(vectors.multiply_add(left[row], right_n, phis[row][n]))
    following = builder.add(step, vectors.integer(1))
    step.add_incoming(following, body)
    for row in range(ROWS):
        for n in range(count):
            phis[row][n].add_incoming(first[row][n], entry)
            phis[row][n].add_incoming(made[row][n], body)
    builder.cbranch(builder.icmp_signed("<", following, steps), body, finish)

    builder.position_at_end(finish)
    for row in range(ROWS):
        for n in range(count):
            total = builder.phi(VECTOR)
            total.add_incoming(first[row][n], entry)
            total.add_incoming(made[row][n], body)
            phis[row][n] = total
    for row in range(ROWS):
        for n in range(count):
            place = vectors.offset(sums, (row * count + n) * FLOAT_BYTES)
            pointer = builder.inttoptr(place, ir.FloatType().as_pointer())
            builder.store(_lane_sum(vectors, phis[row][n]), pointer)


def _first_lanes(vectors: VectorBuilder, count: Any) -> Any:
    """A mask of the lanes before `count`."""
    builder = vectors.builder
    undefined = ir.Constant(_LANES, ir.Undefined)
    one = builder.insert_element(undefined, builder.trunc(count, _LANE), ir.Constant(_LANE, 0))
    spread = builder.shuffle_vector(one, one, ir.Constant(_LANES, [0] * LANES))
    return builder.icmp_signed("<", ir.Constant(_LANES, list(range(LANES))), spread)


def _lane_sum(vectors: VectorBuilder, value: Any) -> Any:
    """The sum of a vector's lanes, halves first."""
    builder = vectors.builder
    half = LANES // 2
    while half:
        moved = vectors.shuffle(value, value, [(lane + half) % LANES for lane in range(LANES)])
        value = vectors.add(value, moved)
        half //= 2
    return builder.extract_element(value, ir.Constant(_LANE, 0))
