"""Max pooling and its derivatives, compiled, in both layouts."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .convolution_geometry import is_nchw, is_nhwc
from .pooling_windows import covers_2x2, fits_a_byte, is_plain_2x2, window_arguments
from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]


def _is_small_nchw(request: KernelRequest) -> bool:
    return is_nchw(request) and fits_a_byte(request)


def _is_small_nhwc(request: KernelRequest) -> bool:
    return is_nhwc(request) and fits_a_byte(request)


def planes(images: Array) -> Array:
    """[N, C, H, W] as [N*C, H, W], a view."""
    N, C, H, W = images.shape
    return images.reshape(N * C, H, W)


def _is_2x2_nchw(request: KernelRequest) -> bool:
    return is_plain_2x2(request) and is_nchw(request)


@kernel("max_pool2d", "cpu", "loop_2x2_nchw", when=_is_2x2_nchw)
def prepare_max_pool_2x2_nchw(request: KernelRequest) -> Prepared:
    """(y, offsets) of x, NCHW, for the windows of most networks."""
    from .loops_pooling import max_pool_2x2_nchw

    def max_pool2d_2x2_nchw(y: Array, offsets: Array, x: Array) -> None:
        max_pool_2x2_nchw(planes(y), planes(offsets), planes(x))

    return Prepared(max_pool2d_2x2_nchw)


@kernel("max_pool2d", "cpu", "loop_nchw", when=_is_small_nchw)
def prepare_max_pool_nchw(request: KernelRequest) -> Prepared:
    """(y, offsets) of x, NCHW."""
    from .loops_pooling import max_pool_nchw

    window = window_arguments(request)

    def max_pool2d_nchw(y: Array, offsets: Array, x: Array) -> None:
        max_pool_nchw(planes(y), planes(offsets), planes(x), *window)

    return Prepared(max_pool2d_nchw)


@kernel("max_pool2d", "cpu", "loop_nhwc", when=_is_small_nhwc)
def prepare_max_pool_nhwc(request: KernelRequest) -> Prepared:
    """(y, offsets) of x, NHWC."""
    from .loops_pooling import max_pool_nhwc

    window = window_arguments(request)

    def max_pool2d_nhwc(y: Array, offsets: Array, x: Array) -> None:
        max_pool_nhwc(y, offsets, x, *window)

    return Prepared(max_pool2d_nhwc)


def _covers_2x2_nchw(request: KernelRequest) -> bool:
    return is_nchw(request) and covers_2x2(request)


def _covers_2x2_nhwc(request: KernelRequest) -> bool:
    return is_nhwc(request) and covers_2x2(request)


@kernel("max_pool2d_gradient", "cpu", "loop_2x2_nchw", when=_covers_2x2_nchw)
def prepare_max_pool_2x2_gradient_nchw(request: KernelRequest) -> Prepared:
    """dx of (g, offsets), NCHW, for the windows of most networks."""
    from .loops_pooling import max_pool_2x2_gradient_nchw

    def max_pool2d_2x2_gradient_nchw(dx: Array, g: Array, offsets: Array) -> None:
        max_pool_2x2_gradient_nchw(planes(dx), planes(g), planes(offsets))

    return Prepared(max_pool2d_2x2_gradient_nchw)


@kernel("max_pool2d_gradient", "cpu", "loop_2x2_nhwc", when=_covers_2x2_nhwc)
def prepare_max_pool_2x2_gradient_nhwc(request: KernelRequest) -> Prepared:
    """dx of (g, offsets), NHWC, for the windows of most networks."""
    from .loops_pooling import max_pool_2x2_gradient_nhwc

    return Prepared(max_pool_2x2_gradient_nhwc)


@kernel("max_pool2d_gradient", "cpu", "loop_nchw", when=_is_small_nchw)
def prepare_max_pool_gradient_nchw(request: KernelRequest) -> Prepared:
    """dx of (g, offsets), NCHW."""
    from .loops_pooling import max_pool_gradient_nchw

    window = window_arguments(request)[1:]

    def max_pool2d_gradient_nchw(dx: Array, g: Array, offsets: Array) -> None:
        max_pool_gradient_nchw(planes(dx), planes(g), planes(offsets), *window)

    return Prepared(max_pool2d_gradient_nchw)


@kernel("max_pool2d_gradient", "cpu", "loop_nhwc", when=_is_small_nhwc)
def prepare_max_pool_gradient_nhwc(request: KernelRequest) -> Prepared:
    """dx of (g, offsets), NHWC."""
    from .loops_pooling import max_pool_gradient_nhwc

    window = window_arguments(request)

    def max_pool2d_gradient_nhwc(dx: Array, g: Array, offsets: Array) -> None:
        max_pool_gradient_nhwc(dx, g, offsets, *window)

    return Prepared(max_pool2d_gradient_nhwc)


@kernel("max_pool2d_gather", "cpu", "loop_nchw", when=_is_small_nchw)
def prepare_max_pool_gather_nchw(request: KernelRequest) -> Prepared:
    """u at the winning positions, NCHW."""
    from .loops_pooling import max_pool_gather_nchw

    window = window_arguments(request)[1:]

    def max_pool2d_gather_nchw(out: Array, u: Array, offsets: Array) -> None:
        max_pool_gather_nchw(planes(out), planes(u), planes(offsets), *window)

    return Prepared(max_pool2d_gather_nchw)


@kernel("max_pool2d_gather", "cpu", "loop_nhwc", when=_is_small_nhwc)
def prepare_max_pool_gather_nhwc(request: KernelRequest) -> Prepared:
    """u at the winning positions, NHWC."""
    from .loops_pooling import max_pool_gather_nhwc

    window = window_arguments(request)[1:]

    def max_pool2d_gather_nhwc(out: Array, u: Array, offsets: Array) -> None:
        max_pool_gather_nhwc(out, u, offsets, *window)

    return Prepared(max_pool2d_gather_nhwc)
