"""Sums and maxima on a GPU, each in an order that depends on shapes alone.

Neighbouring axes that are both folded, or both kept, are one axis. What is left is folded from the
last axis on: rows where the last axis is folded, columns where it is kept. Float32 and halves are
summed in double precision, between steps too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..primitives.specs import spec
from .axes import collapse
from .cuda_loops import prepare_copy
from .cuda_source import C_TYPES, THREADS, WORK_TYPES, driver_of, grid_of, index_for, source
from .table import KernelRequest, Prepared, kernel
from .workspace import aligned_bytes

if TYPE_CHECKING:
    from ..gpu.driver import Driver

SHORT_ROW = 1024
"""Rows up to here are folded by at most a warp; a block would mostly wait for its own threads."""

ENOUGH_BLOCKS = 1024
"""Blocks among which a fold is shared out; no property of the card, so sums do not depend on it."""

ROW_PIECE = 8192
COLUMN_PIECE = 128
"""A row or a column is shared out only in pieces of at least about so many elements."""

MOST_COLUMN_PIECES = 256
"""The few threads that fold the pieces of a column do so one after another."""

_WARP = 32


@dataclass(frozen=True, slots=True)
class Fold:
    """One launch: [outer, rows, columns] folded along rows in `pieces` of `chunk` elements.

    Of a "rows" fold `columns` is 1. Its result has the shape [outer, pieces, columns].
    """

    kind: Literal["rows", "columns"]
    outer: int
    rows: int
    columns: int
    chunk: int
    pieces: int

    @property
    def size(self) -> int:
        """Number of results."""
        return self.outer * self.pieces * self.columns


def plan_folds(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[Fold, ...]:
    """The launches that fold these axes of a C-contiguous array, none of them empty."""
    runs = collapse(shape, axes)
    folds: list[Fold] = []
    while any(folded for folded, _ in runs):
        columns = 1 if runs[-1][0] else runs.pop()[1]
        rows = runs.pop()[1]
        outer = int(np.prod([size for _, size in runs], dtype=np.int64))
        folds += _in_pieces(outer, rows, columns)
        # What is kept on both sides of the folded axis is one axis now.
        kept = columns * (runs.pop()[1] if runs else 1)
        if kept > 1:
            runs.append((False, kept))
    return tuple(folds)


def _in_pieces(outer: int, rows: int, columns: int) -> list[Fold]:
    """One fold, or two where its results are too few to occupy a GPU."""
    if columns == 1:
        pieces = min(-(-ENOUGH_BLOCKS // outer), -(-rows // ROW_PIECE))
        chunk = -(-rows // pieces // SHORT_ROW) * SHORT_ROW
    else:
        tasks = outer * -(-columns // _WARP)
        pieces = min(-(-ENOUGH_BLOCKS // tasks), -(-rows // COLUMN_PIECE), MOST_COLUMN_PIECES)
        chunk = -(-rows // pieces)
    kind: Literal["rows", "columns"] = "rows" if columns == 1 else "columns"
    if pieces == 1:
        return [Fold(kind, outer, rows, columns, rows, 1)]
    pieces = -(-rows // chunk)
    return [
        Fold(kind, outer, rows, columns, chunk, pieces),
        Fold(kind, outer, pieces, columns, pieces, 1),
    ]


Launch = Callable[[int, int], None]


def _prepare_fold(
    driver: Driver, fold: Fold, wide_specs: tuple[Any, ...], fold_type: str, x: str, out: str
) -> Launch:
    """launch(address of out, address of x) for one fold; `x` and `out` are C types."""
    index = index_for(*wide_specs)
    text = source(index, "folds", "reductions", IN=x, OUT=out, FOLD=fold_type)
    module = driver.module(text)
    block = (THREADS, 1, 1)
    sizes: tuple[int, ...]
    if fold.kind == "columns":
        bits = _width_bits(min(fold.chunk, fold.rows), fold.columns)
        tiles = -(-fold.columns // (1 << bits))
        name, letters = "fold_columns", index.letter * 5 + "i"
        sizes = (fold.rows, fold.columns, fold.chunk, fold.pieces, tiles, bits)
        grid = (fold.outer * fold.pieces * tiles, 1, 1)
    elif fold.pieces == 1 and fold.rows <= SHORT_ROW:
        group = min(_power_of_two(fold.rows), _WARP)
        name, letters = "fold_short_rows", index.letter * 2 + "i"
        sizes = (fold.outer, fold.rows, group)
        grid = grid_of(driver, fold.outer * group)
    else:
        name, letters = "fold_rows", index.letter * 3
        sizes = (fold.rows, fold.chunk, fold.pieces)
        grid = (fold.outer * fold.pieces, 1, 1)
    launch = module.function(name, "PP" + letters).launch

    def run(out_pointer: int, x_pointer: int) -> None:
        launch(grid, block, (out_pointer, x_pointer, *sizes))

    return run


def _power_of_two(size: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << max(size - 1, 0).bit_length()


def _width_bits(rows: int, columns: int) -> int:
    """Which power of two of columns a block takes: a warp's worth, more where rows are few."""
    bits = min(_power_of_two(columns), _WARP).bit_length() - 1
    most = min(_power_of_two(columns), THREADS).bit_length() - 1
    while bits < most and (THREADS >> bits) > _power_of_two(rows):
        bits += 1
    return bits


def _prepare(request: KernelRequest, fold_type: str, between: str) -> Prepared:
    """Folds one after another; `between` is the dtype of what lies between two of them."""
    x, out = request.inputs[0], request.outputs[0]
    driver = driver_of(request)
    folds = plan_folds(x.shape, request.attributes["axes"])
    if not folds or not out.size:
        return prepare_copy(request)
    item = spec((), between).itemsize
    launches: list[Launch] = []
    offsets: list[int] = []
    workspace_bytes = 0
    for step, fold in enumerate(folds):
        source_dtype = x.dtype if step == 0 else between
        last = step == len(folds) - 1
        launches.append(
            _prepare_fold(
                driver,
                fold,
                (x,),
                fold_type,
                C_TYPES[source_dtype],
                C_TYPES[out.dtype if last else between],
            )
        )
        if not last:
            offsets.append(workspace_bytes)
            workspace_bytes += aligned_bytes(fold.size * item)
    if len(launches) == 1:
        launch = launches[0]

        def fold_once(out: Any, x: Any) -> None:
            launch(out.pointer, x.pointer)

        return Prepared(fold_once)

    def fold_in_steps(out: Any, x: Any, workspace: Any) -> None:
        base = workspace.pointer
        places = [x.pointer, *[base + offset for offset in offsets], out.pointer]
        for launch, source_pointer, target in zip(launches, places, places[1:], strict=False):
            launch(target, source_pointer)

    return Prepared(fold_in_steps, workspace_bytes)


def _is_empty(request: KernelRequest) -> bool:
    return not request.inputs[0].size


@kernel("sum", "gpu", "zero", when=_is_empty)
def prepare_empty_sum(request: KernelRequest) -> Prepared:
    """The sum of nothing."""
    fill, nbytes = driver_of(request).fill, request.outputs[0].nbytes

    def sum_of_nothing(out: Any, x: Any) -> None:
        if nbytes:
            fill(out.pointer, nbytes, 0)

    return Prepared(sum_of_nothing)


@kernel("sum", "gpu", "folds")
def prepare_sum(request: KernelRequest) -> Prepared:
    """Sum over axes, in double precision."""
    return _prepare(request, "Sum", "float64")


@kernel("max", "gpu", "folds")
def prepare_max(request: KernelRequest) -> Prepared:
    """Maximum over axes; NaN where there is one."""
    dtype = request.inputs[0].dtype
    return _prepare(request, f"Largest<{WORK_TYPES[dtype]}>", dtype)
