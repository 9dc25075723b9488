"""Define and run: operations record a graph, a session optimises and executes it.

from benchctl_engines import static as tf

a = tf.constant(1)
print(a)                      # Tensor("constant:0", shape=(), dtype=int32)
with tf.Session() as session:
    print(session.run(a))     # 1
"""

from ..primitives.operations import (
    add,
    assign,
    assign_sub,
    bias_add,
    broadcast_to,
    cast,
    conv2d,
    cos,
    divide,
    equal,
    exp,
    greater,
    log,
    matmul,
    max,
    max_pool2d,
    maximum,
    mean,
    multiply,
    negative,
    pad,
    relu,
    reshape,
    sin,
    slice,
    softmax_cross_entropy,
    sqrt,
    subtract,
    sum,
    tanh,
    transpose,
    where,
)
from .gradients import gradients
from .graph import Graph, Value, Variable, constant, default_graph, placeholder, variable
from .session import CompileReport, FeedError, Operation, Session, group
from .switches import PassSwitches

__all__ = [
    "CompileReport",
    "FeedError",
    "Graph",
    "Operation",
    "PassSwitches",
    "Session",
    "Value",
    "Variable",
    "add",
    "assign",
    "assign_sub",
    "bias_add",
    "broadcast_to",
    "cast",
    "constant",
    "conv2d",
    "cos",
    "default_graph",
    "divide",
    "equal",
    "exp",
    "gradients",
    "greater",
    "group",
    "log",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "multiply",
    "negative",
    "pad",
    "placeholder",
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
    "variable",
    "where",
]
