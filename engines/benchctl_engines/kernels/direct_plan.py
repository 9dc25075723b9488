"""How a direct convolution is cut into blocks of output lines, and what memory it needs."""

from __future__ import annotations

from typing import NamedTuple

from .convolution_geometry import ConvolutionGeometry, loop_sizes
from .host_vectors import FEWEST_ROWS, FLOAT_BYTES, LANES, WIDTH, whole_lines

# Input lines and staged results of a block, each: they share a worker's own cache with filters.
BLOCK_BYTES = 192 << 10


class Lines(NamedTuple):
    """Sizes of a convolution for the loops; floats, but for counts.

    An image's output lines are cut into `blocks`. A worker has `worker_floats` of scratch: the
    slab, lines of `slab_row` for `slab_width` positions, and from `made` on staged results.
    """

    nchw: int
    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    stride_h: int
    stride_w: int
    top: int
    left: int
    blocks: int
    slab_width: int
    slab_row: int
    made: int
    worker_floats: int


def takes(geometry: ConvolutionGeometry) -> bool:
    """Whether the vectors of a tile are at least half full, for float32."""
    sizes = (geometry.N, geometry.C, geometry.K, geometry.P, geometry.Q)
    return geometry.dtype == "float32" and min(sizes) > 0 and geometry.K >= LANES


def padded(channels: int) -> int:
    """Channels rounded up to whole panels."""
    return -(-channels // WIDTH) * WIDTH


def plan_lines(geometry: ConvolutionGeometry, threads: int) -> Lines:
    """Blocks and memory of a convolution, or of its filter gradient."""
    # A tile may read FEWEST_ROWS positions where there are fewer.
    positions = max(geometry.Q, FEWEST_ROWS)
    slab_width = (positions - 1) * geometry.stride_w + geometry.S
    slab_row = whole_lines(slab_width * geometry.C)
    made_row = positions * padded(geometry.K)
    least = -(-geometry.P * geometry.N // threads)
    by_slab = (BLOCK_BYTES // FLOAT_BYTES // slab_row - geometry.R) // geometry.stride_h + 1
    by_made = BLOCK_BYTES // FLOAT_BYTES // made_row
    longest = max(min(by_slab, by_made, least, geometry.P), 1)
    blocks = -(-geometry.P // longest)
    count = -(-geometry.P // blocks)
    slab = ((count - 1) * geometry.stride_h + geometry.R) * slab_row
    # A filter gradient reads FEWEST_ROWS elements of a line's end where a tap has fewer.
    made = whole_lines(slab + FEWEST_ROWS)
    return Lines(
        **loop_sizes(geometry),
        blocks=blocks,
        slab_width=slab_width,
        slab_row=slab_row,
        made=made,
        worker_floats=made + whole_lines(count * made_row),
    )


def packed_floats(geometry: ConvolutionGeometry) -> int:
    """Floats of the filters in panels."""
    return geometry.taps * geometry.C * padded(geometry.K)


def sum_floats(geometry: ConvolutionGeometry, threads: int) -> int:
    """Floats of all workers' shares of the filters' gradient."""
    rows = max(geometry.S * geometry.C, FEWEST_ROWS)
    return threads * geometry.R * rows * padded(geometry.K)
