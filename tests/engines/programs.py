"""Random programs: a Hypothesis strategy of DAGs of primitives, written once for every engine.

A program is data. `evaluate` runs it on any object that offers the vocabulary: the operations of
the in-house engines, or `NumpyOperations`, which computes in float64 without any engine.

Magnitudes stay small (a step that could exceed 16 is squashed by tanh), so that tolerances mean
something. Operations with a kink (relu, maximum, where, max) are applied only to values that every
pass must reproduce bit for bit; elsewhere one rounding could flip the branch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

LIMIT = 16.0
SHAPES = ((), (3,), (1,), (2, 3), (3, 2), (1, 3), (2, 1), (3, 3), (2, 2, 3), (2, 1, 3))


@dataclass(frozen=True)
class Step:
    """One operation on earlier values, by their numbers; inputs come first."""

    operation: str
    arguments: tuple[int, ...]
    options: tuple[Any, ...] = ()


@dataclass(frozen=True)
class RandomProgram:
    """A DAG of 3 to 20 steps. `watched` are two intermediate or final values to fetch."""

    shapes: tuple[tuple[int, ...], ...]
    steps: tuple[Step, ...]
    watched: tuple[int, int]
    seed: int

    def inputs(self, run: int = 0, dtype: str = "float32") -> list[np.ndarray]:
        """Inputs in [-1, 1], others for every run."""
        rng = np.random.default_rng((self.seed, run))
        return [rng.uniform(-1, 1, shape).astype(dtype) for shape in self.shapes]


# ----- what a step computes ---------------------------------------------------------------------


def _choose(ops, a, b):
    return ops.where(ops.greater(a, b), a, b * 0.5)


RULES = {
    "add": lambda ops, a, b: ops.add(a, b),
    "subtract": lambda ops, a, b: ops.subtract(a, b),
    "multiply": lambda ops, a, b: ops.multiply(a, b),
    "divide": lambda ops, a, b: ops.divide(a, b * b + 1.0),
    "maximum": lambda ops, a, b: ops.maximum(a, b),
    "choose": _choose,
    "tanh": lambda ops, x: ops.tanh(x),
    "exp": lambda ops, x: ops.exp(ops.tanh(x)),
    "log": lambda ops, x: ops.log(x * x + 1.0),
    "sqrt": lambda ops, x: ops.sqrt(x * x + 1.0),
    "relu": lambda ops, x: ops.relu(x),
    "negative": lambda ops, x: ops.negative(x),
    "scale": lambda ops, x: ops.multiply(ops.multiply(x, 2.0), 0.25),
    "times_one": lambda ops, x: 1.0 * x,
    "minus_zero": lambda ops, x: x - 0.0,
    "double_negative": lambda ops, x: ops.negative(ops.negative(x)),
    "double_relu": lambda ops, x: ops.relu(ops.relu(x)),
    "sum": lambda ops, x, axes, keepdims: ops.sum(x, axes, keepdims),
    "mean": lambda ops, x, axes, keepdims: ops.mean(x, axes, keepdims),
    "max": lambda ops, x, axes, keepdims: ops.max(x, axes, keepdims),
    "reshape": lambda ops, x, shape: ops.reshape(x, shape),
    "reshape_twice": lambda ops, x, shape: ops.reshape(ops.reshape(x, (-1,)), shape),
    "transpose": lambda ops, x, axes: ops.transpose(x, axes),
    "transpose_twice": lambda ops, x, axes: ops.transpose(ops.transpose(x, axes), axes),
    "broadcast_to": lambda ops, x, shape: ops.broadcast_to(x, shape),
    "slice": lambda ops, x, starts, stops, steps: ops.slice(x, starts, stops, steps),
    "pad": lambda ops, x, widths: ops.pad(x, widths),
    "matmul": lambda ops, a, b, ta, tb: ops.matmul(a, b, ta, tb),
    "dense": lambda ops, a, b, bias: ops.bias_add(ops.matmul(a, b), bias, 1),
    "dense_relu": lambda ops, a, b, bias: ops.tanh(ops.bias_add(ops.matmul(a, b), bias, -1)),
    "bias_add": lambda ops, x, b, axis: ops.bias_add(x, b, axis),
}


def evaluate(program: RandomProgram, ops: Any, inputs: list[Any]) -> list[Any]:
    """All values of the program: its inputs, then one for each step."""
    values = list(inputs)
    for step in program.steps:
        operands = [values[number] for number in step.arguments]
        values.append(RULES[step.operation](ops, *operands, *step.options))
    return values


def objective(program: RandomProgram, ops: Any, values: list[Any]) -> Any:
    """A scalar that depends on the watched values and the last one."""
    total = ops.sum(values[-1])
    for number in program.watched:
        total = total + ops.sum(values[number])
    return total


class NumpyOperations:
    """The vocabulary of random programs in NumPy, float64: the oracle, no engine in it."""

    add, subtract, multiply, divide = np.add, np.subtract, np.multiply, np.divide
    maximum, greater, where = np.maximum, np.greater, np.where
    negative, exp, log, sqrt, tanh = np.negative, np.exp, np.log, np.sqrt, np.tanh

    @staticmethod
    def relu(x):
        return np.where(x > 0, x, 0.0)

    @staticmethod
    def sum(x, axes=None, keepdims=False):
        return np.sum(x, axis=axes, keepdims=keepdims)

    @staticmethod
    def mean(x, axes=None, keepdims=False):
        return np.mean(x, axis=axes, keepdims=keepdims)

    @staticmethod
    def max(x, axes=None, keepdims=False):
        return np.max(x, axis=axes, keepdims=keepdims)

    reshape, transpose, broadcast_to = np.reshape, np.transpose, np.broadcast_to

    @staticmethod
    def slice(x, starts, stops, steps):
        return x[tuple(np.s_[a:b:c] for a, b, c in zip(starts, stops, steps, strict=True))]

    @staticmethod
    def pad(x, widths):
        return np.pad(x, widths) if widths else x

    @staticmethod
    def matmul(a, b, transpose_a=False, transpose_b=False):
        return (a.T if transpose_a else a) @ (b.T if transpose_b else b)

    @staticmethod
    def bias_add(x, b, axis):
        shape = [1] * x.ndim
        shape[axis] = -1
        return x + b.reshape(shape)


# ----- the strategy -----------------------------------------------------------------------------


@dataclass
class _Value:
    shape: tuple[int, ...]
    bound: float = 1.0
    exact: bool = True


_SMOOTH_UNARY = {
    "tanh": lambda bound: 1.0,
    "exp": lambda bound: math.e,
    "log": lambda bound: math.log(bound * bound + 1),
    "sqrt": lambda bound: bound + 1,
    "negative": lambda bound: bound,
    "scale": lambda bound: bound / 2,
    "times_one": lambda bound: bound,
    "minus_zero": lambda bound: bound,
    "double_negative": lambda bound: bound,
}
_INEXACT_UNARY = {"tanh", "exp", "log", "sqrt"}
_BINARY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a + b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a,
    "maximum": max,
    "choose": max,
}
_KINKED = {"maximum", "choose", "relu", "double_relu", "max"}


def _axes(draw, rank: int) -> tuple[int, ...] | None:
    chosen = tuple(axis for axis in range(rank) if draw(st.booleans()))
    return chosen if chosen else None


def _draw_elementwise(draw, values):
    name = draw(st.sampled_from([*_SMOOTH_UNARY, "relu", "double_relu"]))
    candidates = [i for i, v in enumerate(values) if v.exact or name not in _KINKED]
    i = draw(st.sampled_from(candidates))
    bound = _SMOOTH_UNARY.get(name, lambda bound: bound)(values[i].bound)
    exact = values[i].exact and name not in _INEXACT_UNARY
    return Step(name, (i,)), _Value(values[i].shape, bound, exact)


def _draw_binary(draw, values):
    name = draw(st.sampled_from(list(_BINARY)))
    candidates = [i for i, v in enumerate(values) if v.exact or name not in _KINKED]
    i = draw(st.sampled_from(candidates))
    partners = [j for j in candidates if _broadcast(values[i].shape, values[j].shape) is not None]
    j = draw(st.sampled_from(partners))
    a, b = values[i], values[j]
    exact = a.exact and b.exact and name != "divide"
    made = _Value(_broadcast(a.shape, b.shape), _BINARY[name](a.bound, b.bound), exact)
    return Step(name, (i, j)), made


def _broadcast(a, b):
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def _draw_reduction(draw, values):
    name = draw(st.sampled_from(["sum", "mean", "max"]))
    i = draw(st.sampled_from([i for i, v in enumerate(values) if v.exact or name != "max"]))
    shape = values[i].shape
    axes, keepdims = _axes(draw, len(shape)), draw(st.booleans())
    reduced = range(len(shape)) if axes is None else axes
    count = math.prod(shape[axis] for axis in reduced) if name == "sum" else 1
    made = np.sum(np.empty(shape), axis=axes, keepdims=keepdims).shape
    exact = values[i].exact and name == "max"
    return Step(name, (i,), (axes, keepdims)), _Value(made, values[i].bound * count, exact)


_SHAPING = (
    "reshape",
    "reshape_twice",
    "transpose",
    "transpose_twice",
    "broadcast_to",
    "slice",
    "pad",
)


def _draw_shaping(draw, values):
    i = draw(st.integers(0, len(values) - 1))
    source = values[i]
    rank = len(source.shape)
    name = draw(st.sampled_from(_SHAPING))
    if name.startswith("reshape"):
        same = [shape for shape in SHAPES if math.prod(shape) == math.prod(source.shape)]
        shape = draw(st.sampled_from([source.shape, *same]))
        options = (shape,)
    elif name.startswith("transpose"):
        order = tuple(draw(st.permutations(range(rank))))
        shape = tuple(source.shape[axis] for axis in order)
        if name == "transpose_twice":
            shape = tuple(shape[axis] for axis in order)
        options = (order,)
    elif name == "broadcast_to":
        wider = [each for each in SHAPES if _broadcast(source.shape, each) == each]
        shape = draw(st.sampled_from([source.shape, *wider]))
        options = (shape,)
    elif name == "slice":
        starts = tuple(draw(st.integers(0, size - 1)) for size in source.shape)
        stops = tuple(
            draw(st.integers(start + 1, size))
            for start, size in zip(starts, source.shape, strict=True)
        )
        steps = tuple(draw(st.integers(1, 2)) for _ in source.shape)
        shape = tuple(len(range(*each)) for each in zip(starts, stops, steps, strict=True))
        options = (starts, stops, steps)
    else:
        widths = tuple((draw(st.integers(0, 1)), draw(st.integers(0, 1))) for _ in source.shape)
        shape = tuple(size + sum(pair) for size, pair in zip(source.shape, widths, strict=True))
        options = (widths,)
    if math.prod(shape) > 200:
        return None
    return Step(name, (i,), options), _Value(shape, source.bound, source.exact)


def _draw_product(draw, values):
    matrices = [i for i, v in enumerate(values) if len(v.shape) == 2]
    if not matrices:
        return None
    i, ta, tb = draw(st.sampled_from(matrices)), draw(st.booleans()), draw(st.booleans())
    n, k = values[i].shape[::-1] if ta else values[i].shape
    fitting = [j for j in matrices if values[j].shape[1 if tb else 0] == k]
    if not fitting:
        return None
    j = draw(st.sampled_from(fitting))
    m = values[j].shape[0 if tb else 1]
    bound = values[i].bound * values[j].bound * k
    vectors = [b for b, v in enumerate(values) if v.shape == (m,)]
    if vectors and not ta and not tb and draw(st.booleans()):
        b = draw(st.sampled_from(vectors))
        name = draw(st.sampled_from(["dense", "dense_relu"]))
        bound = bound + values[b].bound if name == "dense" else 1.0
        return Step(name, (i, j, b)), _Value((n, m), bound, False)
    return Step("matmul", (i, j), (ta, tb)), _Value((n, m), bound, False)


def _draw_bias(draw, values):
    pairs = [
        (i, j, axis)
        for i, v in enumerate(values)
        for axis in range(len(v.shape))
        for j, b in enumerate(values)
        if b.shape == (v.shape[axis],)
    ]
    if not pairs:
        return None
    i, j, axis = draw(st.sampled_from(pairs))
    exact = values[i].exact and values[j].exact
    made = _Value(values[i].shape, values[i].bound + values[j].bound, exact)
    return Step("bias_add", (i, j), (axis,)), made


_KINDS = (
    _draw_elementwise,
    _draw_binary,
    _draw_binary,
    _draw_reduction,
    _draw_shaping,
    _draw_product,
    _draw_bias,
)


@st.composite
def random_programs(draw, max_steps: int = 20) -> RandomProgram:
    """Programs of 3 to `max_steps` steps on two to four small inputs."""
    count = draw(st.integers(2, 4))
    shapes = tuple(draw(st.sampled_from(SHAPES)) for _ in range(count))
    values = [_Value(shape) for shape in shapes]
    steps: list[Step] = []
    wanted = draw(st.integers(3, max_steps))
    while len(steps) < wanted:
        if steps and draw(st.integers(0, 7)) == 0:
            # The same step again: food for merge_common.
            again = draw(st.integers(0, len(steps) - 1))
            steps.append(steps[again])
            values.append(values[count + again])
            continue
        found = draw(st.sampled_from(_KINDS))(draw, values) or _draw_elementwise(draw, values)
        steps.append(found[0])
        values.append(found[1])
        if found[1].bound > LIMIT:
            steps.append(Step("tanh", (len(values) - 1,)))
            values.append(_Value(found[1].shape, 1.0, False))
    first = draw(st.integers(0, len(values) - 1))
    second = draw(st.integers(count, len(values) - 1))
    return RandomProgram(shapes, tuple(steps), (first, second), draw(st.integers(0, 999)))
