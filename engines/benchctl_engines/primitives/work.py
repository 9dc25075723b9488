"""How much work a call of a primitive is: arithmetic by its definition, and bytes it must move."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .convolution import conv2d_output_shape
from .specs import TensorSpec, split_nchw

Specs = Sequence[TensorSpec]
Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Work:
    """`flops` counts a multiplication and an addition each; `bytes_moved` every array once."""

    flops: int
    bytes_moved: int


def work_of(primitive: str, inputs: Specs, outputs: Specs, attributes: Attributes) -> Work:
    """The work of one call.

    A convolution is the sum as it is written, its gradients too. What has no rule of its own is
    one operation for each element of the largest array.
    """
    count = _RULES.get(primitive, _elementwise)
    moved = sum(each.nbytes for each in (*inputs, *outputs))
    return Work(count(inputs, outputs, attributes), moved)


def _size(each: TensorSpec) -> int:
    return math.prod(each.shape)


def _elementwise(inputs: Specs, outputs: Specs, attributes: Attributes) -> int:
    return max((_size(each) for each in (*inputs, *outputs)), default=0)


def _positions(image: Sequence[int], layout: str) -> int:
    N, _, P, Q = split_nchw("conv2d", tuple(image), layout)
    return N * P * Q


def _forward(inputs: Specs, outputs: Specs, attributes: Attributes) -> int:
    x, w = inputs[:2]
    layout = attributes["layout"]
    window = attributes["stride"], attributes["padding"], layout, attributes.get("filter_layout")
    made = conv2d_output_shape(x.shape, w.shape, *window)
    return 2 * _size(w) * _positions(made, layout)


def _input_gradient(inputs: Specs, outputs: Specs, attributes: Attributes) -> int:
    g, w = inputs
    return 2 * _size(w) * _positions(g.shape, attributes["layout"])


def _filter_gradient(inputs: Specs, outputs: Specs, attributes: Attributes) -> int:
    g = inputs[1]
    return 2 * _size(outputs[0]) * _positions(g.shape, attributes["layout"])


def _product(a: TensorSpec, outputs: Specs, attributes: Attributes) -> int:
    depth = a.shape[0 if attributes.get("transpose_a", False) else 1]
    return 2 * _size(outputs[0]) * depth


def _matmul(inputs: Specs, outputs: Specs, attributes: Attributes) -> int:
    return _product(inputs[0], outputs, attributes)


def _matmul_update(inputs: Specs, outputs: Specs, attributes: Attributes) -> int:
    return _product(inputs[1], outputs, attributes)


def _pooling(inputs: Specs, outputs: Specs, attributes: Attributes) -> int:
    return _size(outputs[0]) * math.prod(attributes["window"])


def _fused(inputs: Specs, outputs: Specs, attributes: Attributes) -> int:
    loop = attributes["loop"]
    return int(loop.size) * max(len(loop.instructions), 1)


_RULES: dict[str, Callable[[Specs, Specs, Attributes], int]] = {
    "conv2d": _forward,
    "conv2d_epilogue": _forward,
    "conv2d_input_gradient": _input_gradient,
    "conv2d_filter_gradient": _filter_gradient,
    "matmul": _matmul,
    "matmul_epilogue": _matmul,
    "matmul_update": _matmul_update,
    "max_pool2d": _pooling,
    "average_pool2d": _pooling,
    "fused_loop": _fused,
}
