"""Dense layers of a small batch, which memory limits: their weights are read once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .dense_product import MOST_BATCH, DenseShape, prepare_dense
from .epilogue import relu_floor
from .table import KernelRequest, Prepared, kernel
from .workspace import Pieces

Array = npt.NDArray[Any]


def _shape(request: KernelRequest) -> DenseShape:
    a, out = request.inputs[0], request.outputs[0]
    batch, columns = out.shape
    transposed = bool(request.attributes["transpose_b"])
    depth = a.size // max(batch, 1)
    return DenseShape(batch, depth, columns, transposed, out.dtype == "float32")


def _is_dense(request: KernelRequest) -> bool:
    return not request.attributes["transpose_a"] and _shape(request).memory_bound


@kernel("matmul", "cpu", "small_batch", when=_is_dense)
def prepare_product(request: KernelRequest) -> Prepared:
    """out[N, M] = a @ op(b): a layer without a bias, or the gradient of its input."""
    unbounded = np.float32(-np.inf)
    return prepare_dense(_shape(request), unbounded, request.threads, biased=False)


@kernel("matmul_epilogue", "cpu", "small_batch", when=_is_dense)
def prepare_epilogue(request: KernelRequest) -> Prepared:
    """out[N, M] = a @ op(b) + bias[M], then ReLU where asked."""
    return prepare_dense(_shape(request), relu_floor(request), request.threads, biased=True)


def _is_outer_product(request: KernelRequest) -> bool:
    a, out = request.inputs[0], request.outputs[0]
    flags = request.attributes["transpose_a"], request.attributes["transpose_b"]
    depth, columns = out.shape
    shape = DenseShape(a.shape[0], depth, columns, False, out.dtype == "float32")
    return flags == (True, False) and 1 <= shape.batch <= MOST_BATCH and shape.large


@kernel("matmul", "cpu", "outer_products", when=_is_outer_product)
def prepare_outer_product(request: KernelRequest) -> Prepared:
    """out = a.T @ b for few rows of both: the gradient of a layer's weights, written once."""
    from .loops_dense import add_outer_products

    threads = request.threads

    def outer_product(out: Array, a: Array, b: Array) -> None:
        add_outer_products(out, a, b, False, threads)

    return Prepared(outer_product)


def _is_outer_update(request: KernelRequest) -> bool:
    w, a, _ = request.inputs
    flags = request.attributes["transpose_a"], request.attributes["transpose_b"]
    shape = DenseShape(a.shape[0], w.shape[0], w.shape[1], False, w.dtype == "float32")
    return flags == (True, False) and 1 <= shape.batch <= MOST_BATCH and shape.large


@kernel("matmul_update", "cpu", "small_batch", when=_is_outer_update)
def prepare_update(request: KernelRequest) -> Prepared:
    """out = w - scale * a.T @ b: the weights are read and written once."""
    from .loops_dense import add_outer_products

    a_spec = request.inputs[1]
    factor, threads = np.float32(-request.attributes["scale"]), request.threads
    pieces = Pieces()
    scaled_piece = pieces.add(a_spec.shape, a_spec.numpy_dtype)

    def outer_update(out: Array, w: Array, a: Array, b: Array, workspace: Array) -> None:
        scaled = pieces.view(workspace, scaled_piece).reshape(a.shape)
        np.multiply(a, factor, out=scaled)
        if out is not w:
            np.copyto(out, w)
        add_outer_products(out, scaled, b, True, threads)

    return Prepared(outer_update, pieces.nbytes)
