"""Dense layers and normalisations of ONNX models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .reading import ModelError, Node
from .translation import Env, Run, Shape, Translation


def gemm(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """alpha A B + beta C; a factor of constant weights is multiplied in once."""
    left, right = made.shape(node.inputs[0]), made.shape(node.inputs[1])
    flips = bool(node.attributes.get("transA", 0)), bool(node.attributes.get("transB", 0))
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    rows, inner = left[::-1] if flips[0] else left
    columns = right[0] if flips[1] else right[1]
    weights = made.constants.get(node.inputs[1])
    if alpha != 1.0 and weights is not None:
        scaled = np.asarray(weights * np.asarray(alpha, weights.dtype))
        b, alpha = made.keep(scaled, f"{node.inputs[1]} scaled"), 1.0
    else:
        b = made.operand(node.inputs[1])
    a = made.operand(node.inputs[0])
    added = node.input(2)
    c = made.operand(added) if added else None
    is_bias = bool(added) and made.shape(added) == (columns,)
    made.flops += 2 * rows * inner * columns

    def run(env: Env) -> tuple[Any, ...]:
        ops = env.ops
        product = ops.matmul(a(env), b(env), *flips)
        if alpha != 1.0:
            product = ops.multiply(product, alpha)
        if c is None:
            return (product,)
        more = c(env) if beta == 1.0 else ops.multiply(c(env), beta)
        return (ops.bias_add(product, more, 1) if is_bias else ops.add(product, more),)

    return run, [(rows, columns)]


def matmul(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """MatMul of matrices, or of many rows with one matrix."""
    left, right = made.shape(node.inputs[0]), made.shape(node.inputs[1])
    if len(right) != 2 or len(left) < 2:
        raise ModelError(
            f"{node.label}: expected matrices, received {list(left)} and {list(right)}"
        )
    a, b = (made.operand(name) for name in node.inputs)
    rows, shape = math.prod(left[:-1]), (*left[:-1], right[1])
    made.flops += 2 * rows * right[0] * right[1]

    def run(env: Env) -> tuple[Any, ...]:
        if len(left) == 2:
            return (env.ops.matmul(a(env), b(env)),)
        flat = env.ops.reshape(a(env), (rows, left[-1]))
        return (env.ops.reshape(env.ops.matmul(flat, b(env)), shape),)

    return run, [shape]


def batch_normalization(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """x scale + shift with the statistics of training, both computed once where they are known."""
    if node.attributes.get("training_mode", 0):
        raise ModelError(f"{node.label}: normalising while training is not supported")
    shape = made.shape(node.inputs[0])
    column = (1, -1, *[1] * (len(shape) - 2))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    x = made.operand(node.inputs[0])
    known = [made.constants.get(name) for name in node.inputs[1:5]]
    if all(each is not None for each in known):
        gain, offset, mean, variance = (np.asarray(each, np.float64) for each in known)
        scale = gain / np.sqrt(variance + epsilon)
        shift = offset - mean * scale
        kept = [
            made.keep(each.astype(np.float32).reshape(column), f"{node.outputs[0]} {name}")
            for name, each in (("scale", scale), ("shift", shift))
        ]

        def run_known(env: Env) -> tuple[Any, ...]:
            scaled = env.ops.multiply(x(env), kept[0](env))
            return (env.ops.add(scaled, kept[1](env)),)

        return run_known, [shape]
    channels = (1, shape[1], *[1] * (len(shape) - 2))
    given = [made.operand(name) for name in node.inputs[1:5]]

    def run(env: Env) -> tuple[Any, ...]:
        ops = env.ops
        gain, offset, mean, variance = (ops.reshape(each(env), channels) for each in given)
        scale = ops.divide(gain, ops.sqrt(ops.add(variance, epsilon)))
        return (ops.add(ops.multiply(ops.subtract(x(env), mean), scale), offset),)

    return run, [shape]


def instance_normalization(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """Each channel of each image by its own mean and variance."""
    shape = made.shape(node.inputs[0])
    channels = (1, shape[1], *[1] * (len(shape) - 2))
    axes = tuple(range(2, len(shape)))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    x, gain, offset = (made.operand(name) for name in node.inputs)

    def run(env: Env) -> tuple[Any, ...]:
        ops, value = env.ops, x(env)
        off = ops.subtract(value, ops.mean(value, axes, True))
        variance = ops.mean(ops.multiply(off, off), axes, True)
        scale = ops.divide(ops.reshape(gain(env), channels), ops.sqrt(ops.add(variance, epsilon)))
        return (ops.add(ops.multiply(off, scale), ops.reshape(offset(env), channels)),)

    return run, [shape]


def local_response(node: Node, made: Translation) -> tuple[Run, Sequence[Shape]]:
    """LRN: x / (bias + alpha / size * the squares of `size` channels around it) ** beta."""
    shape = made.shape(node.inputs[0])
    size = int(node.attributes["size"])
    alpha = float(node.attributes.get("alpha", 1e-4))
    beta = float(node.attributes.get("beta", 0.75))
    bias = float(node.attributes.get("bias", 1.0))
    before, after = (size - 1) // 2, size // 2
    widths = ((0, 0), (before, after), *[(0, 0)] * (len(shape) - 2))
    x = made.operand(node.inputs[0])

    def run(env: Env) -> tuple[Any, ...]:
        ops, value = env.ops, x(env)
        squares = ops.pad(ops.multiply(value, value), widths)
        total = None
        for start in range(size):
            low = (0, start, *[0] * (len(shape) - 2))
            part = ops.slice(squares, low, (shape[0], start + shape[1], *shape[2:]))
            total = part if total is None else ops.add(total, part)
        base = ops.add(ops.multiply(total, alpha / size), bias)
        return (ops.multiply(value, ops.exp(ops.multiply(ops.log(base), -beta))),)

    return run, [shape]
