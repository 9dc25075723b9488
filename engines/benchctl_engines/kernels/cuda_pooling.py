"""Max and average pooling and their derivatives on a GPU, both layouts, fast for 2x2 windows.

To a kernel every image is [N, H, W, C]: in NCHW each plane is an image of one channel.
"""

from __future__ import annotations

from typing import Any

from ..primitives.specs import TensorSpec, split_nchw
from .cuda_source import (
    THREADS,
    VECTOR_BYTES,
    Index,
    driver_of,
    grid_of,
    index_for,
    real_types,
    source,
)
from .pooling_windows import covers_2x2, fits_a_byte, is_plain_2x2, window_arguments
from .table import KernelRequest, Prepared, kernel


def _images(spec: TensorSpec, layout: str) -> tuple[int, int, int, int]:
    """(images, H, W, channels of an image) as the kernels see them."""
    N, C, H, W = split_nchw("max_pool2d", spec.shape, layout)
    return (N * C, H, W, 1) if layout == "NCHW" else (N, H, W, C)


def _packed_channels(request: KernelRequest) -> bool:
    """Whether the channels of a pixel are a whole number of packs."""
    spec = request.outputs[0]
    channels = spec.shape[-1] * spec.itemsize
    return request.attributes["layout"] == "NHWC" and channels % VECTOR_BYTES == 0


def _is_2x2_planes(request: KernelRequest) -> bool:
    return is_plain_2x2(request) and request.attributes["layout"] == "NCHW"


def _is_2x2_channels(request: KernelRequest) -> bool:
    return is_plain_2x2(request) and _packed_channels(request)


def _covers_2x2_planes(request: KernelRequest) -> bool:
    return covers_2x2(request) and request.attributes["layout"] == "NCHW"


def _covers_2x2_channels(request: KernelRequest) -> bool:
    return covers_2x2(request) and _packed_channels(request)


def _prepare(
    request: KernelRequest,
    name: str,
    threads: int,
    divisors: tuple[int, ...],
    sizes: tuple[int, ...],
    index: Index,
) -> Prepared:
    """A kernel of its operands' addresses, the threads it needs, divisors and int sizes."""
    driver = driver_of(request)
    real = next(each.dtype for each in request.outputs if each.floating)
    module = driver.module(source(index, "pooling", **real_types(real)))
    addresses = "P" * (len(request.outputs) + len(request.inputs))
    signature = addresses + index.letter + index.divisor_letters * len(divisors) + "i" * len(sizes)
    launch = module.function(name, signature).launch
    grid, block = grid_of(driver, threads), (THREADS, 1, 1)
    constants = [threads]
    for each in divisors:
        constants += index.divisor(each)
    constants += sizes

    def pool(*arrays: Any) -> None:
        if threads:
            launch(grid, block, (*[each.pointer for each in arrays], *constants))

    return Prepared(pool)


def _packs(request: KernelRequest) -> int:
    """Packs in the channels of a pixel."""
    spec = request.outputs[0]
    return spec.shape[-1] * spec.itemsize // VECTOR_BYTES


@kernel("max_pool2d", "gpu", "2x2_planes", when=_is_2x2_planes)
def prepare_max_pool_2x2_planes(request: KernelRequest) -> Prepared:
    """(y, offsets) of x, NCHW, for the windows of most networks."""
    (x,), y = request.inputs, request.outputs[0]
    _, H, W, _ = _images(x, "NCHW")
    _, P, Q, _ = _images(y, "NCHW")
    return _prepare(request, "max_pool_2x2_planes", y.size, (Q, P), (H, W), index_for(x))


@kernel("max_pool2d", "gpu", "2x2_channels", when=_is_2x2_channels)
def prepare_max_pool_2x2_channels(request: KernelRequest) -> Prepared:
    """(y, offsets) of x, NHWC, for the windows of most networks."""
    (x,), y = request.inputs, request.outputs[0]
    _, H, W, _ = _images(x, "NHWC")
    N, P, Q, _ = _images(y, "NHWC")
    packs = _packs(request)
    divisors = (packs, Q, P)
    return _prepare(
        request, "max_pool_2x2_channels", N * P * Q * packs, divisors, (H, W), index_for(x)
    )


def _prepare_over_outputs(request: KernelRequest, name: str) -> Prepared:
    """A kernel that makes each pooled element from its window, whatever the window."""
    x, y = request.inputs[0], request.outputs[0]
    layout = request.attributes["layout"]
    _, H, W, C = _images(x, layout)
    _, P, Q, _ = _images(y, layout)
    sizes = (H, W, *window_arguments(request))
    return _prepare(request, name, y.size, (C, Q, P), sizes, index_for(x, y))


def _prepare_over_inputs(request: KernelRequest, name: str, *more: int) -> Prepared:
    """A kernel that makes each element of an image from the windows that cover it."""
    g, dx = request.inputs[0], request.outputs[0]
    layout = request.attributes["layout"]
    _, H, W, C = _images(dx, layout)
    _, P, Q, _ = _images(g, layout)
    sizes = (P, Q, *window_arguments(request), *more)
    return _prepare(request, name, dx.size, (C, W, H), sizes, index_for(dx, g))


@kernel("max_pool2d", "gpu", "windows", when=fits_a_byte)
def prepare_max_pool(request: KernelRequest) -> Prepared:
    """(y, offsets) of x, any window."""
    return _prepare_over_outputs(request, "max_pool")


@kernel("max_pool2d_gradient", "gpu", "2x2_planes", when=_covers_2x2_planes)
def prepare_max_pool_2x2_gradient_planes(request: KernelRequest) -> Prepared:
    """dx of (g, offsets), NCHW, where windows cover the plane."""
    g, dx = request.inputs[0], request.outputs[0]
    _, _, Q, _ = _images(g, "NCHW")
    return _prepare(request, "max_pool_2x2_gradient_planes", g.size, (Q,), (), index_for(dx))


@kernel("max_pool2d_gradient", "gpu", "2x2_channels", when=_covers_2x2_channels)
def prepare_max_pool_2x2_gradient_channels(request: KernelRequest) -> Prepared:
    """dx of (g, offsets), NHWC, where windows cover the image."""
    g, dx = request.inputs[0], request.outputs[0]
    N, P, Q, _ = _images(g, "NHWC")
    packs = _packs(request)
    name = "max_pool_2x2_gradient_channels"
    return _prepare(request, name, N * P * Q * packs, (packs, Q), (), index_for(dx))


@kernel("max_pool2d_gradient", "gpu", "windows", when=fits_a_byte)
def prepare_max_pool_gradient(request: KernelRequest) -> Prepared:
    """dx of (g, offsets), any window; overlapping windows are added in the CPU's order."""
    falling = int(request.attributes["layout"] == "NHWC")
    return _prepare_over_inputs(request, "max_pool_gradient", falling)


@kernel("max_pool2d_gather", "gpu", "windows", when=fits_a_byte)
def prepare_max_pool_gather(request: KernelRequest) -> Prepared:
    """u at the winning positions."""
    return _prepare_over_outputs(request, "max_pool_gather")


@kernel("average_pool2d", "gpu", "windows")
def prepare_average_pool(request: KernelRequest) -> Prepared:
    """The mean of each window's elements inside the image."""
    return _prepare_over_outputs(request, "average_pool")


@kernel("average_pool2d_gradient", "gpu", "windows")
def prepare_average_pool_gradient(request: KernelRequest) -> Prepared:
    """Each gradient shared among the elements of its window."""
    return _prepare_over_inputs(request, "average_pool_gradient")
