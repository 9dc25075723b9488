"""Two-dimensional convolution and its two gradients: a family closed under the pullback.

The three are the partial forms of one trilinear map <g, conv(x, w)>, so the pullback of each is
written with the other two.
"""

from __future__ import annotations

from typing import Any

from ..vocabulary import transposed_size
from .primitive import Primitive, Saved
from .specs import (
    Padding2d,
    ShapeError,
    TensorSpec,
    join_nchw,
    same_dtype,
    spec,
    split_filter,
    split_nchw,
    window_output,
)


def conv2d_output_shape(
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: tuple[int, int],
    padding: Padding2d,
    layout: str,
    filter_layout: str | None = None,
) -> tuple[int, int, int, int]:
    """Shape of the convolution's result in `layout`; raises `ShapeError`.

    Filters are stored [K, C, R, S] where their layout, that of the images by default, is NCHW,
    and [R, S, C, K] where it is NHWC.
    """
    N, C, H, W = split_nchw("conv2d", x, layout)
    K, filter_channels, R, S = split_filter("conv2d", w, filter_layout or layout)
    if filter_channels != C:
        order = "[K, C, R, S]" if (filter_layout or layout) == "NCHW" else "[R, S, C, K]"
        raise ShapeError(
            f"conv2d expected filters {order} with {C} input channels for {layout} input {x}, "
            f"received filters {w}"
        )
    P = window_output("conv2d", H, R, stride[0], padding[0])
    Q = window_output("conv2d", W, S, stride[1], padding[1])
    return join_nchw(N, K, P, Q, layout)


def conv2d_transpose_shape(
    x: tuple[int, ...],
    w: tuple[int, ...],
    stride: tuple[int, int],
    padding: Padding2d,
    output_padding: tuple[int, int],
    layout: str,
) -> tuple[int, int, int, int]:
    """Shape of the image that a convolution with these filters would turn into one like x.

    Raises `ShapeError`. Filters are those of that convolution: [K, C, R, S] or [R, S, C, K] for
    x with K channels and a result with C.
    """
    N, channels, P, Q = split_nchw("conv2d_transpose", x, layout)
    K, C, R, S = split_filter("conv2d_transpose", w, layout)
    if channels != K:
        order = "[K, C, R, S]" if layout == "NCHW" else "[R, S, C, K]"
        raise ShapeError(
            f"conv2d_transpose expected filters {order} with K = {channels} for {layout} input "
            f"{x}, received filters {w}"
        )
    for step, more in zip(stride, output_padding, strict=True):
        if step < 1 or not 0 <= more < step:
            raise ShapeError(
                "conv2d_transpose expected a stride of at least 1 and an output padding of at "
                f"least 0 that is smaller, received stride {stride}, output padding "
                f"{output_padding}"
            )
    H, W = (
        transposed_size(*each)
        for each in zip((P, Q), (R, S), stride, padding, output_padding, strict=True)
    )
    if min(H, W) < 1:
        raise ShapeError(
            f"conv2d_transpose expected a padding that leaves an image, received {padding} for "
            f"{P}x{Q} positions and filters of {R}x{S}"
        )
    return join_nchw(N, C, H, W, layout)


def _conv2d_infer(
    x: TensorSpec,
    w: TensorSpec,
    *,
    stride: tuple[int, int],
    padding: Padding2d,
    layout: str,
    filter_layout: str | None = None,
) -> TensorSpec:
    dtype = same_dtype("conv2d", x, w)
    if not x.floating:
        raise ShapeError(f"conv2d expected float32 or float64, received {x}")
    shape = conv2d_output_shape(x.shape, w.shape, stride, padding, layout, filter_layout)
    return spec(shape, dtype)


def _epilogue_infer(
    x: TensorSpec,
    w: TensorSpec,
    b: TensorSpec,
    *,
    relu: bool,
    pool: bool = False,
    **attributes: Any,
) -> TensorSpec:
    """`pool`: only the maxima of 2x2 squares, every second row and column, are kept."""
    result = _conv2d_infer(x, w, **attributes)
    channels = result.shape[1 if attributes["layout"] == "NCHW" else 3]
    if b.shape != (channels,):
        raise ShapeError(f"conv2d_epilogue expected a bias of ({channels},), received {b}")
    if not pool:
        return result
    layout = attributes["layout"]
    N, K, P, Q = split_nchw("conv2d_epilogue", result.shape, layout)
    if min(P, Q) < 2:
        raise ShapeError(
            f"conv2d_epilogue expected at least 2x2 positions to pool, received {P}x{Q}"
        )
    return spec(join_nchw(N, K, P // 2, Q // 2, layout), result.dtype)


def _input_gradient_infer(
    g: TensorSpec, w: TensorSpec, *, input_shape: tuple[int, ...], **attributes: Any
) -> TensorSpec:
    dtype = same_dtype("conv2d_input_gradient", g, w)
    if conv2d_output_shape(input_shape, w.shape, **attributes) != g.shape:
        raise ShapeError(
            f"conv2d_input_gradient expected a gradient of the output's shape, received {g}"
        )
    return spec(input_shape, dtype)


def _filter_gradient_infer(
    x: TensorSpec, g: TensorSpec, *, filter_shape: tuple[int, ...], **attributes: Any
) -> TensorSpec:
    dtype = same_dtype("conv2d_filter_gradient", x, g)
    if conv2d_output_shape(x.shape, filter_shape, **attributes) != g.shape:
        raise ShapeError(
            f"conv2d_filter_gradient expected a gradient of the output's shape, received {g}"
        )
    return spec(filter_shape, dtype)


conv2d = Primitive("conv2d", _conv2d_infer, saves_inputs=(0, 1))
conv2d_input_gradient = Primitive(
    "conv2d_input_gradient", _input_gradient_infer, saves_inputs=(0, 1)
)
conv2d_filter_gradient = Primitive(
    "conv2d_filter_gradient", _filter_gradient_infer, saves_inputs=(0, 1)
)
# Made by the pass fuse_epilogues only, after differentiation: no pullback.
conv2d_epilogue = Primitive("conv2d_epilogue", _epilogue_infer)

_WINDOW = ("stride", "padding", "layout", "filter_layout")


def _window(saved: Saved) -> dict[str, Any]:
    return {name: saved.attributes[name] for name in _WINDOW if name in saved.attributes}


@conv2d.pullback
def conv2d_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    x, w, window = saved.input(0), saved.input(1), _window(saved)
    dx = dw = None
    if saved.needs[0]:
        dx = conv2d_input_gradient(g, w, input_shape=saved.specs[0].shape, **window)
    if saved.needs[1]:
        dw = conv2d_filter_gradient(x, g, filter_shape=saved.specs[1].shape, **window)
    return dx, dw


@conv2d_input_gradient.pullback
def conv2d_input_gradient_pullback(u: Any, saved: Saved) -> tuple[Any, ...]:
    # u has the shape of x: <u, dx(g, w)> = <g, conv(u, w)>.
    g, w, window = saved.input(0), saved.input(1), _window(saved)
    dg = conv2d(u, w, **window) if saved.needs[0] else None
    dw = None
    if saved.needs[1]:
        dw = conv2d_filter_gradient(u, g, filter_shape=saved.specs[1].shape, **window)
    return dg, dw


@conv2d_filter_gradient.pullback
def conv2d_filter_gradient_pullback(u: Any, saved: Saved) -> tuple[Any, ...]:
    # u has the shape of w: <u, dw(x, g)> = <g, conv(x, u)>.
    x, g, window = saved.input(0), saved.input(1), _window(saved)
    dx = None
    if saved.needs[0]:
        dx = conv2d_input_gradient(g, u, input_shape=saved.specs[0].shape, **window)
    dg = conv2d(x, u, **window) if saved.needs[1] else None
    return dx, dg
