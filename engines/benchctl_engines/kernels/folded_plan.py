"""How an input gradient of few channels is cut into blocks of image lines, and what it needs."""

from __future__ import annotations

from typing import NamedTuple

from .convolution_geometry import ConvolutionGeometry, loop_sizes
from .host_vectors import FEWEST_ROWS, FLOAT_BYTES, LANES, WIDTH, whole_lines

# Sums of a block: they share a worker's own cache with the gradient's lines.
BLOCK_BYTES = 192 << 10


class Folds(NamedTuple):
    """Sizes of the convolution for the loops; floats, but for counts.

    The image's lines are cut into `blocks`. A worker has `worker_floats` of scratch: a line of
    the gradient in panels of WIDTH positions, and from `sums` on the sums of the lines that its
    block's gradients reach. A line has C channels of `stride_w` phases of `phase` columns: column
    q*stride_w + s lies in phase s % stride_w, so that a filter's column adds to adjacent floats.
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
    rows: int
    blocks: int
    phase: int
    sums: int
    worker_floats: int


def takes(geometry: ConvolutionGeometry) -> bool:
    """Whether channels would fill no vector, but positions do: float32 only."""
    sizes = (geometry.N, geometry.C, geometry.K, geometry.H, geometry.W)
    few = min(sizes) > 0 and geometry.C < LANES
    # A padding that shifts the image out of its own gradient has no use, and no room here.
    return geometry.dtype == "float32" and few and geometry.Q >= LANES and geometry.left >= 0


def plan_folds(geometry: ConvolutionGeometry, threads: int) -> Folds:
    """Blocks and memory of an input gradient."""
    stride_w = geometry.stride_w
    positions = -(-geometry.Q // WIDTH) * WIDTH
    written = positions + (geometry.S - 1) // stride_w
    read = (geometry.W - 1 + geometry.left) // stride_w + 1
    phase = whole_lines(max(written, read))
    line = geometry.C * stride_w * phase
    rows = max(geometry.R * geometry.C, FEWEST_ROWS)
    # A gradient's R lines reach beyond the block on both sides, unused rows of its tile further.
    beyond = 2 * (geometry.R - 1) + -(-rows // geometry.C)
    least = -(-geometry.H * geometry.N // threads)
    longest = max(min(BLOCK_BYTES // FLOAT_BYTES // line - beyond, least, geometry.H), 1)
    blocks = -(-geometry.H // longest)
    sums = geometry.K * positions
    count = -(-geometry.H // blocks) + beyond
    return Folds(
        **loop_sizes(geometry),
        rows=rows,
        blocks=blocks,
        phase=phase,
        sums=sums,
        worker_floats=sums + count * line,
    )


def packed_floats(geometry: ConvolutionGeometry) -> int:
    """Floats of the filters, column by column of the window."""
    return geometry.S * max(geometry.R * geometry.C, FEWEST_ROWS) * geometry.K
