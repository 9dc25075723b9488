"""Convolutions that are plain matrix products on the GPU: nothing is unfolded or copied.

Two geometries qualify: filters of one element that move by one over channels-last images, and
filters as large as the unpadded input, whose output is a single position (a dense layer written as
a convolution) and which are stored in the order of the images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..gpu.driver import MatmulRequest
from .convolution_geometry import (
    ConvolutionGeometry,
    filter_gradient_geometry,
    filter_layout,
    filters_channels_last,
    forward_geometry,
    input_gradient_geometry,
)
from .cuda_finish import Finish
from .cuda_parts import Room
from .cuda_product import Product
from .cuda_rows import PLANS_TRIED, gpu_row
from .cuda_source import driver_of
from .table import KernelRequest, Prepared, When

if TYPE_CHECKING:
    from ..gpu.array import DeviceArray

GeometryOf = Callable[[KernelRequest], ConvolutionGeometry]


def _when(geometry_of: GeometryOf) -> When:
    def predicate(request: KernelRequest) -> bool:
        geometry = geometry_of(request)
        if not geometry.unpadded:
            return False
        if (geometry.R, geometry.S) == (geometry.H, geometry.W):
            same_order = filter_layout(request) == geometry.layout
            return same_order or geometry.taps == 1 or geometry.C == 1
        return geometry.layout == "NHWC" and geometry.unit_stride and geometry.taps == 1

    return predicate


def _product(
    request: KernelRequest,
    sizes: tuple[int, int, int],
    transpose_a: bool,
    transpose_b: bool,
    *,
    bias: bool = False,
    relu: bool = False,
) -> Product:
    m, n, k = sizes
    matmul = MatmulRequest(
        m=m,
        n=n,
        k=k,
        dtype=request.outputs[0].dtype,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
        bias=bias,
        relu=relu,
        precision=request.precision,
        plan=request.plan,
    )
    return Product(driver_of(request), matmul)


@gpu_row("conv2d", "gemm", can=_when(forward_geometry), plans=PLANS_TRIED)
def prepare_forward(request: KernelRequest) -> Prepared:
    """y = x @ w with positions or batch items as rows."""
    geometry = forward_geometry(request)
    rows = geometry.N * geometry.pixels
    sizes = rows, geometry.K, geometry.depth
    product = _product(request, sizes, False, not filters_channels_last(request))

    def product_forward(
        out: DeviceArray, x: DeviceArray, w: DeviceArray, *workspace: DeviceArray
    ) -> None:
        room = workspace[0].pointer if workspace else 0
        product.run(room, out.pointer, x.pointer, w.pointer)

    return Prepared(product_forward, product.workspace_bytes, detail=product.name)


@gpu_row("conv2d_epilogue", "gemm", can=_when(forward_geometry), plans=PLANS_TRIED)
def prepare_epilogue(request: KernelRequest) -> Prepared:
    """y = x @ w + b, then ReLU and the maxima of 2x2 squares where asked."""
    geometry = forward_geometry(request)
    pool, relu = bool(request.attributes.get("pool", False)), bool(request.attributes["relu"])
    rows = geometry.N * geometry.pixels
    sizes = rows, geometry.K, geometry.depth
    transpose_b = not filters_channels_last(request)
    product = _product(request, sizes, False, transpose_b, bias=not pool, relu=relu and not pool)
    if not pool:

        def product_epilogue(
            out: DeviceArray,
            x: DeviceArray,
            w: DeviceArray,
            b: DeviceArray,
            *workspace: DeviceArray,
        ) -> None:
            room = workspace[0].pointer if workspace else 0
            product.run(room, out.pointer, x.pointer, w.pointer, b.pointer)

        return Prepared(product_epilogue, product.workspace_bytes, detail=product.name)

    room = Room()
    made = room.take(rows * geometry.K * request.outputs[0].itemsize)
    own = room.take(product.workspace_bytes)
    maps = geometry.N, geometry.K, geometry.P, geometry.Q
    layout, dtype = geometry.layout, geometry.dtype
    finish = Finish(
        driver_of(request), dtype, maps, layout, layout, biased=True, relu=relu, pool=True
    )

    def product_pooled(
        out: DeviceArray, x: DeviceArray, w: DeviceArray, b: DeviceArray, workspace: DeviceArray
    ) -> None:
        base = workspace.pointer
        product.run(base + own, base + made, x.pointer, w.pointer)
        finish.run(out.pointer, base + made, b.pointer)

    return Prepared(product_pooled, room.nbytes, detail=product.name)


@gpu_row("conv2d_input_gradient", "gemm", can=_when(input_gradient_geometry), plans=PLANS_TRIED)
def prepare_input_gradient(request: KernelRequest) -> Prepared:
    """dx = g @ w.T."""
    geometry = input_gradient_geometry(request)
    sizes = geometry.N * geometry.pixels, geometry.depth, geometry.K
    product = _product(request, sizes, False, filters_channels_last(request))

    def product_input_gradient(
        out: DeviceArray, g: DeviceArray, w: DeviceArray, *workspace: DeviceArray
    ) -> None:
        room = workspace[0].pointer if workspace else 0
        product.run(room, out.pointer, g.pointer, w.pointer)

    return Prepared(product_input_gradient, product.workspace_bytes, detail=product.name)


@gpu_row("conv2d_filter_gradient", "gemm", can=_when(filter_gradient_geometry), plans=PLANS_TRIED)
def prepare_filter_gradient(request: KernelRequest) -> Prepared:
    """dw = x.T @ g, or its transpose where the filters are stored [K, C, R, S]."""
    geometry = filter_gradient_geometry(request)
    rows, swapped = geometry.N * geometry.pixels, not filters_channels_last(request)
    sides = (geometry.K, geometry.depth) if swapped else (geometry.depth, geometry.K)
    product = _product(request, (*sides, rows), True, False)

    def product_filter_gradient(
        out: DeviceArray, x: DeviceArray, g: DeviceArray, *workspace: DeviceArray
    ) -> None:
        room = workspace[0].pointer if workspace else 0
        left, right = (g, x) if swapped else (x, g)
        product.run(room, out.pointer, left.pointer, right.pointer)

    return Prepared(product_filter_gradient, product.workspace_bytes, detail=product.name)
