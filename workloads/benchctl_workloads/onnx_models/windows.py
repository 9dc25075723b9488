"""Convolutions and poolings of ONNX models: windows that move over images [N, C, H, W]."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchctl_engines.contract import Array

from .reading import ModelError, Node
from .translation import Env, Run, Shape, Translation

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]
_MOST_SLICES = 256


@dataclass(frozen=True, slots=True)
class Window:
    """How a window moves: `output` is its number of positions along each axis."""

    size: Pair
    stride: Pair
    padding: Padding
    output: Pair


def window_of(node: Node, image: Shape, size: Sequence[int], dilation: Sequence[int]) -> Window:
    """The window of a node over an image; raises `ModelError` where it is not two-dimensional."""
    if len(image) != 4 or len(size) != 2:
        raise ModelError(
            f"{node.label}: expected images [N, C, H, W] and a window of two axes, received "
            f"{list(image)} and {list(size)}"
        )
    stride = tuple(node.attributes.get("strides", (1, 1)))
    reach = tuple((each - 1) * apart + 1 for each, apart in zip(size, dilation, strict=True))
    padding = _padding(node, image[2:], reach, stride)
    output = []
    ends = []
    for axis, (before, after) in enumerate(padding):
        room = image[2 + axis] + before + after - reach[axis]
        count = room // stride[axis] + 1
        if node.attributes.get("ceil_mode", 0):
            count = -(-room // stride[axis]) + 1
            # A window must begin within the image or what was padded before it.
            if (count - 1) * stride[axis] >= image[2 + axis] + before:
                count -= 1
        needed = (count - 1) * stride[axis] + reach[axis] - image[2 + axis] - before
        output.append(count)
        ends.append((before, max(after, needed)))
    if min(before for before, _ in padding) < 0 or min(after for _, after in padding) < 0:
        raise ModelError(f"{node.label}: expected paddings of 0 or more, received {padding}")
    pair = tuple(int(each) for each in size)
    return Window(
        (pair[0], pair[1]),
        (int(stride[0]), int(stride[1])),
        (ends[0], ends[1]),
        (output[0], output[1]),
    )


def _padding(
    node: Node, image: Sequence[int], reach: Sequence[int], stride: Sequence[int]
) -> list[Pair]:
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        return [(0, 0), (0, 0)]
    if automatic == "NOTSET":
        top, left, bottom, right = node.attributes.get("pads", (0, 0, 0, 0))
        return [(int(top), int(bottom)), (int(left), int(right))]
    padding = []
    for size, window, step in zip(image, reach, stride, strict=True):
        total = max((-(-size // step) - 1) * step + window - size, 0)
        less, more = total // 2, total - total // 2
        padding.append((less, more) if automatic == "SAME_UPPER" else (more, less))
    return padding


def convolution(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Conv: filters with gaps or in groups are written out with zeros once."""
    image, filters = made.shape(node.inputs[0]), made.shape(node.inputs[1])
    groups = int(node.attributes.get("group", 1))
    dilation = tuple(node.attributes.get("dilations", (1,) * (len(filters) - 2)))
    window = window_of(node, image, filters[2:], dilation)
    if image[1] != filters[1] * groups:
        raise ModelError(f"{node.label}: {image[1]} channels, {filters[1]} x {groups} in filters")
    x = made.operand(node.inputs[0])
    if groups > 1 or any(each > 1 for each in dilation):
        array = made.constant(node, 1)
        assert array is not None, "a convolution has filters"
        written = _ungrouped(_spread(array, dilation), groups)
        w = made.keep(written, f"{node.inputs[1]} written out")
    else:
        w = made.operand(node.inputs[1])
    has_bias = bool(node.input(2))
    b = made.operand(node.inputs[2]) if has_bias else None
    result = (image[0], filters[0], *window.output)
    made.flops += 2 * int(np.prod(result)) * int(np.prod(filters[1:]))
    padding = window.padding

    def run(env: Env) -> tuple[Any, ...]:
        y = env.ops.conv2d(x(env), w(env), window.stride, padding, "NCHW")
        return (env.ops.bias_add(y, b(env), 1) if b is not None else y,)

    return run, [result]


def _spread(filters: Array, dilation: Sequence[int]) -> Array:
    """Filters with zeros where a dilated window has gaps."""
    if all(each == 1 for each in dilation):
        return filters
    rows, columns = filters.shape[2:]
    down, across = dilation
    shape = (*filters.shape[:2], (rows - 1) * down + 1, (columns - 1) * across + 1)
    spread = np.zeros(shape, filters.dtype)
    spread[:, :, ::down, ::across] = filters
    return spread


def _ungrouped(filters: Array, groups: int) -> Array:
    """Filters of all channels that are zero outside their own group."""
    if groups == 1:
        return filters
    many, own = filters.shape[0] // groups, filters.shape[1]
    whole = np.zeros((filters.shape[0], own * groups, *filters.shape[2:]), filters.dtype)
    for group in range(groups):
        rows = slice(group * many, (group + 1) * many)
        whole[rows, group * own : (group + 1) * own] = filters[rows]
    return whole


def _pooling_window(node: Node, image: Shape) -> Window:
    """The window of a pooling, which has no gaps."""
    if any(each != 1 for each in node.attributes.get("dilations", ())):
        raise ModelError(f"{node.label}: dilated poolings are not supported")
    return window_of(node, image, node.attributes["kernel_shape"], (1, 1))


def max_pool(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """MaxPool without gaps; its indices are not supported."""
    image = made.shape(node.inputs[0])
    window = _pooling_window(node, image)
    x = made.operand(node.inputs[0])

    def run(env: Env) -> tuple[Any, ...]:
        return (env.ops.max_pool2d(x(env), window.size, window.stride, window.padding, "NCHW"),)

    return run, [(*image[:2], *window.output)]


def average_pool(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """AveragePool: the sum of as many slices as a window has elements, over their number."""
    image = made.shape(node.inputs[0])
    window = _pooling_window(node, image)
    x = made.operand(node.inputs[0])
    result = (*image[:2], *window.output)
    if window.size == image[2:] and window.output == (1, 1):

        def run_whole(env: Env) -> tuple[Any, ...]:
            return (env.ops.mean(x(env), (2, 3), True),)

        return run_whole, [result]
    if window.size[0] * window.size[1] > _MOST_SLICES:
        raise ModelError(f"{node.label}: windows of more than {_MOST_SLICES} elements")
    counts = _counts(node, image, window)
    shares = (1.0 / counts).astype(np.float32)[None, None]
    number = 1.0 / float(counts.flat[0])
    is_even = counts.min() == counts.max()
    kept = None if is_even else made.keep(shares, f"{node.outputs[0]} shares")
    (top, bottom), (left, right) = window.padding
    rows, columns = window.output
    down, across = window.stride
    places = list(itertools.product(range(window.size[0]), range(window.size[1])))

    def run(env: Env) -> tuple[Any, ...]:
        padded = x(env)
        if window.padding != ((0, 0), (0, 0)):
            padded = env.ops.pad(padded, ((0, 0), (0, 0), (top, bottom), (left, right)))
        total = None
        for row, column in places:
            stop = (row + (rows - 1) * down + 1, column + (columns - 1) * across + 1)
            part = env.ops.slice(
                padded, (0, 0, row, column), (*image[:2], *stop), (1, 1, down, across)
            )
            total = part if total is None else env.ops.add(total, part)
        return (env.ops.multiply(total, number if kept is None else kept(env)),)

    return run, [result]


def _counts(node: Node, image: Shape, window: Window) -> Array:
    """How many elements each window averages over."""
    axes = []
    for axis in (0, 1):
        (before, after), size = window.padding[axis], image[2 + axis]
        inside = np.zeros(before + size + after)
        first, last = before, before + size
        if node.attributes.get("count_include_pad", 0):
            # What the rounding up of the last window adds is no padding of the user's.
            pads = node.attributes.get("pads", (0, 0, 0, 0))
            first, last = 0, before + size + (int(pads[2 + axis]) if pads else after)
            if node.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
                last = len(inside)
        inside[first:last] = 1
        starts = np.arange(window.output[axis]) * window.stride[axis]
        axes.append([inside[start : start + window.size[axis]].sum() for start in starts])
    return np.outer(axes[0], axes[1])


def global_pool(mean: bool) -> Any:
    """GlobalAveragePool or GlobalMaxPool."""

    def rule(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
        image = made.shape(node.inputs[0])
        axes = tuple(range(2, len(image)))
        x = made.operand(node.inputs[0])

        def run(env: Env) -> tuple[Any, ...]:
            return ((env.ops.mean if mean else env.ops.max)(x(env), axes, True),)

        return run, [(*image[:2], *(1,) * len(axes))]

    return rule
