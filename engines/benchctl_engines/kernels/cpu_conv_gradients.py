"""The gradients of a convolution that are not convolutions of the same kind.

Input gradient for strides above 1 or few positions: panels W.T @ g folded back (col2im). Filter
gradient: products of g with panels of unfolded input, accumulated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolution_geometry import (
    ConvolutionGeometry,
    filter_gradient_geometry,
    input_gradient_geometry,
    is_plain_nchw,
    is_plain_nhwc,
    split_positions,
)
from .cpu_conv_panels import unfold_loop, window_arguments
from .table import KernelRequest, Prepared, kernel
from .workspace import Pieces

Array = npt.NDArray[Any]
# take(g as [N, K, P*Q], [start, stop), workspace): the panel [K, positions] of the gradient
TakeGradient = Callable[[Array, int, int, Array], Array]

# A short sum would spend its time adding the product to the gradient: 512 positions keep that
# below a tenth.
MIN_FILTER_GRADIENT_POSITIONS = 512


def _longest(panels: Sequence[tuple[int, int]]) -> int:
    return max((stop - start for start, stop in panels), default=0)


def _make_take_gradient(
    geometry: ConvolutionGeometry, longest: int, pieces: Pieces
) -> TakeGradient:
    """A panel of an NCHW gradient: a view within an image, a gathered copy over several."""
    from .loops_convolution import gather_positions

    K, pixels = geometry.K, geometry.pixels
    staged_piece = pieces.add((K, longest if longest > pixels else 0), geometry.dtype)

    def take(g: Array, start: int, stop: int, workspace: Array) -> Array:
        image, size = start // pixels, stop - start
        if size <= pixels:
            first = start - image * pixels
            within: Array = g[image, :, first : first + size]
            return within
        staged = pieces.view(workspace, staged_piece)[: K * size].reshape(K, size)
        gather_positions(staged, g, image)
        return staged

    return take


@kernel("conv2d_input_gradient", "cpu", "col2im_panels_nchw", when=is_plain_nchw)
def prepare_folded_nchw(request: KernelRequest) -> Prepared:
    """panel = W.T[C*R*S, K] @ g[K, p], folded back onto dx."""
    from .loops_convolution import col2im_nchw

    geometry = input_gradient_geometry(request)
    depth, K, pixels = geometry.depth, geometry.K, geometry.pixels
    panels = split_positions(geometry, np.dtype(geometry.dtype).itemsize)
    pieces = Pieces()
    panel_piece = pieces.add((depth, _longest(panels)), geometry.dtype)
    take = _make_take_gradient(geometry, _longest(panels), pieces)
    window = window_arguments(geometry)

    def folded_input_gradient_nchw(out: Array, g: Array, w: Array, workspace: Array) -> None:
        matrix, gradients = w.reshape(K, depth).T, g.reshape(geometry.N, K, pixels)
        room = pieces.view(workspace, panel_piece)
        out.fill(0)
        for start, stop in panels:
            panel = room[: depth * (stop - start)].reshape(depth, stop - start)
            np.matmul(matrix, take(gradients, start, stop, workspace), out=panel)
            col2im_nchw(out, panel, start, *window)

    return Prepared(folded_input_gradient_nchw, pieces.nbytes)


@kernel("conv2d_input_gradient", "cpu", "col2im_panels_nhwc", when=is_plain_nhwc)
def prepare_folded_nhwc(request: KernelRequest) -> Prepared:
    """panel = g[p, K] @ W.T[K, R*S*C], folded back onto dx."""
    from .loops_convolution import col2im_nhwc

    geometry = input_gradient_geometry(request)
    depth, K = geometry.depth, geometry.K
    positions = geometry.N * geometry.pixels
    panels = split_positions(geometry, np.dtype(geometry.dtype).itemsize)
    pieces = Pieces()
    panel_piece = pieces.add((_longest(panels), depth), geometry.dtype)
    window = window_arguments(geometry)

    def folded_input_gradient_nhwc(out: Array, g: Array, w: Array, workspace: Array) -> None:
        matrix, gradients = w.reshape(depth, K).T, g.reshape(positions, K)
        room = pieces.view(workspace, panel_piece)
        out.fill(0)
        for start, stop in panels:
            panel = room[: (stop - start) * depth].reshape(stop - start, depth)
            np.matmul(gradients[start:stop], matrix, out=panel)
            col2im_nhwc(out, panel, start, *window)

    return Prepared(folded_input_gradient_nhwc, pieces.nbytes)


@kernel("conv2d_filter_gradient", "cpu", "im2col_panels_nchw", when=is_plain_nchw)
def prepare_filter_gradient_nchw(request: KernelRequest) -> Prepared:
    """dw[K, C*R*S] = sum over panels of g[K, p] @ panel[C*R*S, p].T."""
    from .loops_convolution import accumulate

    geometry = filter_gradient_geometry(request)
    depth, K, pixels = geometry.depth, geometry.K, geometry.pixels
    unfold = unfold_loop(geometry)
    item_bytes = np.dtype(geometry.dtype).itemsize
    panels = split_positions(geometry, item_bytes, MIN_FILTER_GRADIENT_POSITIONS)
    pieces = Pieces()
    panel_piece = pieces.add((depth, _longest(panels)), geometry.dtype)
    take = _make_take_gradient(geometry, _longest(panels), pieces)
    part_piece = pieces.add((K, depth if len(panels) > 1 else 0), geometry.dtype)
    window = window_arguments(geometry)

    def filter_gradient_nchw(out: Array, x: Array, g: Array, workspace: Array) -> None:
        gradients, total = g.reshape(geometry.N, K, pixels), out.reshape(K * depth)
        part = pieces.view(workspace, part_piece)
        room = pieces.view(workspace, panel_piece)
        if not panels:
            total.fill(0)
        for start, stop in panels:
            panel = room[: depth * (stop - start)].reshape(depth, stop - start)
            unfold(panel, x, start, *window)
            target = part if start else total
            left = take(gradients, start, stop, workspace)
            np.matmul(left, panel.T, out=target.reshape(K, depth))
            if start:
                accumulate(total, part)

    return Prepared(filter_gradient_nchw, pieces.nbytes)


@kernel("conv2d_filter_gradient", "cpu", "im2col_panels_nhwc", when=is_plain_nhwc)
def prepare_filter_gradient_nhwc(request: KernelRequest) -> Prepared:
    """dw[R*S*C, K] = sum over panels of panel[p, R*S*C].T @ g[p, K]."""
    from .loops_convolution import accumulate

    geometry = filter_gradient_geometry(request)
    depth, K = geometry.depth, geometry.K
    positions = geometry.N * geometry.pixels
    unfold = unfold_loop(geometry)
    item_bytes = np.dtype(geometry.dtype).itemsize
    panels = split_positions(geometry, item_bytes, MIN_FILTER_GRADIENT_POSITIONS)
    pieces = Pieces()
    panel_piece = pieces.add((_longest(panels), depth), geometry.dtype)
    part_piece = pieces.add((depth if len(panels) > 1 else 0, K), geometry.dtype)
    window = window_arguments(geometry)

    def filter_gradient_nhwc(out: Array, x: Array, g: Array, workspace: Array) -> None:
        gradients, total = g.reshape(positions, K), out.reshape(depth * K)
        part = pieces.view(workspace, part_piece)
        room = pieces.view(workspace, panel_piece)
        if not panels:
            total.fill(0)
        for start, stop in panels:
            panel = room[: (stop - start) * depth].reshape(stop - start, depth)
            unfold(panel, x, start, *window)
            target = part if start else total
            np.matmul(panel.T, gradients[start:stop], out=target.reshape(depth, K))
            if start:
                accumulate(total, part)

    return Prepared(filter_gradient_nhwc, pieces.nbytes)
