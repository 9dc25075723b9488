"""The vocabulary of the in-house engines: attributes are normalised here, operands decide the rest.

`multiply`, `relu` and the like are the primitives themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..vocabulary import NO_PADDING, Padding, Pair
from .contractions import matmul as matmul_primitive
from .convolution import conv2d as conv2d_primitive
from .convolution import conv2d_input_gradient, conv2d_transpose_shape
from .elementwise import (
    add,
    cast,
    cos,
    divide,
    equal,
    exp,
    greater,
    log,
    maximum,
    multiply,
    negative,
    relu,
    sin,
    sqrt,
    subtract,
    tanh,
    where,
)
from .elementwise import bias_add as bias_add_primitive
from .losses import softmax_cross_entropy as softmax_cross_entropy_primitive
from .pooling import average_pool2d as average_pool2d_primitive
from .pooling import max_pool2d as max_pool2d_primitive
from .reductions import max_primitive, sum_primitive
from .shaping import broadcast_to as broadcast_to_primitive
from .shaping import concatenate as concatenate_primitive
from .shaping import pad_primitive, slice_primitive
from .shaping import reshape as reshape_primitive
from .shaping import transpose as transpose_primitive
from .specs import ShapeError, normalise_axes
from .state import assign, assign_sub

__all__ = [
    "add",
    "assign",
    "assign_sub",
    "average_pool2d",
    "bias_add",
    "broadcast_to",
    "cast",
    "concatenate",
    "conv2d",
    "conv2d_transpose",
    "cos",
    "divide",
    "equal",
    "exp",
    "greater",
    "log",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "multiply",
    "negative",
    "pad",
    "relu",
    "reshape",
    "sin",
    "slice",
    "softmax_cross_entropy",
    "sqrt",
    "subtract",
    "sum",
    "tanh",
    "transpose",
    "where",
]


_ALL_AXES = tuple(tuple(range(rank)) for rank in range(33))
"""All axes of a tensor, by rank (NumPy allows 32)."""


def _axis(name: str, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ShapeError(f"{name} expected an axis of a rank-{rank} tensor, received {axis}")
    return axis % rank


def _pair(sizes: Sequence[int]) -> Pair:
    first, second = sizes
    return int(first), int(second)


def _pairs(padding: Sequence[Sequence[int]]) -> Padding:
    first, second = padding
    return _pair(first), _pair(second)


def sum(x: Any, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """Sum over `axes`, all of them for None."""
    if axes is None and not keepdims:
        return sum_primitive(x, axes=_ALL_AXES[x.spec.rank], keepdims=False)
    return sum_primitive(x, axes=normalise_axes("sum", axes, x.spec.rank), keepdims=keepdims)


def mean(x: Any, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """Mean over `axes`, all of them for None; raises `ShapeError` where there is no element."""
    reduced = normalise_axes("mean", axes, x.spec.rank)
    count = math.prod(x.spec.shape[axis] for axis in reduced)
    if count == 0:
        raise ShapeError(f"mean expected at least one element along axes {reduced}, received {x}")
    return multiply(sum_primitive(x, axes=reduced, keepdims=keepdims), 1.0 / count)


def max(x: Any, axes: tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """Maximum over `axes`; ties share the gradient equally."""
    return max_primitive(x, axes=normalise_axes("max", axes, x.spec.rank), keepdims=keepdims)


def reshape(x: Any, shape: tuple[int, ...]) -> Any:
    """The same elements in row-major order; one size may be -1."""
    shape = tuple(int(size) for size in shape)
    if shape.count(-1) == 1:
        known = math.prod(size for size in shape if size != -1)
        if known == 0 or x.spec.size % known:
            raise ShapeError(f"reshape expected sizes that divide {x.spec.size}, received {shape}")
        shape = tuple(x.spec.size // known if size == -1 else size for size in shape)
    return reshape_primitive(x, shape=shape)


def transpose(x: Any, axes: tuple[int, ...] | None = None) -> Any:
    """Axes in another order, reversed for None."""
    rank = x.spec.rank
    if axes is None:
        order = tuple(reversed(range(rank)))
    else:
        order = tuple(_axis("transpose", axis, rank) for axis in axes)
    return transpose_primitive(x, axes=order)


def broadcast_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Repeat along axes of size 1 and new leading axes."""
    return broadcast_to_primitive(x, shape=tuple(shape))


def slice(
    x: Any,
    starts: tuple[int, ...],
    stops: tuple[int, ...],
    steps: tuple[int, ...] | None = None,
) -> Any:
    """x[start:stop:step] on every axis."""
    steps = (1,) * len(starts) if steps is None else tuple(steps)
    return slice_primitive(x, starts=tuple(starts), stops=tuple(stops), steps=steps)


def pad(x: Any, widths: tuple[Pair, ...]) -> Any:
    """Zeros before and after every axis: ((before, after), ...)."""
    low = tuple(before for before, _ in widths)
    high = tuple(after for _, after in widths)
    return pad_primitive(x, low=low, high=high, interior=(0,) * len(low))


def concatenate(parts: Sequence[Any], axis: int = 0) -> Any:
    """Tensors side by side along `axis`; raises `ShapeError`."""
    if not parts:
        raise ShapeError("concatenate expected at least one tensor, received none")
    return concatenate_primitive(*parts, axis=_axis("concatenate", axis, parts[0].spec.rank))


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """Matrix product of rank-2 tensors: [N, K] x [K, M] -> [N, M]."""
    return matmul_primitive(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def conv2d(
    x: Any,
    w: Any,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    layout: str = "NCHW",
) -> Any:
    """Cross-correlation of x with the filters w; see the vocabulary for layouts."""
    return conv2d_primitive(x, w, stride=_pair(stride), padding=_pairs(padding), layout=layout)


def conv2d_transpose(
    x: Any,
    w: Any,
    stride: Pair = (1, 1),
    padding: Padding = NO_PADDING,
    output_padding: Pair = (0, 0),
    layout: str = "NCHW",
) -> Any:
    """Transposed convolution of x with the filters w; see the vocabulary for shapes."""
    stride, padding = _pair(stride), _pairs(padding)
    more = _pair(output_padding)
    shape = conv2d_transpose_shape(x.spec.shape, w.spec.shape, stride, padding, more, layout)
    return conv2d_input_gradient(
        x, w, input_shape=shape, stride=stride, padding=padding, layout=layout
    )


def bias_add(x: Any, b: Any, axis: int = -1) -> Any:
    """x + b with the vector b along `axis`."""
    return bias_add_primitive(x, b, axis=_axis("bias_add", axis, x.spec.rank))


def max_pool2d(
    x: Any,
    window: Pair = (2, 2),
    stride: Pair | None = None,
    padding: Padding = NO_PADDING,
    layout: str = "NCHW",
) -> Any:
    """Maximum over windows; `stride` is the window where None."""
    return max_pool2d_primitive(
        x,
        window=_pair(window),
        stride=_pair(stride or window),
        padding=_pairs(padding),
        layout=layout,
    )[0]


def average_pool2d(
    x: Any,
    window: Pair = (2, 2),
    stride: Pair | None = None,
    padding: Padding = NO_PADDING,
    layout: str = "NCHW",
) -> Any:
    """Mean over windows, padding not counted; `stride` is the window where None."""
    return average_pool2d_primitive(
        x,
        window=_pair(window),
        stride=_pair(stride or window),
        padding=_pairs(padding),
        layout=layout,
    )


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean over the batch of -log softmax(logits)[label]."""
    return softmax_cross_entropy_primitive(logits, labels)[0]
