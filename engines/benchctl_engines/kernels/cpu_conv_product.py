"""Convolutions that are plain matrix products: no im2col, no copy of the weights.

Two geometries qualify: filters of one element that move by one (1x1), and filters as large as the
unpadded input, whose output is a single position (a dense layer written as a convolution).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolution_geometry import (
    ConvolutionGeometry,
    filter_gradient_geometry,
    forward_geometry,
    input_gradient_geometry,
    is_plain,
)
from .cpu_gemm import split_rows
from .dense_product import DenseShape, prepare_dense
from .epilogue import relu_floor
from .table import KernelRequest, Prepared, When, kernel
from .workspace import Pieces

Array = npt.NDArray[Any]
GeometryOf = Callable[[KernelRequest], ConvolutionGeometry]


def _is_full_window(geometry: ConvolutionGeometry) -> bool:
    return geometry.unpadded and (geometry.R, geometry.S) == (geometry.H, geometry.W)


def _is_one_by_one(geometry: ConvolutionGeometry) -> bool:
    return geometry.unpadded and geometry.unit_stride and geometry.taps == 1


def _is_one_by_one_nchw(geometry: ConvolutionGeometry) -> bool:
    return geometry.layout == "NCHW" and _is_one_by_one(geometry)


def _is_matrix_product(geometry: ConvolutionGeometry) -> bool:
    """Whether x and y are both matrices of rows, one a batch item or position."""
    return _is_full_window(geometry) or (geometry.layout == "NHWC" and _is_one_by_one(geometry))


def _when(geometry_of: GeometryOf, holds: Callable[[ConvolutionGeometry], bool]) -> When:
    def predicate(request: KernelRequest) -> bool:
        return is_plain(request) and holds(geometry_of(request))

    return predicate


def _matrix_sizes(geometry: ConvolutionGeometry) -> tuple[int, int, int]:
    """Rows of x and y, columns of x, columns of y."""
    return geometry.N * geometry.pixels, geometry.depth, geometry.K


def _filter_matrix(w: Array, geometry: ConvolutionGeometry) -> Array:
    """The filters as [C*R*S, K], a view in either layout."""
    if geometry.layout == "NCHW":
        return w.reshape(geometry.K, geometry.depth).T
    return w.reshape(geometry.depth, geometry.K)


def _dense_forward(geometry: ConvolutionGeometry) -> DenseShape:
    """y = x @ w as a dense layer."""
    single = geometry.dtype == "float32"
    return DenseShape(*_matrix_sizes(geometry), geometry.layout == "NCHW", single)


def _dense_backward(geometry: ConvolutionGeometry) -> DenseShape:
    """dx = g @ w.T as a dense layer."""
    rows, depth, columns = _matrix_sizes(geometry)
    single = geometry.dtype == "float32"
    return DenseShape(rows, columns, depth, geometry.layout == "NHWC", single)


def _is_dense_forward(geometry: ConvolutionGeometry) -> bool:
    return _is_matrix_product(geometry) and _dense_forward(geometry).memory_bound


def _is_dense_backward(geometry: ConvolutionGeometry) -> bool:
    return _is_matrix_product(geometry) and _dense_backward(geometry).memory_bound


_UNBOUNDED = np.float32(-np.inf)


@kernel("conv2d", "cpu", "small_batch", when=_when(forward_geometry, _is_dense_forward))
def prepare_dense_product(request: KernelRequest) -> Prepared:
    """y = x @ w for few rows: memory limits it."""
    shape = _dense_forward(forward_geometry(request))
    return prepare_dense(shape, _UNBOUNDED, request.threads, biased=False)


@kernel("conv2d_epilogue", "cpu", "small_batch", when=_when(forward_geometry, _is_dense_forward))
def prepare_dense_epilogue(request: KernelRequest) -> Prepared:
    """y = x @ w + b for few rows, then ReLU where asked."""
    shape = _dense_forward(forward_geometry(request))
    return prepare_dense(shape, relu_floor(request), request.threads, biased=True)


@kernel(
    "conv2d_input_gradient",
    "cpu",
    "small_batch",
    when=_when(input_gradient_geometry, _is_dense_backward),
)
def prepare_dense_input_gradient(request: KernelRequest) -> Prepared:
    """dx = g @ w.T for few rows."""
    shape = _dense_backward(input_gradient_geometry(request))
    return prepare_dense(shape, _UNBOUNDED, request.threads, biased=False)


@kernel("conv2d", "cpu", "gemm", when=_when(forward_geometry, _is_matrix_product))
def prepare_product(request: KernelRequest) -> Prepared:
    """y = x @ w with positions or batch items as rows."""
    geometry = forward_geometry(request)
    rows, depth, columns = _matrix_sizes(geometry)

    def conv2d_product(out: Array, x: Array, w: Array) -> None:
        matrix = _filter_matrix(w, geometry)
        np.matmul(x.reshape(rows, depth), matrix, out=out.reshape(rows, columns))

    return Prepared(conv2d_product)


@kernel("conv2d_epilogue", "cpu", "gemm", when=_when(forward_geometry, _is_matrix_product))
def prepare_product_epilogue(request: KernelRequest) -> Prepared:
    """y = x @ w + b, then ReLU where asked, by row panels."""
    from .loops_gemm import bias_floor_rows

    geometry = forward_geometry(request)
    rows, depth, columns = _matrix_sizes(geometry)
    floor = relu_floor(request)
    panels = split_rows(rows, columns * request.outputs[0].numpy_dtype.itemsize)

    def conv2d_product_epilogue(out: Array, x: Array, w: Array, b: Array) -> None:
        matrix = _filter_matrix(w, geometry)
        left, product = x.reshape(rows, depth), out.reshape(rows, columns)
        for start, stop in panels:
            np.matmul(left[start:stop], matrix, out=product[start:stop])
            bias_floor_rows(product, b, start, stop, floor)

    return Prepared(conv2d_product_epilogue)


@kernel(
    "conv2d_input_gradient",
    "cpu",
    "gemm",
    when=_when(input_gradient_geometry, _is_matrix_product),
)
def prepare_product_input_gradient(request: KernelRequest) -> Prepared:
    """dx = g @ w.T."""
    geometry = input_gradient_geometry(request)
    rows, depth, columns = _matrix_sizes(geometry)

    def product_input_gradient(out: Array, g: Array, w: Array) -> None:
        matrix = _filter_matrix(w, geometry)
        np.matmul(g.reshape(rows, columns), matrix.T, out=out.reshape(rows, depth))

    return Prepared(product_input_gradient)


@kernel(
    "conv2d_filter_gradient",
    "cpu",
    "gemm",
    when=_when(filter_gradient_geometry, _is_matrix_product),
)
def prepare_product_filter_gradient(request: KernelRequest) -> Prepared:
    """dw = x.T @ g, or its transpose where the filters are stored [K, C, R, S]."""
    geometry = filter_gradient_geometry(request)
    rows, depth, columns = _matrix_sizes(geometry)
    outputs_first = geometry.layout == "NCHW"

    def product_filter_gradient(out: Array, x: Array, g: Array) -> None:
        left, right = x.reshape(rows, depth), g.reshape(rows, columns)
        if outputs_first:
            np.matmul(right.T, left, out=out.reshape(columns, depth))
        else:
            np.matmul(left.T, right, out=out.reshape(depth, columns))

    return Prepared(product_filter_gradient)


@kernel("conv2d", "cpu", "gemm_per_image", when=_when(forward_geometry, _is_one_by_one_nchw))
def prepare_per_image(request: KernelRequest) -> Prepared:
    """y[n] = w[K, C] @ x[n][C, H*W], NCHW."""
    geometry = forward_geometry(request)
    N, C, K, pixels = geometry.N, geometry.C, geometry.K, geometry.pixels

    def conv2d_per_image(out: Array, x: Array, w: Array) -> None:
        np.matmul(w.reshape(K, C), x.reshape(N, C, pixels), out=out.reshape(N, K, pixels))

    return Prepared(conv2d_per_image)


@kernel(
    "conv2d_epilogue", "cpu", "gemm_per_image", when=_when(forward_geometry, _is_one_by_one_nchw)
)
def prepare_per_image_epilogue(request: KernelRequest) -> Prepared:
    """y[n] = w[K, C] @ x[n][C, H*W] + b, then ReLU where asked, NCHW."""
    from .loops_gemm import bias_floor_channels

    geometry = forward_geometry(request)
    N, C, K, pixels = geometry.N, geometry.C, geometry.K, geometry.pixels
    floor = relu_floor(request)
    panels = split_rows(pixels, K * request.outputs[0].numpy_dtype.itemsize)

    def conv2d_per_image_epilogue(out: Array, x: Array, w: Array, b: Array) -> None:
        matrix, images, product = (
            w.reshape(K, C),
            x.reshape(N, C, pixels),
            out.reshape(N, K, pixels),
        )
        for n in range(N):
            for start, stop in panels:
                np.matmul(matrix, images[n, :, start:stop], out=product[n, :, start:stop])
                bias_floor_channels(product, b, n, start, stop, floor)

    return Prepared(conv2d_per_image_epilogue)


@kernel(
    "conv2d_input_gradient",
    "cpu",
    "gemm_per_image",
    when=_when(input_gradient_geometry, _is_one_by_one_nchw),
)
def prepare_per_image_input_gradient(request: KernelRequest) -> Prepared:
    """dx[n] = w.T[C, K] @ g[n][K, H*W], NCHW."""
    geometry = input_gradient_geometry(request)
    N, C, K, pixels = geometry.N, geometry.C, geometry.K, geometry.pixels

    def per_image_input_gradient(out: Array, g: Array, w: Array) -> None:
        np.matmul(w.reshape(K, C).T, g.reshape(N, K, pixels), out=out.reshape(N, C, pixels))

    return Prepared(per_image_input_gradient)


@kernel(
    "conv2d_filter_gradient",
    "cpu",
    "gemm_per_image",
    when=_when(filter_gradient_geometry, _is_one_by_one_nchw),
)
def prepare_per_image_filter_gradient(request: KernelRequest) -> Prepared:
    """dw[K, C] = sum over n of g[n][K, H*W] @ x[n].T, NCHW."""
    geometry = filter_gradient_geometry(request)
    N, C, K, pixels = geometry.N, geometry.C, geometry.K, geometry.pixels
    pieces = Pieces()
    part_piece = pieces.add((K, C), geometry.dtype)

    def per_image_filter_gradient(out: Array, x: Array, g: Array, workspace: Array) -> None:
        images, gradients, total = (
            x.reshape(N, C, pixels),
            g.reshape(N, K, pixels),
            out.reshape(K, C),
        )
        part = pieces.view(workspace, part_piece).reshape(K, C)
        if N == 0:
            total.fill(0)
        for n in range(N):
            np.matmul(gradients[n], images[n].T, out=part if n else total)
            if n:
                np.add(total, part, out=total)

    return Prepared(per_image_filter_gradient, pieces.nbytes)
