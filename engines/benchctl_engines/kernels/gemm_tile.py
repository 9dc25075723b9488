"""The innermost piece of a matrix product: tiles of the result, held in vector registers.

C[rows, WIDTH] = start + A[rows, depth] @ B[depth, WIDTH]. A may lie in any order, since its
elements are broadcast one by one; a row of B is `WIDTH` adjacent floats. Filters are packed in
panels of that width, so that a tile reads them front to back.

The depth may come in segments, each with its elements of A somewhere else: the lines of an image
under the lines of a filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numba import types

from .compiled import compiled_loop
from .host_vectors import FEWEST_ROWS, FLOAT_BYTES, LANES, MOST_ROWS, VECTORS
from .vector_ir import VectorBuilder, intrinsic

# How far ahead of its use B is asked for: memory answers while this many steps are multiplied.
PREFETCH_STEPS = 32

# Where the sums start; from the bias means from zero, and the bias is added at the end.
FROM_ZERO, FROM_RESULT, FROM_BIAS = 0, 1, 2

_COLUMNS = [j * LANES * FLOAT_BYTES for j in range(VECTORS)]


@intrinsic
def _tile(  # type: ignore[no-untyped-def]
    typing_context,
    size,
    a,
    a_row,
    a_step,
    a_segment,
    b,
    b_step,
    c,
    c_row,
    depth,
    segments,
    start,
    bias,
    floor,
):
    """`multiply` for `size` rows, FEWEST_ROWS to MOST_ROWS."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = VectorBuilder(builder)
        size, *rest = arguments
        done = builder.append_basic_block("tile_done")
        sizes = range(FEWEST_ROWS, MOST_ROWS + 1)
        blocks = [builder.append_basic_block(f"rows_{rows}") for rows in sizes]
        chosen = builder.switch(size, blocks[0])
        for rows, block in zip(sizes, blocks, strict=True):
            chosen.add_case(vectors.integer(rows), block)
            builder.position_at_end(block)
            _emit_tile(vectors, rows, rest)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 13, types.float32), generate


def _first_sums(
    vectors: VectorBuilder, targets: list[list[Any]], start: Any, bias: Any
) -> tuple[list[list[Any]], list[Any]]:
    """What the sums start from, zeros or what is there, and what is added at the end.

    The bias comes last, so that a product and a bias added to it later are the same bit for bit.
    """
    builder = vectors.builder
    found, biased, ready = (builder.append_basic_block(name) for name in ("found", "bias", "ready"))
    before = builder.block
    chosen = builder.switch(start, ready)
    chosen.add_case(vectors.integer(FROM_RESULT), found)
    chosen.add_case(vectors.integer(FROM_BIAS), biased)
    builder.position_at_end(found)
    there = [[vectors.load(target) for target in line] for line in targets]
    builder.branch(ready)
    builder.position_at_end(biased)
    given = [vectors.load(vectors.offset(bias, column)) for column in _COLUMNS]
    builder.branch(ready)
    builder.position_at_end(ready)

    def choose(in_result: Any, in_bias: Any) -> Any:
        phi = builder.phi(in_result.type)
        phi.add_incoming(vectors.zero(), before)
        phi.add_incoming(in_result, found)
        phi.add_incoming(in_bias, biased)
        return phi

    sums = [[choose(value, vectors.zero()) for value in line] for line in there]
    return sums, [choose(vectors.zero(), value) for value in given]


def _emit_tile(vectors: VectorBuilder, rows: int, arguments: Sequence[Any]) -> None:
    a, a_row, a_step, a_segment, b, b_step, c, c_row, depth, segments, start, bias, floor = (
        arguments
    )
    builder = vectors.builder
    row_offsets = [vectors.times(a_row, row) for row in range(rows)]
    targets = [
        [vectors.offset(c, vectors.times(c_row, row), column) for column in _COLUMNS]
        for row in range(rows)
    ]
    first, added = _first_sums(vectors, targets, start, bias)

    def phis(values: list[list[Any]], block: Any) -> list[list[Any]]:
        made = [[builder.phi(value.type) for value in line] for line in values]
        arrive(made, values, block)
        return made

    def arrive(into: list[list[Any]], values: list[list[Any]], block: Any) -> None:
        for line, value_line in zip(into, values, strict=True):
            for phi, value in zip(line, value_line, strict=True):
                phi.add_incoming(value, block)

    before_segments = builder.block
    with vectors.counted(segments, 1) as segment:
        outer = phis(first, before_segments)
        left_start = vectors.offset(a, builder.mul(segment, a_segment))
        right_start = vectors.offset(b, builder.mul(builder.mul(segment, depth), b_step))
        before_steps = builder.block
        with vectors.counted(depth, 1) as step:
            sums = phis(outer, before_steps)
            source = vectors.offset(right_start, builder.mul(step, b_step))
            right = [vectors.load(vectors.offset(source, column)) for column in _COLUMNS]
            ahead = vectors.offset(source, vectors.times(b_step, PREFETCH_STEPS))
            for column in _COLUMNS:
                vectors.prefetch(vectors.offset(ahead, column))
            left = vectors.offset(left_start, builder.mul(step, a_step))
            made = []
            for row in range(rows):
                factor = vectors.load_splat(vectors.offset(left, row_offsets[row]))
                made.append(
                    [vectors.multiply_add(factor, right[j], sums[row][j]) for j in range(VECTORS)]
                )
            arrive(sums, made, builder.block)
        arrive(outer, made, builder.block)
    bound = vectors.splat(floor)
    for line, made_line in zip(targets, made, strict=True):
        for target, value, last in zip(line, made_line, added, strict=True):
            vectors.store(vectors.larger(vectors.add(value, last), bound), target)


@compiled_loop()
def multiply(  # type: ignore[no-untyped-def]
    a, a_row, a_step, a_segment, b, b_step, c, c_row, rows, depth, segments, start, bias, floor
):
    """C[rows, WIDTH] = max(start + A[rows, segments * depth] @ B[segments * depth, WIDTH], floor).

    Addresses, and strides in bytes. `rows` is at least FEWEST_ROWS. `start` is FROM_ZERO,
    FROM_RESULT (adds to C) or FROM_BIAS (adds bias[WIDTH], an address).
    """
    count = (rows + MOST_ROWS - 1) // MOST_ROWS
    least = rows // count
    longer = rows - least * count
    for i in range(count):
        size = least + (1 if i < longer else 0)
        _tile(
            size,
            a,
            a_row,
            a_step,
            a_segment,
            b,
            b_step,
            c,
            c_row,
            depth,
            segments,
            start,
            bias,
            floor,
        )
        a += size * a_row
        c += size * c_row
