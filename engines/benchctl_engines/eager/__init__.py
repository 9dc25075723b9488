"""Define by run: operations execute when they are called.

from benchctl_engines import eager as torch

x = torch.tensor(x0, requires_grad=True)
c = torch.sum(x * y * z)
c.backward()
print(x.grad)
"""

from ..primitives.operations import (
    assign,
    assign_sub,
    average_pool2d,
    bias_add,
    broadcast_to,
    cast,
    concatenate,
    conv2d,
    conv2d_transpose,
    cos,
    equal,
    exp,
    greater,
    log,
    matmul,
    max,
    max_pool2d,
    maximum,
    mean,
    negative,
    pad,
    relu,
    reshape,
    sin,
    slice,
    softmax_cross_entropy,
    sqrt,
    tanh,
    transpose,
    where,
)
from .nan_watch import check_nan
from .tape import gradients, no_grad
from .tensor import Tensor, add, divide, multiply, subtract, sum, tensor

__all__ = [
    "Tensor",
    "add",
    "assign",
    "assign_sub",
    "average_pool2d",
    "bias_add",
    "broadcast_to",
    "cast",
    "check_nan",
    "concatenate",
    "conv2d",
    "conv2d_transpose",
    "cos",
    "divide",
    "equal",
    "exp",
    "gradients",
    "greater",
    "log",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "multiply",
    "negative",
    "no_grad",
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
    "tensor",
    "transpose",
    "where",
]
