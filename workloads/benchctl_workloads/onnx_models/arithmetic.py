"""Elementwise operations and reductions of ONNX models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchctl_engines.layers import activations

from .reading import ModelError, Node
from .translation import Env, Get, Rule, Run, Shape, Translation

Unary = Callable[[Any, Any], Any]
"""(ops, x) -> y."""


def unary(compute: Unary) -> Rule:
    """One operand, the same shape."""

    def rule(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
        x = made.operand(node.inputs[0])
        return (lambda env: (compute(env.ops, x(env)),)), [made.shape(node.inputs[0])]

    return rule


def with_alpha(compute: Callable[..., Any], **defaults: float) -> Rule:
    """One operand, and numbers that are attributes."""

    def rule(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
        given = {name: float(node.attributes.get(name, each)) for name, each in defaults.items()}
        x = made.operand(node.inputs[0])
        return (lambda env: (compute(env.ops, x(env), **given),)), [made.shape(node.inputs[0])]

    return rule


def folded(method: str, *, mean: bool = False) -> Rule:
    """Operands from left to right, shapes broadcast; `mean` divides by their number."""

    def rule(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
        shapes = [made.shape(name) for name in node.inputs]
        whole = tuple(np.broadcast_shapes(*shapes))
        operands = _operands(node, made, whole)

        def run(env: Env) -> tuple[Any, ...]:
            combine = getattr(env.ops, method)
            total = operands[0](env)
            for each in operands[1:]:
                total = combine(total, each(env))
            if mean:
                total = env.ops.multiply(total, 1.0 / len(operands))
            return (total,)

        return run, [whole]

    return rule


def _operands(node: Node, made: Translation, whole: Shape) -> list[Get]:
    """The operands; numbers are taken for constants as long as one operand has the whole shape."""
    computed = [name for name in node.inputs if name not in made.constants]
    if computed and made.shape(computed[0]) == whole:
        return [
            made.operand(name) if name in computed else made.factor(name, whole)
            for name in node.inputs
        ]
    return [made.operand(name) for name in node.inputs]


def minimum(ops: Any, a: Any, b: Any) -> Any:
    """The smaller of two."""
    return ops.where(ops.greater(a, b), b, a)


def smallest(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Min."""
    whole = tuple(np.broadcast_shapes(*(made.shape(name) for name in node.inputs)))
    operands = [made.operand(name) for name in node.inputs]

    def run(env: Env) -> tuple[Any, ...]:
        found = operands[0](env)
        for each in operands[1:]:
            found = minimum(env.ops, found, each(env))
        return (found,)

    return run, [whole]


def compared(swapped: bool) -> Rule:
    """Greater, or Less with its operands swapped."""

    def rule(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
        names = node.inputs[::-1] if swapped else node.inputs
        a, b = (made.operand(name) for name in names)
        whole = np.broadcast_shapes(*(made.shape(name) for name in node.inputs))
        return (lambda env: (env.ops.greater(a(env), b(env)),)), [tuple(whole)]

    return rule


def chosen(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Where."""
    condition, a, b = (made.operand(name) for name in node.inputs)
    whole = np.broadcast_shapes(*(made.shape(name) for name in node.inputs))
    return (lambda env: (env.ops.where(condition(env), a(env), b(env)),)), [tuple(whole)]


# Functions of one operand -------------------------------------------------------------------


def absolute(ops: Any, x: Any) -> Any:
    """|x|."""
    return ops.maximum(x, ops.negative(x))


def reciprocal(ops: Any, x: Any) -> Any:
    """1 / x."""
    return ops.divide(1.0, x)


def softplus(ops: Any, x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    tail = ops.log(ops.add(ops.exp(ops.negative(absolute(ops, x))), 1.0))
    return ops.add(ops.relu(x), tail)


def softsign(ops: Any, x: Any) -> Any:
    """x / (1 + |x|)."""
    return ops.divide(x, ops.add(absolute(ops, x), 1.0))


def hard_swish(ops: Any, x: Any) -> Any:
    """x clip(x / 6 + 1/2, 0, 1)."""
    return ops.multiply(x, hard_sigmoid(ops, x, alpha=1 / 6, beta=0.5))


def hard_sigmoid(ops: Any, x: Any, alpha: float, beta: float) -> Any:
    """clip(alpha x + beta, 0, 1)."""
    return clipped(ops, ops.add(ops.multiply(x, alpha), beta), 0.0, 1.0)


def leaky_relu(ops: Any, x: Any, alpha: float) -> Any:
    """x, or alpha x where that is negative."""
    return activations.leaky_relu(ops, x, alpha, differentiated=False)


def elu(ops: Any, x: Any, alpha: float) -> Any:
    """x, or alpha (exp(x) - 1) where it is negative."""
    return selu(ops, x, alpha=alpha, gamma=1.0)


def selu(ops: Any, x: Any, alpha: float, gamma: float) -> Any:
    """gamma times elu."""
    below = ops.negative(ops.relu(ops.negative(x)))
    curve = ops.multiply(ops.subtract(ops.exp(below), 1.0), alpha * gamma)
    return ops.add(ops.multiply(ops.relu(x), gamma), curve)


def thresholded_relu(ops: Any, x: Any, alpha: float) -> Any:
    """x above alpha, else 0."""
    return ops.where(ops.greater(x, alpha), x, ops.multiply(x, 0.0))


def clipped(ops: Any, x: Any, low: float, high: float) -> Any:
    """x within two numbers."""
    if low > -math.inf:
        x = ops.maximum(x, low)
    if high < math.inf:
        x = ops.negative(ops.maximum(ops.negative(x), -high))
    return x


def clip(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Clip, with bounds that are operands or, in old versions, attributes."""
    bounds = []
    for place, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        array = made.constant(node, place)
        given = node.attributes.get(name, default)
        bounds.append(float(given if array is None else array.reshape(-1)[0]))
    x = made.operand(node.inputs[0])
    low, high = bounds
    return (lambda env: (clipped(env.ops, x(env), low, high),)), [made.shape(node.inputs[0])]


def sloped_relu(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """PRelu."""
    x, slope = (made.operand(name) for name in node.inputs)

    def run(env: Env) -> tuple[Any, ...]:
        ops, value = env.ops, x(env)
        below = ops.multiply(slope(env), ops.relu(ops.negative(value)))
        return (ops.subtract(ops.relu(value), below),)

    whole = np.broadcast_shapes(*(made.shape(name) for name in node.inputs))
    return run, [tuple(whole)]


def power(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Pow with one of a few constant exponents."""
    exponents = made.constant(node, 1)
    assert exponents is not None, "a power has an exponent"
    exponent = float(exponents.reshape(-1)[0])
    if not np.all(exponents == exponent) or exponent not in (-1.0, 0.5, 1.0, 2.0, 3.0):
        raise ModelError(f"{node.label}: only the powers -1, 0.5, 1, 2 and 3 are supported")
    x = made.operand(node.inputs[0])

    def run(env: Env) -> tuple[Any, ...]:
        ops, value = env.ops, x(env)
        if exponent == -1.0:
            return (reciprocal(ops, value),)
        if exponent == 0.5:
            return (ops.sqrt(value),)
        result = value
        for _ in range(int(exponent) - 1):
            result = ops.multiply(result, value)
        return (result,)

    return run, [made.shape(node.inputs[0])]


# Reductions ----------------------------------------------------------------------------------


def reduced(compute: Callable[[Any, Any, tuple[int, ...], bool], Any]) -> Rule:
    """Over axes that are an operand or an attribute; over all where none are given."""

    def rule(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
        shape = made.shape(node.inputs[0])
        axes = made.numbers(node, 1, "axes")
        keep = bool(node.attributes.get("keepdims", 1))
        x = made.operand(node.inputs[0])
        if not axes and node.attributes.get("noop_with_empty_axes", 0):
            return (lambda env: (x(env),)), [shape]
        over = tuple(sorted(axis % len(shape) for axis in axes or range(len(shape))))
        if any(shape[axis] == 0 for axis in over):
            raise ModelError(f"{node.label}: reducing no elements is not supported")
        kept = [1 if axis in over else size for axis, size in enumerate(shape)]
        left = kept if keep else [size for axis, size in enumerate(shape) if axis not in over]
        return (lambda env: (compute(env.ops, x(env), over, keep),)), [tuple(left)]

    return rule


def reduce_sum(ops: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """ReduceSum."""
    return ops.sum(x, axes, keep)


def reduce_mean(ops: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """ReduceMean."""
    return ops.mean(x, axes, keep)


def reduce_max(ops: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """ReduceMax."""
    return ops.max(x, axes, keep)


def reduce_min(ops: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """ReduceMin."""
    return ops.negative(ops.max(ops.negative(x), axes, keep))


def reduce_sum_square(ops: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """ReduceSumSquare."""
    return ops.sum(ops.multiply(x, x), axes, keep)


def reduce_l1(ops: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """ReduceL1."""
    return ops.sum(absolute(ops, x), axes, keep)


def reduce_l2(ops: Any, x: Any, axes: tuple[int, ...], keep: bool) -> Any:
    """ReduceL2."""
    return ops.sqrt(reduce_sum_square(ops, x, axes, keep))


def softmax(logarithm: bool) -> Rule:
    """Softmax or LogSoftmax; before version 13 over all axes from one on together."""

    def rule(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
        shape = made.shape(node.inputs[0])
        old = made.graph.opset < 13
        first = int(node.attributes.get("axis", 1 if old else -1)) % max(1, len(shape))
        axes = tuple(range(first, len(shape))) if old else (first,)
        x = made.operand(node.inputs[0])

        def run(env: Env) -> tuple[Any, ...]:
            ops, value = env.ops, x(env)
            if len(axes) == 1 and not logarithm:
                return (activations.softmax(ops, value, *axes),)
            below = ops.subtract(value, ops.max(value, axes, True))
            powers = ops.exp(below)
            total = ops.sum(powers, axes, True)
            if logarithm:
                return (ops.subtract(below, ops.log(total)),)
            return (ops.divide(powers, total),)

        return run, [shape]

    return rule
