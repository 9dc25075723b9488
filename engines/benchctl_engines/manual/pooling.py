"""Max pooling by hand: an element-wise maximum over the positions within the window."""

from __future__ import annotations

from collections.abc import Iterator

from ..contract import Array
from .array_module import array_module

Pair = tuple[int, int]


def _taps(x: Array, window: Pair, stride: Pair, layout: str) -> Iterator[Array]:
    """For each position within the window, row by row, the view of x that it touches."""
    H, W = x.shape[1:3] if layout == "NHWC" else x.shape[2:4]
    P = (H - window[0]) // stride[0] + 1
    Q = (W - window[1]) // stride[1] + 1
    for r in range(window[0]):
        rows = slice(r, r + stride[0] * P, stride[0])
        for s in range(window[1]):
            columns = slice(s, s + stride[1] * Q, stride[1])
            yield x[:, rows, columns] if layout == "NHWC" else x[:, :, rows, columns]


def max_pool2d(
    x: Array, window: Pair = (2, 2), stride: Pair | None = None, layout: str = "NCHW"
) -> Array:
    """Maximum over windows without padding; `stride` is the window where None."""
    taps = _taps(x, window, stride or window, layout)
    maximum = array_module(x).maximum
    y = next(taps).copy()
    for tap in taps:
        maximum(y, tap, out=y)
    return y


def max_pool2d_backward(
    x: Array,
    y: Array,
    dy: Array,
    window: Pair = (2, 2),
    stride: Pair | None = None,
    layout: str = "NCHW",
) -> Array:
    """Gradient of `max_pool2d` at x with result y; a tie goes to the first, row by row."""
    xp = array_module(x)
    dx: Array = xp.zeros_like(x)
    stride = stride or window
    waiting = xp.ones(y.shape, bool)
    for tap, gradient in zip(
        _taps(x, window, stride, layout), _taps(dx, window, stride, layout), strict=True
    ):
        chosen = (tap == y) & waiting
        waiting &= ~chosen
        gradient += dy * chosen
    return dx
