"""How each primitive is written in ONNX: a rule adds the nodes of one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .inference_runtimes import UnsupportedProgramError

if TYPE_CHECKING:
    from .onnx_model import OnnxModel
    from .recorded_program import RecordedCall


class NodeRule(Protocol):
    """Adds the nodes of `call`, the last of which makes `result`; `bias` is a name or empty."""

    def __call__(self, model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None: ...


def _same(operation: str, on_masks: str = "") -> NodeRule:
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


def _sizes(model: OnnxModel, sizes: Sequence[int]) -> str:
    return model.constant(np.array(sizes, np.int64))


def _reduced(operation: str) -> NodeRule:
    def rule(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
        axes, keepdims = call.attributes["axes"], call.attributes["keepdims"]
        x = model.operand(call.operands[0])
        if not axes:  # a scalar, or a sum over no axis
            model.node("Identity", [x], result)
            return
        model.node(operation, [x, _sizes(model, axes)], result, keepdims=int(keepdims))

    return rule


def _bias_add(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    x, b = (model.operand(each) for each in call.operands)
    behind = call.result.spec.rank - 1 - call.attributes["axis"]
    if behind:
        b = model.node("Reshape", [b, _sizes(model, (-1, *[1] * behind))])
    model.node("Add", [x, b], result)


def _reshape(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    shape = _sizes(model, call.attributes["shape"])
    # A size of 0 means 0 elements, not "as before".
    model.node("Reshape", [model.operand(call.operands[0]), shape], result, allowzero=1)


def _transpose(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    x = model.operand(call.operands[0])
    model.node("Transpose", [x], result, perm=list(call.attributes["axes"]))


def _broadcast_to(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    shape = _sizes(model, call.attributes["shape"])
    model.node("Expand", [model.operand(call.operands[0]), shape], result)


def _slice(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    starts, stops, steps = (call.attributes[name] for name in ("starts", "stops", "steps"))
    parts = (starts, stops, range(len(starts)), steps)
    operands = [_sizes(model, tuple(each)) for each in parts]
    model.node("Slice", [model.operand(call.operands[0]), *operands], result)


def _pad(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    widths = _sizes(model, (*call.attributes["low"], *call.attributes["high"]))
    model.node("Pad", [model.operand(call.operands[0]), widths], result)


def _matmul(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    operands = [model.operand(each) for each in call.operands]
    flags = {
        "transA": int(call.attributes["transpose_a"]),
        "transB": int(call.attributes["transpose_b"]),
    }
    if bias or any(flags.values()):
        model.node("Gemm", [*operands, bias] if bias else operands, result, **flags)
    else:
        model.node("MatMul", operands, result)


def _pads(padding: Sequence[Sequence[int]]) -> list[int]:
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]


def _require_nchw(call: RecordedCall) -> None:
    if call.attributes["layout"] != "NCHW":
        raise UnsupportedProgramError(
            f"{call.primitive} in ONNX takes images in layout NCHW only", "choose -a layout=NCHW"
        )


def _conv2d(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    _require_nchw(call)
    operands = [model.operand(each) for each in call.operands]
    model.node(
        "Conv",
        [*operands, bias] if bias else operands,
        result,
        kernel_shape=list(call.operands[1].shape[2:]),
        strides=list(call.attributes["stride"]),
        pads=_pads(call.attributes["padding"]),
    )


def _max_pool2d(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    _require_nchw(call)
    model.node(
        "MaxPool",
        [model.operand(call.operands[0])],
        result,
        kernel_shape=list(call.attributes["window"]),
        strides=list(call.attributes["stride"]),
        pads=_pads(call.attributes["padding"]),
    )


def _softmax_cross_entropy(model: OnnxModel, call: RecordedCall, result: str, bias: str) -> None:
    logits, labels = (model.operand(each) for each in call.operands)
    logarithms = model.node("LogSoftmax", [logits], axis=1)
    column = model.node("Reshape", [labels, _sizes(model, (-1, 1))])
    chosen = model.node("GatherElements", [logarithms, column], axis=1)
    mean = model.node("ReduceMean", [chosen], keepdims=0)
    model.node("Neg", [mean], result)


NODE_RULES: dict[str, NodeRule] = {
    "add": _same("Add", "Or"),
    "subtract": _same("Sub"),
    "multiply": _same("Mul", "And"),
    "divide": _same("Div"),
    "maximum": _same("Max", "Or"),
    "greater": _greater,
    "equal": _same("Equal"),
    "where": _same("Where"),
    "negative": _same("Neg"),
    "exp": _same("Exp"),
    "log": _same("Log"),
    "sqrt": _same("Sqrt"),
    "tanh": _same("Tanh"),
    "sin": _same("Sin"),
    "cos": _same("Cos"),
    "relu": _same("Relu"),
    "sum": _reduced("ReduceSum"),
    "max": _reduced("ReduceMax"),
    "bias_add": _bias_add,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast_to,
    "slice": _slice,
    "pad": _pad,
    "matmul": _matmul,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "softmax_cross_entropy": _softmax_cross_entropy,
}
"""By primitive; random numbers have none."""
