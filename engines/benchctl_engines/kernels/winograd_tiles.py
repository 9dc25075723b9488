"""Intrinsics that carry one tile into the transform domain of Winograd's filtering, or back.

Each applies out = T in T^T to a square of numbers for every channel, a vector of channels at a
time. One side is an image or a filter: a table of addresses, one a position, in row order. The
other is the transform domain: positions `stride` bytes apart. Channel counts are multiples of
LANES.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numba import types

from .host_vectors import FLOAT_BYTES, LANES
from .vector_ir import POINTER_BYTES, VectorBuilder, intrinsic
from .vector_ir import transposed as transposed_block
from .winograd_algebra import Matrix, emit_product, transforms, transposed

Square = list[list[Any]]


def _apply(matrix: Matrix, square: Square, vectors: VectorBuilder) -> Square:
    """matrix @ square @ matrix^T."""
    columns = [emit_product(matrix, column, vectors) for column in zip(*square, strict=True)]
    return [emit_product(matrix, row, vectors) for row in zip(*columns, strict=True)]


def _load_listed(vectors: VectorBuilder, table: Any, offset: Any, size: int) -> Square:
    """The vectors at the addresses of a table, `offset` bytes further on."""
    return [
        [
            vectors.load(
                vectors.offset(
                    vectors.load_address(vectors.offset(table, (i * size + j) * POINTER_BYTES)),
                    offset,
                )
            )
            for j in range(size)
        ]
        for i in range(size)
    ]


def _load_spaced(vectors: VectorBuilder, start: Any, stride: Any, offset: Any, size: int) -> Square:
    return [
        [
            vectors.load(vectors.offset(start, vectors.times(stride, i * size + j), offset))
            for j in range(size)
        ]
        for i in range(size)
    ]


def _store_listed(vectors: VectorBuilder, square: Square, table: Any, offset: Any) -> None:
    values = [value for row in square for value in row]
    for place, value in enumerate(values):
        address = vectors.load_address(vectors.offset(table, place * POINTER_BYTES))
        vectors.store(value, vectors.offset(address, offset))


def _store_spaced(
    vectors: VectorBuilder, square: Square, start: Any, stride: Any, offset: Any
) -> None:
    values = [value for row in square for value in row]
    for place, value in enumerate(values):
        vectors.store(value, vectors.offset(start, vectors.times(stride, place), offset))


def _over_channels(vectors: VectorBuilder, channels: Any, body: Callable[[Any], None]) -> None:
    with vectors.counted(channels, LANES) as channel:
        body(vectors.times(channel, FLOAT_BYTES))


def _into_domain(matrix: Matrix) -> Any:
    """Intrinsic (table, domain, stride, channels)."""
    size = len(matrix[0])

    @intrinsic
    def into(typing_context, table, domain, stride, channels):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            table, domain, stride, channels = arguments
            vectors = VectorBuilder(builder)

            def body(offset: Any) -> None:
                square = _load_listed(vectors, table, offset, size)
                made = _apply(matrix, square, vectors)
                _store_spaced(vectors, made, domain, stride, offset)

            _over_channels(vectors, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return into


def _out_of_domain(matrix: Matrix) -> Any:
    """Intrinsic (domain, stride, table, channels)."""
    size = len(matrix[0])

    @intrinsic
    def out_of(typing_context, domain, stride, table, channels):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            domain, stride, table, channels = arguments
            vectors = VectorBuilder(builder)

            def body(offset: Any) -> None:
                square = _load_spaced(vectors, domain, stride, offset, size)
                _store_listed(vectors, _apply(matrix, square, vectors), table, offset)

            _over_channels(vectors, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), generate

    return out_of


def _finish(matrix: Matrix, pooled: bool) -> Any:
    """Intrinsic (domain, stride, table, channels, bias, floor): max(out + bias, floor).

    Pooled: the maximum of each 2x2 square, so the table is half as wide and high.
    """
    size = len(matrix[0])

    @intrinsic
    def finish(typing_context, domain, stride, table, channels, bias, floor):  # type: ignore[no-untyped-def]
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            domain, stride, table, channels, bias, floor = arguments
            vectors = VectorBuilder(builder)
            bound = vectors.splat(floor)

            def body(offset: Any) -> None:
                square = _load_spaced(vectors, domain, stride, offset, size)
                made = _apply(matrix, square, vectors)
                if pooled:
                    made = _pool(vectors, made)
                added = vectors.load(vectors.offset(bias, offset))
                made = [
                    [vectors.larger(vectors.add(value, added), bound) for value in row]
                    for row in made
                ]
                _store_listed(vectors, made, table, offset)

            _over_channels(vectors, channels, body)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5, types.float32), generate

    return finish


def _pool(vectors: VectorBuilder, square: Square) -> Square:
    """The maximum of every 2x2 square."""

    def largest(values: Sequence[Any]) -> Any:
        result = values[0]
        for value in values[1:]:
            result = vectors.larger_of_two(result, value)
        return result

    return [
        [
            largest([square[i + a][j + b] for a in (0, 1) for b in (0, 1)])
            for j in range(0, len(square), 2)
        ]
        for i in range(0, len(square), 2)
    ]


@intrinsic
def transpose_block(typing_context, source, source_row, target, target_row):  # type: ignore[no-untyped-def]
    """Write the transpose of LANES x LANES floats; rows are so many bytes apart."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, source_row, target, target_row = arguments
        vectors = VectorBuilder(builder)
        rows = [
            vectors.load(vectors.offset(source, vectors.times(source_row, i))) for i in range(LANES)
        ]
        for i, row in enumerate(transposed_block(vectors, rows)):
            vectors.store(row, vectors.offset(target, vectors.times(target_row, i)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


# Images in, by the side of a tile: its points decide alone.
image_in_6 = _into_domain(transforms(4, 3).input)
image_in_8 = _into_domain(transforms(6, 3).input)
# F(4x4, 3x3), F(6x6, 3x3) and F(4x4, 5x5): gradients in, filters in and out, results out.
gradient_in_4_3 = _into_domain(transposed(transforms(4, 3).output))
gradient_in_6_3 = _into_domain(transposed(transforms(6, 3).output))
gradient_in_4_5 = _into_domain(transposed(transforms(4, 5).output))
filter_in_4_3 = _into_domain(transforms(4, 3).filter)
filter_in_6_3 = _into_domain(transforms(6, 3).filter)
filter_in_4_5 = _into_domain(transforms(4, 5).filter)
filter_out_4_3 = _out_of_domain(transposed(transforms(4, 3).filter))
filter_out_6_3 = _out_of_domain(transposed(transforms(6, 3).filter))
filter_out_4_5 = _out_of_domain(transposed(transforms(4, 5).filter))
result_out_4_3 = _finish(transforms(4, 3).output, pooled=False)
result_out_6_3 = _finish(transforms(6, 3).output, pooled=False)
result_out_4_5 = _finish(transforms(4, 5).output, pooled=False)
pooled_out_4_3 = _finish(transforms(4, 3).output, pooled=True)
pooled_out_6_3 = _finish(transforms(6, 3).output, pooled=True)
pooled_out_4_5 = _finish(transforms(4, 5).output, pooled=True)
