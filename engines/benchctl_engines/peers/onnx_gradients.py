"""How the primitives of a backward pass and of updates are written in ONNX, as plain operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..vocabulary import transposed_size
from .onnx_images import filter_to_kcrs, from_nchw, image_shape, pads_of, to_nchw
from .onnx_nodes import NodeRule, one_node
from .window_counts import window_counts

if TYPE_CHECKING:
    from .onnx_model import OnnxModel
    from .recorded_program import RecordedCall

_SWAPPED = (1, 0, 2, 3)


def _number(model: OnnxModel, number: float, dtype: str) -> str:
    return model.constant(np.array(number, dtype))


def _relu_gradient(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    g, y = (model.operand(each) for each in call.operands)
    zero = _number(model, 0.0, call.result.dtype)
    model.node("Where", [model.node("Greater", [y, zero]), g, zero], result)


def _input_gradient(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    """The transposed convolution; what a stride leaves over is its output padding."""
    attributes = call.attributes
    gradient, w = call.operands
    g = to_nchw(model, model.operand(gradient), attributes["layout"])
    filters, (rows, columns) = filter_to_kcrs(model, w, attributes)
    from_nchw(
        model,
        "ConvTranspose",
        [g, filters],
        result,
        attributes["layout"],
        kernel_shape=[rows, columns],
        strides=list(attributes["stride"]),
        pads=pads_of(attributes["padding"]),
        output_padding=_left_over(attributes, gradient.shape, (rows, columns)),
    )


def _left_over(
    attributes: Mapping[str, Any], positions: Sequence[int], window: Sequence[int]
) -> list[int]:
    """The rows and columns of an image that no window reaches."""
    layout = attributes["layout"]
    _, _, *sizes = image_shape(attributes["input_shape"], layout)
    _, _, *counts = image_shape(positions, layout)
    reached = map(
        transposed_size, counts, window, attributes["stride"], attributes["padding"], (0, 0)
    )
    return [size - there for size, there in zip(sizes, reached, strict=True)]


def _filter_gradient(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    """A convolution of the images with the gradient as filters; the batch is its channels.

    dw[k, c, r, s] = sum over n, p, q of g[n, k, p, q] x[n, c, p stride + r, q stride + s]: the
    stride of the forward pass becomes the dilation.
    """
    attributes = call.attributes
    image, gradient = call.operands
    layout = attributes["layout"]
    x = model.node("Transpose", [to_nchw(model, model.operand(image), layout)], perm=_SWAPPED)
    g = model.node("Transpose", [to_nchw(model, model.operand(gradient), layout)], perm=_SWAPPED)
    _, _, *positions = image_shape(gradient.shape, layout)
    sums = model.node(
        "Conv",
        [x, g],
        kernel_shape=list(positions),
        dilations=list(attributes["stride"]),
        pads=pads_of(attributes["padding"]),
    )
    stored_last = (attributes.get("filter_layout") or layout) == "NHWC"
    shape = attributes["filter_shape"]
    window = shape[:2] if stored_last else shape[2:]
    # Rows and columns that the stride never reached make more sums than there are weights.
    cut = model.node("Slice", [sums, model.sizes((0, 0)), model.sizes(window), model.sizes((2, 3))])
    perm = (2, 3, 0, 1) if stored_last else _SWAPPED
    model.node("Transpose", [cut], result, perm=perm)


def _pool_gradient(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    """Each gradient goes to the element that its window's maximum came from."""
    attributes = call.attributes
    gradient, winners = call.operands
    layout = attributes["layout"]
    g = to_nchw(model, model.operand(gradient), layout)
    shape = image_shape(attributes["input_shape"], layout)
    flat = model.sizes((-1,))
    zeros = model.constant(np.zeros(int(np.prod(shape)), gradient.dtype))
    added = model.node(
        "ScatterElements",
        [
            zeros,
            model.node("Reshape", [model.operand(winners), flat]),
            model.node("Reshape", [g, flat]),
        ],
        axis=0,
        reduction="add",
    )
    from_nchw(model, "Reshape", [added, model.sizes(shape)], result, layout)


def _average_gradient(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    """Each gradient's share at every place of its window: a transposed convolution by channel."""
    attributes, gradient = call.attributes, call.operands[0]
    layout, window, dtype = attributes["layout"], attributes["window"], gradient.dtype
    _, channels, *sizes = image_shape(attributes["input_shape"], layout)
    counts = window_counts(sizes, window, attributes["stride"], attributes["padding"])
    g = to_nchw(model, model.operand(gradient), layout)
    shares = model.node("Div", [g, model.constant(counts.astype(dtype))])
    ones = model.constant(np.ones((channels, 1, *window), dtype))
    from_nchw(
        model,
        "ConvTranspose",
        [shares, ones],
        result,
        layout,
        group=channels,
        kernel_shape=list(window),
        strides=list(attributes["stride"]),
        pads=pads_of(attributes["padding"]),
        output_padding=_left_over(attributes, gradient.shape, window),
    )


def _loss_gradient(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    """(p - onehot(labels)) g / N."""
    logits, probabilities, labels, gradient = call.operands
    count, classes = logits.shape
    dtype = logits.dtype
    values = model.constant(np.array([0, 1], dtype))
    chosen = model.node("OneHot", [model.operand(labels), model.sizes((classes,)), values], axis=1)
    off = model.node("Sub", [model.operand(probabilities), chosen])
    scale = model.node("Div", [model.operand(gradient), _number(model, count, dtype)])
    model.node("Mul", [off, scale], result)


def _cast(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    kind = model.element_type(call.attributes["dtype"])
    model.node("Cast", [model.operand(call.operands[0])], result, to=kind)


def _assign(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    """The new value, of the variable's shape."""
    value = model.operand(call.operands[1])
    model.node("Expand", [value, model.sizes(call.result.shape)], result)


GRADIENT_RULES: dict[str, NodeRule] = {
    "relu_gradient": _relu_gradient,
    "conv2d_input_gradient": _input_gradient,
    "conv2d_filter_gradient": _filter_gradient,
    "max_pool2d_gradient": _pool_gradient,
    "average_pool2d_gradient": _average_gradient,
    "softmax_cross_entropy_gradient": _loss_gradient,
    "cast": _cast,
    "copy": one_node("Identity"),
    "assign": _assign,
    "assign_sub": one_node("Sub"),
}
"""By primitive; those of second derivatives have none."""
