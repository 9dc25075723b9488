"""Compiled loops of the softmax cross-entropy; sums are kept in double precision."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from .compiled import compiled_loop

Array = npt.NDArray[Any]


@compiled_loop()
def softmax_cross_entropy(loss: Array, probabilities: Array, logits: Array, labels: Array) -> None:
    """loss[0] = mean of -log softmax(logits)[label]; probabilities [N, classes]."""
    N, classes = logits.shape
    total = 0.0
    for n in range(N):
        if labels[n] < 0 or labels[n] >= classes:
            raise IndexError("softmax_cross_entropy received a label outside [0, classes)")
        largest = logits[n, 0]
        for k in range(1, classes):
            largest = max(largest, logits[n, k])
        partition = 0.0
        for k in range(classes):
            value = math.exp(logits[n, k] - largest)
            probabilities[n, k] = value
            partition += value
        for k in range(classes):
            probabilities[n, k] /= partition
        total += math.log(partition) - (logits[n, labels[n]] - largest)
    loss[0] = total / N


@compiled_loop()
def cross_entropy_gradient(out: Array, probabilities: Array, labels: Array, g: Array) -> None:
    """out = (probabilities - onehot(labels)) * g[0] / N."""
    N, classes = out.shape
    factor = g[0] / N
    for n in range(N):
        for k in range(classes):
            out[n, k] = probabilities[n, k] * factor
        out[n, labels[n]] = (probabilities[n, labels[n]] - 1) * factor


@compiled_loop()
def cross_entropy_gradient_input(out: Array, u: Array, probabilities: Array, g: Array) -> None:
    """out = g[0] / N * p * (u - sum over classes of u * p)."""
    N, classes = out.shape
    factor = g[0] / N
    for n in range(N):
        mean = 0.0
        for k in range(classes):
            mean += u[n, k] * probabilities[n, k]
        for k in range(classes):
            out[n, k] = factor * probabilities[n, k] * (u[n, k] - mean)


@compiled_loop()
def cross_entropy_gradient_seed(out: Array, u: Array, probabilities: Array, labels: Array) -> None:
    """out[0] = sum of u * (probabilities - onehot(labels)) / N."""
    N, classes = u.shape
    total = 0.0
    for n in range(N):
        for k in range(classes):
            total += u[n, k] * probabilities[n, k]
        total -= u[n, labels[n]]
    out[0] = total / N
