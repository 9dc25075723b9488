"""The operations of ONNX that a model may use, by name."""

from __future__ import annotations

from typing import Any

from benchctl_engines.layers import activations

from . import arithmetic, layers, shaping, windows
from .translation import Rule


def _named(method: str) -> Rule:
    """One operand, an operation of the vocabulary."""

    def compute(ops: Any, x: Any) -> Any:
        return getattr(ops, method)(x)

    return arithmetic.unary(compute)


RULES: dict[str, Rule] = {
    # Elementwise
    "Abs": arithmetic.unary(arithmetic.absolute),
    "Add": arithmetic.folded("add"),
    "Clip": arithmetic.clip,
    "Div": arithmetic.folded("divide"),
    "Elu": arithmetic.with_alpha(arithmetic.elu, alpha=1.0),
    "Exp": _named("exp"),
    "Greater": arithmetic.compared(swapped=False),
    "HardSigmoid": arithmetic.with_alpha(arithmetic.hard_sigmoid, alpha=0.2, beta=0.5),
    "HardSwish": arithmetic.unary(arithmetic.hard_swish),
    "LeakyRelu": arithmetic.with_alpha(arithmetic.leaky_relu, alpha=0.01),
    "Less": arithmetic.compared(swapped=True),
    "Log": _named("log"),
    "Max": arithmetic.folded("maximum"),
    "Mean": arithmetic.folded("add", mean=True),
    "Min": arithmetic.smallest,
    "Mul": arithmetic.folded("multiply"),
    "Neg": _named("negative"),
    "PRelu": arithmetic.sloped_relu,
    "Pow": arithmetic.power,
    "Reciprocal": arithmetic.unary(arithmetic.reciprocal),
    "Relu": _named("relu"),
    "Selu": arithmetic.with_alpha(
        arithmetic.selu, alpha=1.6732632423543772, gamma=1.0507009873554805
    ),
    "Sigmoid": arithmetic.unary(activations.sigmoid),
    "Softplus": arithmetic.unary(arithmetic.softplus),
    "Softsign": arithmetic.unary(arithmetic.softsign),
    "Sqrt": _named("sqrt"),
    "Sub": arithmetic.folded("subtract"),
    "Sum": arithmetic.folded("add"),
    "Tanh": _named("tanh"),
    "ThresholdedRelu": arithmetic.with_alpha(arithmetic.thresholded_relu, alpha=1.0),
    "Where": arithmetic.chosen,
    # Reductions
    "LogSoftmax": arithmetic.softmax(logarithm=True),
    "ReduceL1": arithmetic.reduced(arithmetic.reduce_l1),
    "ReduceL2": arithmetic.reduced(arithmetic.reduce_l2),
    "ReduceMax": arithmetic.reduced(arithmetic.reduce_max),
    "ReduceMean": arithmetic.reduced(arithmetic.reduce_mean),
    "ReduceMin": arithmetic.reduced(arithmetic.reduce_min),
    "ReduceSum": arithmetic.reduced(arithmetic.reduce_sum),
    "ReduceSumSquare": arithmetic.reduced(arithmetic.reduce_sum_square),
    "Softmax": arithmetic.softmax(logarithm=False),
    # Shapes
    "Concat": shaping.concatenate,
    "Dropout": shaping.identity,
    "Expand": shaping.expand,
    "Flatten": shaping.flatten,
    "Identity": shaping.identity,
    "Pad": shaping.pad,
    "Reshape": shaping.reshape,
    "Resize": shaping.resize,
    "Slice": shaping.sliced,
    "Split": shaping.split,
    "Squeeze": shaping.squeeze,
    "Transpose": shaping.transpose,
    "Unsqueeze": shaping.unsqueeze,
    "Upsample": shaping.resize,
    # Layers
    "AveragePool": windows.average_pool,
    "BatchNormalization": layers.batch_normalization,
    "Conv": windows.convolution,
    "Gemm": layers.gemm,
    "GlobalAveragePool": windows.global_pool(mean=True),
    "GlobalMaxPool": windows.global_pool(mean=False),
    "InstanceNormalization": layers.instance_normalization,
    "LRN": layers.local_response,
    "MatMul": layers.matmul,
    "MaxPool": windows.max_pool,
}
