"""Average pooling and its gradient, compiled, in both layouts."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .convolution_geometry import is_nchw, is_nhwc
from .cpu_pooling import planes
from .pooling_windows import window_arguments
from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]


@kernel("average_pool2d", "cpu", "loop_nchw", when=is_nchw)
def prepare_average_pool_nchw(request: KernelRequest) -> Prepared:
    """y of x, NCHW."""
    from .loops_average_pooling import average_pool_nchw

    window = window_arguments(request)

    def average_pool2d_nchw(y: Array, x: Array) -> None:
        average_pool_nchw(planes(y), planes(x), *window)

    return Prepared(average_pool2d_nchw)


@kernel("average_pool2d", "cpu", "loop_nhwc", when=is_nhwc)
def prepare_average_pool_nhwc(request: KernelRequest) -> Prepared:
    """y of x, NHWC."""
    from .loops_average_pooling import average_pool_nhwc

    window = window_arguments(request)

    def average_pool2d_nhwc(y: Array, x: Array) -> None:
        average_pool_nhwc(y, x, *window)

    return Prepared(average_pool2d_nhwc)


@kernel("average_pool2d_gradient", "cpu", "loop_nchw", when=is_nchw)
def prepare_average_pool_gradient_nchw(request: KernelRequest) -> Prepared:
    """dx of g, NCHW."""
    from .loops_average_pooling import average_pool_gradient_nchw

    window = window_arguments(request)

    def average_pool2d_gradient_nchw(dx: Array, g: Array) -> None:
        average_pool_gradient_nchw(planes(dx), planes(g), *window)

    return Prepared(average_pool2d_gradient_nchw)


@kernel("average_pool2d_gradient", "cpu", "loop_nhwc", when=is_nhwc)
def prepare_average_pool_gradient_nhwc(request: KernelRequest) -> Prepared:
    """dx of g, NHWC."""
    from .loops_average_pooling import average_pool_gradient_nhwc

    window = window_arguments(request)

    def average_pool2d_gradient_nhwc(dx: Array, g: Array) -> None:
        average_pool_gradient_nhwc(dx, g, *window)

    return Prepared(average_pool2d_gradient_nhwc)
