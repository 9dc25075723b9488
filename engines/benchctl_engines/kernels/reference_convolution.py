"""Reference kernels of convolution and poolings: one slice of the padded input per filter tap.

Everything is computed in NCHW; the other layout is transposed in and out.
Axis letters: N batch, C channels in, K channels out, H W input, R S filter, P Q output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolution_geometry import filters_channels_last, forward_geometry
from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]


def _is_nhwc(request: KernelRequest) -> bool:
    return bool(request.attributes["layout"] == "NHWC")


def _images(request: KernelRequest, x: Array) -> Array:
    """x as [N, C, H, W]."""
    return x.transpose(0, 3, 1, 2) if _is_nhwc(request) else x


def _filters(request: KernelRequest, w: Array) -> Array:
    """w as [K, C, R, S]."""
    return w.transpose(3, 2, 0, 1) if filters_channels_last(request) else w


def _padded(request: KernelRequest, x: Array, fill: float = 0.0) -> Array:
    """x [N, C, H, W] with its padding laid around it."""
    return np.pad(x, ((0, 0), (0, 0), *request.attributes["padding"]), constant_values=fill)


def _unpadded(request: KernelRequest, x: Array) -> Array:
    """The inside of a padded array."""
    (top, bottom), (left, right) = request.attributes["padding"]
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]


def _taps(
    request: KernelRequest, window: tuple[int, int], positions: tuple[int, int]
) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """(r, s, index of what this tap sees in a padded [N, C, H, W] array)."""
    stride_h, stride_w = request.attributes["stride"]
    (R, S), (P, Q) = window, positions
    for r in range(R):
        for s in range(S):
            rows = slice(r, r + (P - 1) * stride_h + 1, stride_h)
            columns = slice(s, s + (Q - 1) * stride_w + 1, stride_w)
            yield r, s, (slice(None), slice(None), rows, columns)


def _per_position(matrix: Array, images: Array) -> Array:
    """matrix [K, C] applied to the channels of every position of images [N, C, P, Q]."""
    N, C, P, Q = images.shape
    result: Array = np.matmul(matrix, images.reshape(N, C, P * Q))
    return result.reshape(N, -1, P, Q)


def _convolve(request: KernelRequest, y: Array, x: Array, w: Array) -> None:
    """y [N, K, P, Q] = x [N, C, H, W] * w [K, C, R, S]."""
    padded = _padded(request, x)
    total = np.zeros(y.shape, y.dtype)
    for r, s, seen in _taps(request, w.shape[2:], y.shape[2:]):
        total += _per_position(w[:, :, r, s], padded[seen])
    y[...] = total


@kernel("conv2d", "reference", "numpy")
def prepare_conv2d(request: KernelRequest) -> Prepared:
    """Cross-correlation of x with the filters w."""

    def conv2d(out: Array, x: Array, w: Array) -> None:
        _convolve(request, _images(request, out), _images(request, x), _filters(request, w))

    return Prepared(conv2d)


@kernel("conv2d_epilogue", "reference", "numpy")
def prepare_conv2d_epilogue(request: KernelRequest) -> Prepared:
    """Cross-correlation, bias, then ReLU and the maxima of 2x2 squares where asked."""
    attributes = request.attributes

    def conv2d_epilogue(out: Array, x: Array, w: Array, b: Array) -> None:
        made = _images(request, out)
        N, K, P, Q = made.shape
        if attributes.get("pool", False):
            sizes = forward_geometry(request)
            P, Q = sizes.P, sizes.Q
        y = np.empty((N, K, P, Q), out.dtype)
        _convolve(request, y, _images(request, x), _filters(request, w))
        biased = y + b.reshape(-1, 1, 1)
        result = np.maximum(biased, 0) if attributes["relu"] else biased
        if attributes.get("pool", False):
            squares = result[:, :, : P // 2 * 2, : Q // 2 * 2]
            result = squares.reshape(N, K, P // 2, 2, Q // 2, 2).max((3, 5))
        made[...] = result

    return Prepared(conv2d_epilogue)


@kernel("conv2d_input_gradient", "reference", "numpy")
def prepare_input_gradient(request: KernelRequest) -> Prepared:
    """Each tap sends g back to what it saw."""

    def input_gradient(out: Array, g: Array, w: Array) -> None:
        dx, gradients, filters = _images(request, out), _images(request, g), _filters(request, w)
        padded = _padded(request, np.zeros(dx.shape, dx.dtype))
        for r, s, seen in _taps(request, filters.shape[2:], gradients.shape[2:]):
            padded[seen] += _per_position(filters[:, :, r, s].T, gradients)
        dx[...] = _unpadded(request, padded)

    return Prepared(input_gradient)


@kernel("conv2d_filter_gradient", "reference", "numpy")
def prepare_filter_gradient(request: KernelRequest) -> Prepared:
    """Each tap's gradient is the product of g with what it saw."""

    def filter_gradient(out: Array, x: Array, g: Array) -> None:
        dw, gradients = _filters(request, out), _images(request, g)
        padded = _padded(request, _images(request, x))
        for r, s, seen in _taps(request, dw.shape[2:], gradients.shape[2:]):
            dw[:, :, r, s] = np.tensordot(gradients, padded[seen], axes=((0, 2, 3), (0, 2, 3)))

    return Prepared(filter_gradient)


@kernel("max_pool2d", "reference", "numpy")
def prepare_max_pool2d(request: KernelRequest) -> Prepared:
    """Maximum over windows and the row-major index of its first place."""

    def max_pool2d(y: Array, offsets: Array, x: Array) -> None:
        padded = _padded(request, _images(request, x), fill=-np.inf)
        positions = _images(request, y).shape[2:]
        window = request.attributes["window"]
        seen = np.stack([padded[index] for _, _, index in _taps(request, window, positions)])
        _images(request, y)[...] = seen.max(axis=0)
        _images(request, offsets)[...] = seen.argmax(axis=0)

    return Prepared(max_pool2d)


@kernel("max_pool2d_gradient", "reference", "numpy")
def prepare_max_pool2d_gradient(request: KernelRequest) -> Prepared:
    """g at the places that won, added where windows overlap."""
    window = request.attributes["window"]

    def max_pool2d_gradient(dx: Array, g: Array, offsets: Array) -> None:
        target, gradients = _images(request, dx), _images(request, g)
        winners = _images(request, offsets)
        padded = _padded(request, np.zeros(target.shape, target.dtype))
        for r, s, seen in _taps(request, window, gradients.shape[2:]):
            padded[seen] += np.where(winners == r * window[1] + s, gradients, 0)
        target[...] = _unpadded(request, padded)

    return Prepared(max_pool2d_gradient)


@kernel("max_pool2d_gather", "reference", "numpy")
def prepare_max_pool2d_gather(request: KernelRequest) -> Prepared:
    """u at the places that won."""
    window = request.attributes["window"]

    def max_pool2d_gather(out: Array, u: Array, offsets: Array) -> None:
        padded = _padded(request, _images(request, u))
        winners = _images(request, offsets)
        taken = np.zeros(winners.shape, out.dtype)
        for r, s, seen in _taps(request, window, winners.shape[2:]):
            taken += np.where(winners == r * window[1] + s, padded[seen], 0)
        _images(request, out)[...] = taken

    return Prepared(max_pool2d_gather)


def _inside(
    request: KernelRequest, images: Array, window: tuple[int, int], positions: tuple[int, int]
) -> Array:
    """How many elements of each window lie in images [N, C, H, W]: [P, Q]."""
    ones = _padded(request, np.ones((1, 1, *images.shape[2:]), images.dtype))
    counts: Array = sum(ones[seen] for _, _, seen in _taps(request, window, positions))[0, 0]
    return counts


@kernel("average_pool2d", "reference", "numpy")
def prepare_average_pool2d(request: KernelRequest) -> Prepared:
    """Mean over the elements of each window that lie inside."""
    window = request.attributes["window"]

    def average_pool2d(y: Array, x: Array) -> None:
        images, result = _images(request, x), _images(request, y)
        padded, positions = _padded(request, images), result.shape[2:]
        total: Array = sum(padded[seen] for _, _, seen in _taps(request, window, positions))
        result[...] = total / _inside(request, images, window, positions)

    return Prepared(average_pool2d)


@kernel("average_pool2d_gradient", "reference", "numpy")
def prepare_average_pool2d_gradient(request: KernelRequest) -> Prepared:
    """Each gradient shared among the elements of its window."""
    window = request.attributes["window"]

    def average_pool2d_gradient(dx: Array, g: Array) -> None:
        target, gradients = _images(request, dx), _images(request, g)
        positions = gradients.shape[2:]
        shares = gradients / _inside(request, target, window, positions)
        padded = _padded(request, np.zeros(target.shape, target.dtype))
        for _, _, seen in _taps(request, window, positions):
            padded[seen] += shares
        target[...] = _unpadded(request, padded)

    return Prepared(average_pool2d_gradient)
