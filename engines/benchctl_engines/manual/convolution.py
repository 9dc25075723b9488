"""Convolution by hand: windows gathered into a matrix, one matrix product an image.

Layout NCHW takes filters [K, C, R, S], layout NHWC takes filters [R, S, C, K]. One image at a time
keeps the gathered matrix, which is R*S times the image, from growing with the batch. Arrays are
NumPy's, or those of a module with its functions (`array_module`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..contract import Array
from .array_module import array_module

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
NO_PADDING: Padding = ((0, 0), (0, 0))


@dataclass(frozen=True, slots=True)
class _Geometry:
    """Sizes of one convolution and the module of its arrays.

    `padding` is ((top, bottom), (left, right)).
    """

    xp: Any
    channels_last: bool
    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    stride: Pair
    padding: Padding

    @property
    def is_dense(self) -> bool:
        """Whether the filter covers the whole input, so that one matrix product does it all."""
        return self.padding == NO_PADDING and (self.R, self.S) == (self.H, self.W)

    def output_shape(self) -> tuple[int, ...]:
        if self.channels_last:
            return (self.N, self.P, self.Q, self.K)
        return (self.N, self.K, self.P, self.Q)

    def padded_image(self, dtype: Any) -> Array:
        H, W = self.H + sum(self.padding[0]), self.W + sum(self.padding[1])
        shape = (H, W, self.C) if self.channels_last else (self.C, H, W)
        image: Array = self.xp.zeros(shape, dtype)
        return image

    def interior(self, padded: Array) -> Array:
        """The part of a padded image that is not padding, as a view."""
        rows = slice(self.padding[0][0], self.padding[0][0] + self.H)
        columns = slice(self.padding[1][0], self.padding[1][0] + self.W)
        return padded[rows, columns] if self.channels_last else padded[:, rows, columns]

    def windows(self, dtype: Any) -> Array:
        """An empty array for the windows of one image."""
        C, R, S, P, Q = self.C, self.R, self.S, self.P, self.Q
        shape = (P, Q, R, S, C) if self.channels_last else (C, R, S, P, Q)
        windows: Array = self.xp.empty(shape, dtype)
        return windows

    def matrix(self, windows: Array) -> Array:
        """The windows as a matrix: [P*Q, R*S*C] for NHWC, [C*R*S, P*Q] for NCHW."""
        rows = self.P * self.Q if self.channels_last else self.C * self.R * self.S
        return windows.reshape(rows, -1)

    def gather(self, padded: Array, windows: Array) -> None:
        """Copy every window of a padded image (im2col)."""
        rows, columns = self.stride
        sliding_window_view = self.xp.lib.stride_tricks.sliding_window_view
        if self.channels_last:
            views = sliding_window_view(padded, (self.R, self.S), axis=(0, 1))  # P Q C R S
            windows[...] = views[::rows, ::columns].transpose(0, 1, 3, 4, 2)
        else:
            views = sliding_window_view(padded, (self.R, self.S), axis=(1, 2))  # C P Q R S
            windows[...] = views[:, ::rows, ::columns].transpose(0, 3, 4, 1, 2)

    def scatter(self, windows: Array, padded: Array) -> None:
        """Add every window to its place in a padded image (col2im): the reverse of `gather`."""
        for r in range(self.R):
            rows = slice(r, r + self.stride[0] * self.P, self.stride[0])
            for s in range(self.S):
                columns = slice(s, s + self.stride[1] * self.Q, self.stride[1])
                if self.channels_last:
                    padded[rows, columns] += windows[:, :, r, s]
                else:
                    padded[:, rows, columns] += windows[:, r, s]


def _geometry(x: Array, w: Array, stride: Pair, padding: Padding, layout: str) -> _Geometry:
    if layout == "NHWC":
        (N, H, W, C), (R, S, _, K) = x.shape, w.shape
    else:
        (N, C, H, W), (K, _, R, S) = x.shape, w.shape
    P = (H + sum(padding[0]) - R) // stride[0] + 1
    Q = (W + sum(padding[1]) - S) // stride[1] + 1
    return _Geometry(array_module(x), layout == "NHWC", N, C, H, W, K, R, S, P, Q, stride, padding)


def conv2d(
    x: Array,
    w: Array,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    layout: str = "NCHW",
) -> Array:
    """Cross-correlation of images x with filters w, in the layout of x."""
    geometry = _geometry(x, w, stride, padding, layout)
    filters = _filter_matrix(geometry, w)
    if geometry.is_dense:
        flat = x.reshape(geometry.N, -1)
        product = flat @ (filters if geometry.channels_last else filters.T)
        return product.reshape(geometry.output_shape())
    xp = geometry.xp
    y: Array = xp.empty(geometry.output_shape(), x.dtype)
    padded = geometry.padded_image(x.dtype)
    windows = geometry.windows(x.dtype)
    matrix = geometry.matrix(windows)
    for n in range(geometry.N):
        geometry.interior(padded)[...] = x[n]
        geometry.gather(padded, windows)
        if geometry.channels_last:
            xp.matmul(matrix, filters, out=y[n].reshape(-1, geometry.K))
        else:
            xp.matmul(filters, matrix, out=y[n].reshape(geometry.K, -1))
    return y


def conv2d_backward(
    x: Array,
    w: Array,
    dy: Array,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    layout: str = "NCHW",
) -> tuple[Array, Array]:
    """Gradients (dx, dw) of `conv2d` for the cotangent dy of its result."""
    geometry = _geometry(x, w, stride, padding, layout)
    if geometry.is_dense:
        return _dense_input_gradient(geometry, w, dy), _dense_filter_gradient(geometry, x, w, dy)
    xp = geometry.xp
    dx: Array = xp.empty(x.shape, x.dtype)
    dw: Array = xp.zeros(w.shape, w.dtype)
    filters, filter_gradients = _filter_matrix(geometry, w), _filter_matrix(geometry, dw)
    image, image_gradient = geometry.padded_image(x.dtype), geometry.padded_image(x.dtype)
    windows = geometry.windows(x.dtype)
    matrix = geometry.matrix(windows)
    for n in range(geometry.N):
        _add_filter_gradient(geometry, x[n], dy[n], image, windows, filter_gradients)
        # The gathered windows have done their work; their memory takes the windows' gradients.
        if geometry.channels_last:
            xp.matmul(dy[n].reshape(-1, geometry.K), filters.T, out=matrix)
        else:
            xp.matmul(filters.T, dy[n].reshape(geometry.K, -1), out=matrix)
        image_gradient.fill(0)
        geometry.scatter(windows, image_gradient)
        dx[n] = geometry.interior(image_gradient)
    return dx, dw


def conv2d_filter_gradient(
    x: Array,
    w: Array,
    dy: Array,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    layout: str = "NCHW",
) -> Array:
    """The gradient dw of `conv2d` alone, for a first layer whose input needs none."""
    geometry = _geometry(x, w, stride, padding, layout)
    if geometry.is_dense:
        return _dense_filter_gradient(geometry, x, w, dy)
    dw: Array = geometry.xp.zeros(w.shape, w.dtype)
    image = geometry.padded_image(x.dtype)
    windows = geometry.windows(x.dtype)
    for n in range(geometry.N):
        _add_filter_gradient(geometry, x[n], dy[n], image, windows, _filter_matrix(geometry, dw))
    return dw


def _filter_matrix(geometry: _Geometry, w: Array) -> Array:
    """The filters as a matrix: [R*S*C, K] for NHWC, [K, C*R*S] for NCHW."""
    return w.reshape(-1, geometry.K) if geometry.channels_last else w.reshape(geometry.K, -1)


def _add_filter_gradient(
    geometry: _Geometry, x: Array, dy: Array, padded: Array, windows: Array, gradient: Array
) -> None:
    """Add one image's part to the gradient of the filter matrix; leaves its windows gathered."""
    geometry.interior(padded)[...] = x
    geometry.gather(padded, windows)
    matrix = geometry.matrix(windows)
    if geometry.channels_last:
        gradient += matrix.T @ dy.reshape(-1, geometry.K)
    else:
        gradient += dy.reshape(geometry.K, -1) @ matrix.T


def _dense_input_gradient(geometry: _Geometry, w: Array, dy: Array) -> Array:
    filters, cotangent = _filter_matrix(geometry, w), dy.reshape(geometry.N, geometry.K)
    dx = cotangent @ (filters.T if geometry.channels_last else filters)
    C, H, W = geometry.C, geometry.H, geometry.W
    return dx.reshape((-1, H, W, C) if geometry.channels_last else (-1, C, H, W))


def _dense_filter_gradient(geometry: _Geometry, x: Array, w: Array, dy: Array) -> Array:
    flat, cotangent = x.reshape(geometry.N, -1), dy.reshape(geometry.N, geometry.K)
    dw = flat.T @ cotangent if geometry.channels_last else cotangent.T @ flat
    return dw.reshape(w.shape)
