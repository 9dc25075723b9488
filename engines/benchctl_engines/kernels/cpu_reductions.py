"""Sums and maxima over axes.

Neighbouring axes that are both summed, or both kept, are one axis. After that nearly every sum met
in practice has one of two forms: [A, K, B] summed over A and B (everything, rows, the bias
gradient in NCHW) or [A, K] summed over A (columns, the bias gradient in NHWC).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .axes import collapse
from .table import KernelRequest, Prepared, kernel
from .workspace import Pieces

Array = npt.NDArray[Any]

# Below this NumPy's call is done before a compiled loop has started its threads.
COMPILED_SUM_ELEMENTS = 1 << 15
ROW_BLOCK_ELEMENTS = 1 << 14
COLUMN_TASK_ELEMENTS = 1 << 16
COLUMN_BLOCK = 1024


def _sandwich(request: KernelRequest) -> tuple[int, int, int] | None:
    """(A, K, B) where the request sums A and B of [A, K, B] and B > 1, else None."""
    runs = collapse(request.inputs[0].shape, request.attributes["axes"])
    if not runs or not runs[-1][0]:
        return None
    sizes = [size for _, size in runs]
    if len(runs) == 1:
        return (1, 1, sizes[0])
    if len(runs) == 2:
        return (1, sizes[0], sizes[1])
    if len(runs) == 3:
        return (sizes[0], sizes[1], sizes[2])
    return None


def _stack(request: KernelRequest) -> tuple[int, int] | None:
    """(A, K) where the request sums A of [A, K], else None."""
    runs = collapse(request.inputs[0].shape, request.attributes["axes"])
    if len(runs) == 2 and runs[0][0]:
        return (runs[0][1], runs[1][1])
    return None


def _is_compiled(request: KernelRequest) -> bool:
    x = request.inputs[0]
    return x.size >= COMPILED_SUM_ELEMENTS and x.floating


def _is_large_sandwich(request: KernelRequest) -> bool:
    return _is_compiled(request) and _sandwich(request) is not None


def _is_large_stack(request: KernelRequest) -> bool:
    return _is_compiled(request) and _stack(request) is not None


@kernel("sum", "cpu", "loop_rows", when=_is_large_sandwich)
def prepare_sum_rows(request: KernelRequest) -> Prepared:
    """Sum of [A, K, B] over A and B."""
    from .loops_reductions import add_outer, sum_rows

    sizes = _sandwich(request)
    assert sizes is not None
    A, K, B = sizes
    blocks = -(-B // ROW_BLOCK_ELEMENTS)
    pieces = Pieces()
    partial_piece = pieces.add((A, K, blocks), np.dtype(np.float64))

    def sum_of_rows(out: Array, x: Array, workspace: Array) -> None:
        partial = pieces.view(workspace, partial_piece)
        sum_rows(partial.reshape(A * K, blocks), x.reshape(A * K, B), ROW_BLOCK_ELEMENTS)
        add_outer(out.reshape(K), partial.reshape(A, K, blocks))

    return Prepared(sum_of_rows, pieces.nbytes)


@kernel("sum", "cpu", "loop_columns", when=_is_large_stack)
def prepare_sum_columns(request: KernelRequest) -> Prepared:
    """Sum of [A, K] over A."""
    from .loops_reductions import add_outer, sum_columns

    sizes = _stack(request)
    assert sizes is not None
    A, K = sizes
    row_block = max(COLUMN_TASK_ELEMENTS // min(K, COLUMN_BLOCK), 1)
    blocks = -(-A // row_block)
    pieces = Pieces()
    partial_piece = pieces.add((blocks, K), np.dtype(np.float64))

    def sum_of_columns(out: Array, x: Array, workspace: Array) -> None:
        partial = pieces.view(workspace, partial_piece)
        sum_columns(partial.reshape(blocks, K), x.reshape(A, K), row_block, COLUMN_BLOCK)
        add_outer(out.reshape(K), partial.reshape(blocks, K, 1))

    return Prepared(sum_of_columns, pieces.nbytes)


@kernel("sum", "cpu", "numpy")
def prepare_sum(request: KernelRequest) -> Prepared:
    """NumPy's sum; float32 is summed in double precision."""
    axes, keepdims = request.attributes["axes"], request.attributes["keepdims"]
    dtype = np.float64 if request.inputs[0].floating else request.outputs[0].numpy_dtype

    def sum_numpy(out: Array, x: Array) -> None:
        np.sum(x, axis=axes, dtype=dtype, out=out, keepdims=keepdims)

    return Prepared(sum_numpy)


@kernel("max", "cpu", "numpy")
def prepare_max(request: KernelRequest) -> Prepared:
    """NumPy's maximum."""
    axes, keepdims = request.attributes["axes"], request.attributes["keepdims"]

    def max_numpy(out: Array, x: Array) -> None:
        np.max(x, axis=axes, out=out, keepdims=keepdims)

    return Prepared(max_numpy)
