"""How each primitive is written in ONNX: a rule adds the nodes of one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from .inference_runtimes import UnsupportedProgramError
from .onnx_images import filter_to_kcrs, from_nchw, pads_of, to_nchw

if TYPE_CHECKING:
    from .onnx_model import OnnxModel
    from .recorded_program import RecordedCall


class NodeRule(Protocol):
    """Adds the nodes of `call`, the last of which makes `result`; `bias` is a name or empty."""

    def __call__(self, model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None: ...


def one_node(operation: str, on_masks: str = "") -> NodeRule:
    """A primitive that is one node, `on_masks` for bool operands where ONNX has no numbers."""

    def rule(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
        masks = on_masks and call.operands[0].dtype == "bool"
        operands = [model.operand(each) for each in call.operands]
        model.node(on_masks if masks else operation, operands, result)

    return rule


def _greater(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    a, b = (model.operand(each) for each in call.operands)
    if call.operands[0].dtype == "bool":  # True > False only
        model.node("And", [a, model.node("Not", [b])], result)
    else:
        model.node("Greater", [a, b], result)


def _reduced(operation: str) -> NodeRule:
    def rule(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
        axes, keepdims = call.attributes["axes"], call.attributes["keepdims"]
        x = model.operand(call.operands[0])
        if not axes:  # a scalar, or a sum over no axis
            model.node("Identity", [x], result)
            return
        model.node(operation, [x, model.sizes(axes)], result, keepdims=int(keepdims))

    return rule


def _bias_add(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    x, b = (model.operand(each) for each in call.operands)
    behind = call.result.spec.rank - 1 - call.attributes["axis"]
    if behind:
        b = model.node("Reshape", [b, model.sizes((-1, *[1] * behind))])
    model.node("Add", [x, b], result)


def _reshape(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    shape = model.sizes(call.attributes["shape"])
    # A size of 0 means 0 elements, not "as before".
    model.node("Reshape", [model.operand(call.operands[0]), shape], result, allowzero=1)


def _transpose(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    x = model.operand(call.operands[0])
    model.node("Transpose", [x], result, perm=list(call.attributes["axes"]))


def _broadcast_to(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    shape = model.sizes(call.attributes["shape"])
    model.node("Expand", [model.operand(call.operands[0]), shape], result)


def _slice(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    starts, stops, steps = (call.attributes[name] for name in ("starts", "stops", "steps"))
    parts = (starts, stops, range(len(starts)), steps)
    operands = [model.sizes(tuple(each)) for each in parts]
    model.node("Slice", [model.operand(call.operands[0]), *operands], result)


def _pad(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    shape: Sequence[int] = call.operands[0].shape
    low, high, interior = (call.attributes[name] for name in ("low", "high", "interior"))
    name = model.operand(call.operands[0])
    for axis, inner in enumerate(interior):
        if inner:
            shape, name = _spread(model, name, shape, axis, inner)
    model.node("Pad", [name, model.sizes((*low, *high))], result)


def _spread(
    model: OnnxModel, name: str, shape: Sequence[int], axis: int, inner: int
) -> tuple[list[int], str]:
    """Zeros between the elements along an axis: behind each as many, those of the last cut off."""
    before, size, after = shape[:axis], shape[axis], shape[axis + 1 :]
    column = model.node("Reshape", [name, model.sizes((*before, size, 1, *after))])
    widths = [0] * (2 * (len(shape) + 1))
    widths[len(shape) + 1 + axis + 1] = inner
    filled = model.node("Pad", [column, model.sizes(widths)])
    flat = model.node("Reshape", [filled, model.sizes((*before, size * (inner + 1), *after))])
    stop = size + (size - 1) * inner
    bounds = [model.sizes((each,)) for each in (0, stop, axis)]
    return [*before, stop, *after], model.node("Slice", [flat, *bounds])


def _matmul(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    operands = [model.operand(each) for each in call.operands]
    a, b = int(call.attributes["transpose_a"]), int(call.attributes["transpose_b"])
    if bias or a or b:
        model.node("Gemm", [*operands, bias] if bias else operands, result, transA=a, transB=b)
    else:
        model.node("MatMul", operands, result)


def _require_layout(model: OnnxModel, call: RecordedCall) -> None:
    """Transposes around every node are no fair form of a workload, but a right one."""
    if call.attributes["layout"] != "NCHW" and not model.any_layout:
        raise UnsupportedProgramError(
            f"{call.primitive} in ONNX takes images in layout NCHW only", "choose -a layout=NCHW"
        )


def _conv2d(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    _require_layout(model, call)
    layout = call.attributes["layout"]
    x = to_nchw(model, model.operand(call.operands[0]), layout)
    w, window = filter_to_kcrs(model, call.operands[1], call.attributes)
    from_nchw(
        model,
        "Conv",
        [x, w, bias] if bias else [x, w],
        result,
        layout,
        kernel_shape=list(window),
        strides=list(call.attributes["stride"]),
        pads=pads_of(call.attributes["padding"]),
    )


def _max_pool2d(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    """The place of each maximum, where it is wanted, is its number among all elements."""
    _require_layout(model, call)
    layout = call.attributes["layout"]
    from_nchw(
        model,
        "MaxPool",
        [to_nchw(model, model.operand(call.operands[0]), layout)],
        result,
        layout,
        more=[each.name for each in call.more],
        kernel_shape=list(call.attributes["window"]),
        strides=list(call.attributes["stride"]),
        pads=pads_of(call.attributes["padding"]),
    )


def _average_pool2d(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    _require_layout(model, call)
    layout = call.attributes["layout"]
    from_nchw(
        model,
        "AveragePool",
        [to_nchw(model, model.operand(call.operands[0]), layout)],
        result,
        layout,
        kernel_shape=list(call.attributes["window"]),
        strides=list(call.attributes["stride"]),
        pads=pads_of(call.attributes["padding"]),
        count_include_pad=0,
    )


def _concatenate(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    parts = [model.operand(each) for each in call.operands]
    model.node("Concat", parts, result, axis=call.attributes["axis"])


def _softmax_cross_entropy(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    logits, labels = (model.operand(each) for each in call.operands)
    logarithms = model.node("LogSoftmax", [logits], axis=1)
    column = model.node("Reshape", [labels, model.sizes((-1, 1))])
    for probabilities in call.more:
        model.node("Softmax", [logits], probabilities.name, axis=1)
    chosen = model.node("GatherElements", [logarithms, column], axis=1)
    mean = model.node("ReduceMean", [chosen], keepdims=0)
    model.node("Neg", [mean], result)


NODE_RULES: dict[str, NodeRule] = {
    "add": one_node("Add", "Or"),
    "subtract": one_node("Sub"),
    "multiply": one_node("Mul", "And"),
    "divide": one_node("Div"),
    "maximum": one_node("Max", "Or"),
    "greater": _greater,
    "equal": one_node("Equal"),
    "where": one_node("Where"),
    "negative": one_node("Neg"),
    "exp": one_node("Exp"),
    "log": one_node("Log"),
    "sqrt": one_node("Sqrt"),
    "tanh": one_node("Tanh"),
    "sin": one_node("Sin"),
    "cos": one_node("Cos"),
    "relu": one_node("Relu"),
    "sum": _reduced("ReduceSum"),
    "max": _reduced("ReduceMax"),
    "bias_add": _bias_add,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast_to,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "matmul": _matmul,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "average_pool2d": _average_pool2d,
    "softmax_cross_entropy": _softmax_cross_entropy,
}
"""By primitive of a forward pass; random numbers have none."""
