"""Convolution of any geometry: panels of unfolded input (im2col) times the filters, by BLAS.

Each panel is small enough to be read from cache by the product that follows it, and the product
lands in the output's own layout: W[K, C*R*S] @ panel[C*R*S, p] in NCHW, panel[p, R*S*C] @
W[R*S*C, K] in NHWC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolution_geometry import (
    ConvolutionGeometry,
    forward_geometry,
    input_gradient_geometry,
    is_plain,
    is_plain_nchw,
    is_plain_nhwc,
    split_positions,
)
from .epilogue import relu_floor
from .table import KernelRequest, Prepared, kernel
from .workspace import Pieces

Array = npt.NDArray[Any]
# finish(product of all positions, [start, stop) positions just written)
Finish = Callable[[Array, int, int], None]
# forward(out, x, filters, workspace, finish)
Forward = Callable[[Array, Array, Array, Array, Finish | None], None]


def window_arguments(geometry: ConvolutionGeometry) -> tuple[int, ...]:
    """The trailing arguments of the im2col and col2im loops."""
    return (
        geometry.P,
        geometry.Q,
        geometry.R,
        geometry.S,
        geometry.stride_h,
        geometry.stride_w,
        geometry.top,
        geometry.left,
    )


def unfold_loop(geometry: ConvolutionGeometry) -> Callable[..., None]:
    """The loop that fills a panel: loop(panel, x, first position, *window_arguments)."""
    from .loops_convolution import im2col_nchw, im2col_nhwc, im2col_same_width_nchw

    if geometry.layout == "NHWC":
        return im2col_nhwc
    if geometry.unit_stride and geometry.Q == geometry.W:
        return im2col_same_width_nchw
    return im2col_nchw


def make_forward_nhwc(geometry: ConvolutionGeometry, pieces: Pieces) -> Forward:
    """The convolution in NHWC, its panel reserved in `pieces`."""
    unfold = unfold_loop(geometry)
    depth, K = geometry.depth, geometry.K
    positions = geometry.N * geometry.pixels
    panels = split_positions(geometry, np.dtype(geometry.dtype).itemsize)
    longest = max((stop - start for start, stop in panels), default=0)
    panel_piece = pieces.add((longest, depth), geometry.dtype)
    window = window_arguments(geometry)

    def forward_nhwc(
        out: Array, x: Array, filters: Array, workspace: Array, finish: Finish | None
    ) -> None:
        matrix, product = filters.reshape(depth, K), out.reshape(positions, K)
        room = pieces.view(workspace, panel_piece)
        for start, stop in panels:
            panel = room[: (stop - start) * depth].reshape(stop - start, depth)
            unfold(panel, x, start, *window)
            np.matmul(panel, matrix, out=product[start:stop])
            if finish is not None:
                finish(product, start, stop)

    return forward_nhwc


def make_forward_nchw(geometry: ConvolutionGeometry, pieces: Pieces) -> Forward:
    """The convolution in NCHW, its panel and staging room reserved in `pieces`."""
    from .loops_convolution import scatter_positions

    unfold = unfold_loop(geometry)
    depth, K, pixels = geometry.depth, geometry.K, geometry.pixels
    panels = split_positions(geometry, np.dtype(geometry.dtype).itemsize)
    longest = max((stop - start for start, stop in panels), default=0)
    panel_piece = pieces.add((depth, longest), geometry.dtype)
    staged_piece = pieces.add((K, longest if longest > pixels else 0), geometry.dtype)
    window = window_arguments(geometry)

    def forward_nchw(
        out: Array, x: Array, filters: Array, workspace: Array, finish: Finish | None
    ) -> None:
        matrix, product = filters.reshape(K, depth), out.reshape(geometry.N, K, pixels)
        room = pieces.view(workspace, panel_piece)
        for start, stop in panels:
            size = stop - start
            panel = room[: depth * size].reshape(depth, size)
            unfold(panel, x, start, *window)
            image = start // pixels
            if size > pixels:
                # several small images in one product, handed out to their places afterwards
                staged = pieces.view(workspace, staged_piece)[: K * size].reshape(K, size)
                np.matmul(matrix, panel, out=staged)
                scatter_positions(product, staged, image)
            else:
                first = start - image * pixels
                np.matmul(matrix, panel, out=product[image, :, first : first + size])
            if finish is not None:
                finish(product, start, stop)

    return forward_nchw


def make_forward(geometry: ConvolutionGeometry, pieces: Pieces) -> Forward:
    """The convolution in the geometry's layout."""
    make = make_forward_nchw if geometry.layout == "NCHW" else make_forward_nhwc
    return make(geometry, pieces)


def _prepare_forward(request: KernelRequest) -> Prepared:
    pieces = Pieces()
    forward = make_forward(forward_geometry(request), pieces)

    def conv2d_panels(out: Array, x: Array, w: Array, workspace: Array) -> None:
        forward(out, x, w, workspace, None)

    return Prepared(conv2d_panels, pieces.nbytes)


@kernel("conv2d", "cpu", "im2col_panels_nchw", when=is_plain_nchw)
def prepare_nchw(request: KernelRequest) -> Prepared:
    """y[n] = W @ panel for each panel of an image."""
    return _prepare_forward(request)


@kernel("conv2d", "cpu", "im2col_panels_nhwc", when=is_plain_nhwc)
def prepare_nhwc(request: KernelRequest) -> Prepared:
    """y = panel @ W for each panel of positions."""
    return _prepare_forward(request)


@kernel("conv2d_epilogue", "cpu", "im2col_panels_nchw", when=is_plain_nchw)
def prepare_epilogue_nchw(request: KernelRequest) -> Prepared:
    """The same, with bias and ReLU laid over each panel while it is in cache."""
    from .loops_gemm import bias_floor_channels

    geometry = forward_geometry(request)
    pieces = Pieces()
    forward = make_forward(geometry, pieces)
    floor = relu_floor(request)
    pixels = geometry.pixels

    def conv2d_epilogue_nchw(out: Array, x: Array, w: Array, b: Array, workspace: Array) -> None:
        def finish(product: Array, start: int, stop: int) -> None:
            for image in range(start // pixels, -(-stop // pixels)):
                low = max(start - image * pixels, 0)
                high = min(stop - image * pixels, pixels)
                bias_floor_channels(product, b, image, low, high, floor)

        forward(out, x, w, workspace, finish)

    return Prepared(conv2d_epilogue_nchw, pieces.nbytes)


@kernel("conv2d_epilogue", "cpu", "im2col_panels_nhwc", when=is_plain_nhwc)
def prepare_epilogue_nhwc(request: KernelRequest) -> Prepared:
    """The same, with bias and ReLU laid over each panel while it is in cache."""
    from .loops_gemm import bias_floor_rows

    pieces = Pieces()
    forward = make_forward(forward_geometry(request), pieces)
    floor = relu_floor(request)

    def conv2d_epilogue_nhwc(out: Array, x: Array, w: Array, b: Array, workspace: Array) -> None:
        def finish(product: Array, start: int, stop: int) -> None:
            bias_floor_rows(product, b, start, stop, floor)

        forward(out, x, w, workspace, finish)

    return Prepared(conv2d_epilogue_nhwc, pieces.nbytes)


# Turning the filters costs as much as folding back the panels of this many times K positions.
ROTATION_POSITIONS_PER_CHANNEL = {"NCHW": 1, "NHWC": 4}


def _prefers_rotation(request: KernelRequest) -> bool:
    if not is_plain(request):
        return False
    geometry = input_gradient_geometry(request)
    few = geometry.K * ROTATION_POSITIONS_PER_CHANNEL[geometry.layout]
    return geometry.unit_stride and geometry.N * geometry.pixels > few


@kernel("conv2d_input_gradient", "cpu", "im2col_panels_rotated", when=_prefers_rotation)
def prepare_rotated_input_gradient(request: KernelRequest) -> Prepared:
    """dx as a convolution of g with the filters turned by 180 degrees; stride 1, many positions."""
    from .loops_convolution import rotate_filter_nchw, rotate_filter_nhwc

    geometry = input_gradient_geometry(request)
    C, K, R, S = geometry.C, geometry.K, geometry.R, geometry.S
    pieces = Pieces()
    rotated_piece = pieces.add((C, K, R, S), geometry.dtype)
    forward = make_forward(geometry.transposed(), pieces)
    nchw = geometry.layout == "NCHW"
    rotated_shape = (C, K, R, S) if nchw else (R, S, K, C)
    rotate = rotate_filter_nchw if nchw else rotate_filter_nhwc

    def rotated_input_gradient(out: Array, g: Array, w: Array, workspace: Array) -> None:
        rotated = pieces.view(workspace, rotated_piece).reshape(rotated_shape)
        rotate(rotated, w)
        forward(out, g, rotated, workspace, None)

    return Prepared(rotated_input_gradient, pieces.nbytes)
