"""How a small batch is multiplied with a large matrix: which loop, and the memory it works in.

Memory limits such a product: a dense layer at inference, or a convolution over a full window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .table import Prepared
from .workspace import Pieces

Array = npt.NDArray[Any]

# From the upper end on, the arithmetic takes longer than reading the matrix, and BLAS packs it to
# some use. One row too, though BLAS reads as fast: its threads go on spinning for tens of
# milliseconds after a call, and loops that follow have one core less.
FEWEST_BATCH, MOST_BATCH = 1, 24
# Below this the matrix stays in the caches and BLAS has the lower overhead.
LEAST_MATRIX_BYTES = 1 << 20
LEAST_SIDE = 64
"""Both sides of the matrix are at least this long, longer than any tile."""

PAGE_FLOATS = 1024


@dataclass(frozen=True, slots=True)
class DenseShape:
    """out[batch, columns] = x[batch, depth] @ w, of float32 where `single`.

    w is [columns, depth] where `transposed`, else [depth, columns].
    """

    batch: int
    depth: int
    columns: int
    transposed: bool
    single: bool

    @property
    def memory_bound(self) -> bool:
        """Whether reading w limits the product, and these loops take it."""
        return FEWEST_BATCH <= self.batch <= MOST_BATCH and self.large

    @property
    def large(self) -> bool:
        """Whether w is of float32 and too large for the caches, and neither side is short."""
        nbytes = self.depth * self.columns * 4
        long_sides = min(self.depth, self.columns) >= LEAST_SIDE
        return self.single and nbytes >= LEAST_MATRIX_BYTES and long_sides


# run(out, x, w, bias, workspace) on matrices; an empty bias is none, so is an empty workspace.
DenseRun = Callable[[Array, Array, Array, Array, Array], None]


def prepare_dense(shape: DenseShape, floor: Any, threads: int, *, biased: bool) -> Prepared:
    """out = max(x @ w + bias, floor), without the bias where not `biased`.

    Operands of any rank are viewed as matrices: filters as large as the image are a dense layer.
    """
    if shape.batch == 1:
        make = _transposed_row_product if shape.transposed else _row_product
    else:
        make = _transposed_product if shape.transposed else _plain_product
    run, nbytes = make(shape, floor, threads)
    batch, depth, columns = shape.batch, shape.depth, shape.columns
    matrix = (columns, depth) if shape.transposed else (depth, columns)
    none: Array = np.empty(0, np.float32)

    def dense(out: Array, x: Array, w: Array, workspace: Array = none) -> None:
        target, rows = out.reshape(batch, columns), x.reshape(batch, depth)
        run(target, rows, w.reshape(matrix), none, workspace)

    def dense_epilogue(
        out: Array, x: Array, w: Array, bias: Array, workspace: Array = none
    ) -> None:
        target, rows = out.reshape(batch, columns), x.reshape(batch, depth)
        run(target, rows, w.reshape(matrix), bias, workspace)

    return Prepared(dense_epilogue if biased else dense, nbytes)


def _row_product(shape: DenseShape, floor: Any, threads: int) -> tuple[DenseRun, int]:
    from .loops_dense import SHARES, multiply_row

    pieces = Pieces()
    sums_piece = pieces.add((SHARES, shape.columns), "float32")

    def run(out: Array, x: Array, w: Array, bias: Array, workspace: Array) -> None:
        sums = pieces.view(workspace, sums_piece).reshape(SHARES, -1)
        multiply_row(out[0], x[0], w, bias, floor, sums, threads)

    return run, pieces.nbytes


def _transposed_row_product(shape: DenseShape, floor: Any, threads: int) -> tuple[DenseRun, int]:
    from .loops_dense import multiply_row_transposed

    def run(out: Array, x: Array, w: Array, bias: Array, workspace: Array) -> None:
        multiply_row_transposed(out[0], x[0], w, bias, floor, threads)

    return run, 0


def _plain_product(shape: DenseShape, floor: Any, threads: int) -> tuple[DenseRun, int]:
    from .host_vectors import FEWEST_ROWS, WIDTH
    from .loops_dense import multiply_dense

    rows, panels = max(shape.batch, FEWEST_ROWS), -(-shape.columns // WIDTH)
    pieces = Pieces()
    packed_piece = pieces.add((shape.depth, rows), "float32")
    sums_piece = pieces.add((panels, rows, WIDTH), "float32")

    def run(out: Array, x: Array, w: Array, bias: Array, workspace: Array) -> None:
        packed = pieces.view(workspace, packed_piece).reshape(-1, rows)
        sums = pieces.view(workspace, sums_piece).reshape(panels, rows, WIDTH)
        multiply_dense(out, x, w, bias, floor, packed, sums, threads)

    return run, pieces.nbytes


def _transposed_product(shape: DenseShape, floor: Any, threads: int) -> tuple[DenseRun, int]:
    from .dots_tile import COUNTS, ROWS
    from .host_vectors import LANES
    from .loops_dense import multiply_dense_transposed

    rows = max(shape.batch, COUNTS[0])
    spacing = -(-shape.depth // PAGE_FLOATS) * PAGE_FLOATS + LANES
    pieces = Pieces()
    spaced_piece = pieces.add((rows, spacing), "float32")
    sums_piece = pieces.add((threads, ROWS * COUNTS[-1]), "float32")

    def run(out: Array, x: Array, w: Array, bias: Array, workspace: Array) -> None:
        spaced = pieces.view(workspace, spaced_piece).reshape(rows, spacing)
        sums = pieces.view(workspace, sums_piece).reshape(threads, -1)
        multiply_dense_transposed(out, x, w, bias, floor, spaced, sums, threads)

    return run, pieces.nbytes
