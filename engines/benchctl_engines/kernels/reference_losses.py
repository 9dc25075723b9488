"""Reference kernels of the softmax cross-entropy and its derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]


def _errors(probabilities: Array, labels: Array) -> Array:
    """probabilities - onehot(labels)."""
    result: Array = probabilities.copy()
    result[np.arange(len(labels)), labels] -= 1
    return result


@kernel("softmax_cross_entropy", "reference", "numpy")
def prepare_loss(request: KernelRequest) -> Prepared:
    """(loss [], probabilities [N, classes]) of logits [N, classes] and int labels [N]."""

    def softmax_cross_entropy(
        loss: Array, probabilities: Array, logits: Array, labels: Array
    ) -> None:
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_partition = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        log_softmax = shifted - log_partition
        probabilities[...] = np.exp(log_softmax)
        loss[...] = -log_softmax[np.arange(len(labels)), labels].mean()

    return Prepared(softmax_cross_entropy)


@kernel("softmax_cross_entropy_gradient", "reference", "numpy")
def prepare_gradient(request: KernelRequest) -> Prepared:
    """(p - onehot(labels)) * g / N."""

    def gradient(out: Array, logits: Array, probabilities: Array, labels: Array, g: Array) -> None:
        out[...] = _errors(probabilities, labels) * g / len(labels)

    return Prepared(gradient)


@kernel("softmax_cross_entropy_gradient_input", "reference", "numpy")
def prepare_gradient_input(request: KernelRequest) -> Prepared:
    """g / N * p * (u - sum(u * p))."""

    def gradient_input(out: Array, u: Array, logits: Array, probabilities: Array, g: Array) -> None:
        mean = (u * probabilities).sum(axis=1, keepdims=True)
        out[...] = probabilities * (u - mean) * g / len(u)

    return Prepared(gradient_input)


@kernel("softmax_cross_entropy_gradient_seed", "reference", "numpy")
def prepare_gradient_seed(request: KernelRequest) -> Prepared:
    """sum(u * (p - onehot(labels))) / N."""

    def gradient_seed(
        out: Array, u: Array, logits: Array, probabilities: Array, labels: Array
    ) -> None:
        out[...] = (u * _errors(probabilities, labels)).sum() / len(u)

    return Prepared(gradient_seed)
