"""Matrix products through NumPy's BLAS, with epilogues and updates done panel by panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolution_geometry import split_evenly
from .epilogue import relu_floor
from .table import KernelRequest, Prepared, kernel
from .workspace import Pieces

Array = npt.NDArray[Any]

# The panel of a product that is still to be finished should stay in the second-level cache.
PRODUCT_PANEL_BYTES = 1 << 20
MIN_PANEL_ROWS = 64
# Up to this depth an update reads and writes w once in a compiled loop instead of two passes.
OUTER_PRODUCT_DEPTH = 4


def _identity(matrix: Array) -> Array:
    return matrix


def _swap(matrix: Array) -> Array:
    return matrix.T


def _orientation(transposed: bool) -> Callable[[Array], Array]:
    """What turns an operand into the matrix meant; BLAS takes either order without a copy."""
    return _swap if transposed else _identity


def split_rows(rows: int, row_bytes: int) -> list[tuple[int, int]]:
    """[start, stop) row panels of about `PRODUCT_PANEL_BYTES`."""
    return split_evenly(rows, max(PRODUCT_PANEL_BYTES // max(row_bytes, 1), MIN_PANEL_ROWS))


@kernel("matmul", "cpu", "gemm")
def prepare_matmul(request: KernelRequest) -> Prepared:
    """out[N, M] = op(a) @ op(b)."""
    orient_a = _orientation(request.attributes["transpose_a"])
    orient_b = _orientation(request.attributes["transpose_b"])

    def matmul(out: Array, a: Array, b: Array) -> None:
        np.matmul(orient_a(a), orient_b(b), out=out)

    return Prepared(matmul)


@kernel("matmul_epilogue", "cpu", "gemm_row_panels")
def prepare_matmul_epilogue(request: KernelRequest) -> Prepared:
    """out[N, M] = op(a) @ op(b) + bias[M], then ReLU where asked."""
    from .loops_gemm import bias_floor_rows

    orient_a = _orientation(request.attributes["transpose_a"])
    orient_b = _orientation(request.attributes["transpose_b"])
    floor = relu_floor(request)
    out_spec = request.outputs[0]
    panels = split_rows(out_spec.shape[0], out_spec.nbytes // max(out_spec.shape[0], 1))

    def matmul_epilogue(out: Array, a: Array, b: Array, bias: Array) -> None:
        left, right = orient_a(a), orient_b(b)
        for start, stop in panels:
            np.matmul(left[start:stop], right, out=out[start:stop])
            bias_floor_rows(out, bias, start, stop, floor)

    return Prepared(matmul_epilogue)


def _update_depth(request: KernelRequest) -> int:
    rows, columns = request.inputs[1].shape
    return rows if request.attributes["transpose_a"] else columns


def _is_outer_update(request: KernelRequest) -> bool:
    return (
        request.attributes["transpose_a"]
        and not request.attributes["transpose_b"]
        and _update_depth(request) <= OUTER_PRODUCT_DEPTH
    )


@kernel("matmul_update", "cpu", "outer_product_loop", when=_is_outer_update)
def prepare_outer_update(request: KernelRequest) -> Prepared:
    """out = w - scale * a.T @ b for a handful of rows: the weight gradient of a small batch."""
    from .loops_gemm import subtract_scaled_outer

    scale: Any = request.outputs[0].numpy_dtype.type(request.attributes["scale"])

    def outer_update(out: Array, w: Array, a: Array, b: Array) -> None:
        subtract_scaled_outer(out, w, a, b, scale)

    return Prepared(outer_update)


@kernel("matmul_update", "cpu", "gemm_row_panels")
def prepare_matmul_update(request: KernelRequest) -> Prepared:
    """out = w - scale * op(a) @ op(b), never holding the whole product."""
    from .loops_gemm import subtract_scaled_rows

    orient_a = _orientation(request.attributes["transpose_a"])
    orient_b = _orientation(request.attributes["transpose_b"])
    w_spec = request.inputs[0]
    rows, columns = w_spec.shape
    scale: Any = w_spec.numpy_dtype.type(request.attributes["scale"])
    panels = split_rows(rows, w_spec.nbytes // max(rows, 1))
    pieces = Pieces()
    tallest = max((stop - start for start, stop in panels), default=0)
    product_piece = pieces.add((tallest, columns), w_spec.numpy_dtype)

    def matmul_update(out: Array, w: Array, a: Array, b: Array, workspace: Array) -> None:
        left, right = orient_a(a), orient_b(b)
        room = pieces.view(workspace, product_piece)
        for start, stop in panels:
            product = room[: (stop - start) * columns].reshape(stop - start, columns)
            np.matmul(left[start:stop], right, out=product)
            subtract_scaled_rows(out, w, product, start, scale)

    return Prepared(matmul_update, pieces.nbytes)
