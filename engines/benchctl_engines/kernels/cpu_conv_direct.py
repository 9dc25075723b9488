"""Convolutions of any window and stride as products over lines of the image, without BLAS.

For geometries that Winograd's filtering does not take: other windows, strides, few channels. The
input gradient for stride 1 is a convolution with rotated filters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolution_geometry import (
    ConvolutionGeometry,
    filter_gradient_geometry,
    filters_channels_last,
    forward_geometry,
    input_gradient_geometry,
)
from .direct_plan import packed_floats, padded, plan_lines, sum_floats, takes
from .epilogue import relu_floor
from .host_vectors import FLOAT_BYTES
from .table import KernelRequest, Prepared, kernel
from .workspace import Pieces, aligned_memory

Array = npt.NDArray[Any]
_NO_FLOOR = np.float32(-np.inf)
# The operand that holds the filters.
_FILTERS = 1


def _transposed(request: KernelRequest) -> ConvolutionGeometry:
    return input_gradient_geometry(request).transposed()


def _takes_forward(request: KernelRequest) -> bool:
    return not request.attributes.get("pool", False) and takes(forward_geometry(request))


def _takes_input_gradient(request: KernelRequest) -> bool:
    return request.attributes["stride"] == (1, 1) and takes(_transposed(request))


def _takes_filter_gradient(request: KernelRequest) -> bool:
    return takes(filter_gradient_geometry(request))


def _prepare_convolution(
    request: KernelRequest, geometry: ConvolutionGeometry, *, rotated: bool, floor: Any
) -> Prepared:
    """out = convolution(image, w) + bias, kept at or above `floor`.

    The prepared function takes (out, image, w, bias, workspace), the bias only where the request
    has one; with bound filters it reads none.
    """
    from .loops_direct import convolve_lines, pack_filters

    threads = request.threads
    lines = plan_lines(geometry, threads)
    channels_last = filters_channels_last(request)
    biased = len(request.inputs) > _FILTERS + 1
    sizes = geometry.R, geometry.S, geometry.C, geometry.K

    def pieces_of(packed: int) -> tuple[Pieces, list[int]]:
        pieces = Pieces()
        floats = packed, padded(geometry.K), lines.worker_floats * threads
        return pieces, [pieces.add((each,), "float32") for each in floats]

    def pack(filters: Array, w: Array) -> None:
        pack_filters(filters, w.reshape(w.size), *sizes, channels_last, rotated, threads)

    def convolve(
        out: Array, image: Array, bias: Array | None, filters: Array, added: Array, scratch: Array
    ) -> None:
        added[:] = 0
        if bias is not None:
            added[: geometry.K] = bias
        flat = out.reshape(out.size), image.reshape(image.size)
        convolve_lines(*flat, filters, added, floor, lines, scratch, threads)

    def prepare_given() -> Prepared:
        pieces, numbers = pieces_of(packed_floats(geometry))

        def direct(out: Array, image: Array, w: Array, *rest: Array) -> None:
            filters, added, scratch = (pieces.view(rest[-1], each) for each in numbers)
            pack(filters, w)
            convolve(out, image, rest[0] if biased else None, filters, added, scratch)

        return Prepared(direct, pieces.nbytes, bind=bind)

    def bind(arrays: Mapping[int, Array]) -> Prepared:
        if _FILTERS not in arrays:
            return prepare_given()
        pieces, numbers = pieces_of(0)
        frozen = aligned_memory(packed_floats(geometry) * FLOAT_BYTES).view(np.float32)
        pack(frozen, arrays[_FILTERS])

        def direct_frozen(out: Array, image: Array, w: Array, *rest: Array) -> None:
            _, added, scratch = (pieces.view(rest[-1], each) for each in numbers)
            convolve(out, image, rest[0] if biased else None, frozen, added, scratch)

        return Prepared(direct_frozen, pieces.nbytes, bound_bytes=frozen.nbytes)

    return prepare_given()


@kernel("conv2d", "cpu", "direct", when=_takes_forward)
def prepare_direct(request: KernelRequest) -> Prepared:
    """y = conv(x, w)."""
    return _prepare_convolution(request, forward_geometry(request), rotated=False, floor=_NO_FLOOR)


@kernel("conv2d_epilogue", "cpu", "direct", when=_takes_forward)
def prepare_direct_epilogue(request: KernelRequest) -> Prepared:
    """y = conv(x, w) + b, then ReLU where asked."""
    floor = relu_floor(request)
    return _prepare_convolution(request, forward_geometry(request), rotated=False, floor=floor)


@kernel("conv2d_input_gradient", "cpu", "direct", when=_takes_input_gradient)
def prepare_direct_input_gradient(request: KernelRequest) -> Prepared:
    """dx = conv(g, rotated w)."""
    return _prepare_convolution(request, _transposed(request), rotated=True, floor=_NO_FLOOR)


@kernel("conv2d_filter_gradient", "cpu", "direct", when=_takes_filter_gradient)
def prepare_direct_filter_gradient(request: KernelRequest) -> Prepared:
    """dw = sum over lines of transposed input times gradient."""
    from .loops_direct import add_shares, correlate_lines

    geometry, threads = filter_gradient_geometry(request), request.threads
    lines = plan_lines(geometry, threads)
    channels_last = filters_channels_last(request)
    pieces = Pieces()
    sums_piece = pieces.add((sum_floats(geometry, threads),), "float32")
    scratch_piece = pieces.add((lines.worker_floats * threads,), "float32")

    def direct_filter_gradient(out: Array, x: Array, g: Array, workspace: Array) -> None:
        sums = pieces.view(workspace, sums_piece)
        scratch = pieces.view(workspace, scratch_piece)
        correlate_lines(sums, x.reshape(x.size), g.reshape(g.size), lines, scratch, threads)
        add_shares(out.reshape(out.size), sums, lines, channels_last, threads)

    return Prepared(direct_filter_gradient, pieces.nbytes)
