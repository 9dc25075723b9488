"""Max and average pooling.

Of a maximum the winner is kept as one byte: its row-major index in the window. An average is over
the elements of a window that lie inside the image.
"""

from __future__ import annotations

from typing import Any

from .primitive import Primitive, Saved
from .specs import Padding2d, ShapeError, TensorSpec, join_nchw, spec, split_nchw, window_output


def _pooled_shape(
    x: tuple[int, ...],
    window: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding2d,
    layout: str,
    name: str = "max_pool2d",
) -> tuple[int, int, int, int]:
    N, C, H, W = split_nchw(name, x, layout)
    for (before, after), size in zip(padding, window, strict=True):
        if before >= size or after >= size:
            raise ShapeError(
                f"{name} expected padding smaller than the window {window}, received {padding}"
            )
    P = window_output(name, H, window[0], stride[0], padding[0])
    Q = window_output(name, W, window[1], stride[1], padding[1])
    return join_nchw(N, C, P, Q, layout)


def _pool_infer(x: TensorSpec, **attributes: Any) -> tuple[TensorSpec, TensorSpec]:
    if not x.floating:
        raise ShapeError(f"max_pool2d expected float32 or float64, received {x}")
    window = attributes["window"]
    if window[0] * window[1] > 256:
        raise ShapeError(f"max_pool2d expected a window of at most 256 elements, received {window}")
    shape = _pooled_shape(x.shape, **attributes)
    return spec(shape, x.dtype), spec(shape, "uint8")


def _pool_gradient_infer(
    g: TensorSpec, offsets: TensorSpec, *, input_shape: tuple[int, ...], **attributes: Any
) -> TensorSpec:
    if _pooled_shape(input_shape, **attributes) != g.shape or offsets.shape != g.shape:
        raise ShapeError(f"max_pool2d_gradient expected the pooled shape, received {g}, {offsets}")
    return spec(input_shape, g.dtype)


def _pool_gather_infer(u: TensorSpec, offsets: TensorSpec, **attributes: Any) -> TensorSpec:
    if _pooled_shape(u.shape, **attributes) != offsets.shape:
        raise ShapeError(f"max_pool2d_gather expected the pooled shape, received {offsets}")
    return spec(offsets.shape, u.dtype)


max_pool2d = Primitive("max_pool2d", _pool_infer, saves_outputs=(1,))
max_pool2d_gradient = Primitive("max_pool2d_gradient", _pool_gradient_infer, saves_inputs=(1,))
max_pool2d_gather = Primitive("max_pool2d_gather", _pool_gather_infer, saves_inputs=(1,))

_WINDOW = ("window", "stride", "padding", "layout")


def _window(saved: Saved) -> dict[str, Any]:
    return {name: saved.attributes[name] for name in _WINDOW}


@max_pool2d.pullback
def max_pool2d_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    shape = saved.specs[0].shape
    return (max_pool2d_gradient(g, saved.output(1), input_shape=shape, **_window(saved)),)


@max_pool2d_gradient.pullback
def max_pool2d_gradient_pullback(u: Any, saved: Saved) -> tuple[Any, ...]:
    return max_pool2d_gather(u, saved.input(1), **_window(saved)), None


@max_pool2d_gather.pullback
def max_pool2d_gather_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    shape = saved.specs[0].shape
    gradient = max_pool2d_gradient(g, saved.input(1), input_shape=shape, **_window(saved))
    return gradient, None


def _average_infer(x: TensorSpec, **attributes: Any) -> TensorSpec:
    if not x.floating:
        raise ShapeError(f"average_pool2d expected float32 or float64, received {x}")
    return spec(_pooled_shape(x.shape, name="average_pool2d", **attributes), x.dtype)


def _average_gradient_infer(
    g: TensorSpec, *, input_shape: tuple[int, ...], **attributes: Any
) -> TensorSpec:
    if _pooled_shape(input_shape, name="average_pool2d", **attributes) != g.shape:
        raise ShapeError(f"average_pool2d_gradient expected the pooled shape, received {g}")
    return spec(input_shape, g.dtype)


# A linear map and its transpose: each is the other's pullback.
average_pool2d = Primitive("average_pool2d", _average_infer)
average_pool2d_gradient = Primitive("average_pool2d_gradient", _average_gradient_infer)


@average_pool2d.pullback
def average_pool2d_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    return (average_pool2d_gradient(g, input_shape=saved.specs[0].shape, **_window(saved)),)


@average_pool2d_gradient.pullback
def average_pool2d_gradient_pullback(u: Any, saved: Saved) -> tuple[Any, ...]:
    return (average_pool2d(u, **_window(saved)),)
