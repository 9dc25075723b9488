"""Softmax cross-entropy and its first and second derivatives, compiled."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]


@kernel("softmax_cross_entropy", "cpu", "loop")
def prepare_loss(request: KernelRequest) -> Prepared:
    """(loss [], probabilities [N, classes]) of logits [N, classes] and int labels [N]."""
    from .loops_losses import softmax_cross_entropy

    def loss_and_probabilities(
        loss: Array, probabilities: Array, logits: Array, labels: Array
    ) -> None:
        softmax_cross_entropy(loss.reshape(1), probabilities, logits, labels)

    return Prepared(loss_and_probabilities)


@kernel("softmax_cross_entropy_gradient", "cpu", "loop")
def prepare_gradient(request: KernelRequest) -> Prepared:
    """(p - onehot(labels)) * g / N."""
    from .loops_losses import cross_entropy_gradient

    def gradient(out: Array, logits: Array, probabilities: Array, labels: Array, g: Array) -> None:
        cross_entropy_gradient(out, probabilities, labels, g.reshape(1))

    return Prepared(gradient)


@kernel("softmax_cross_entropy_gradient_input", "cpu", "loop")
def prepare_gradient_input(request: KernelRequest) -> Prepared:
    """g / N * p * (u - sum(u * p)): the gradient's own derivative, to the logits."""
    from .loops_losses import cross_entropy_gradient_input

    def gradient_input(out: Array, u: Array, logits: Array, probabilities: Array, g: Array) -> None:
        cross_entropy_gradient_input(out, u, probabilities, g.reshape(1))

    return Prepared(gradient_input)


@kernel("softmax_cross_entropy_gradient_seed", "cpu", "loop")
def prepare_gradient_seed(request: KernelRequest) -> Prepared:
    """sum(u * (p - onehot(labels))) / N: the gradient's own derivative, to g."""
    from .loops_losses import cross_entropy_gradient_seed

    def gradient_seed(
        out: Array, u: Array, logits: Array, probabilities: Array, labels: Array
    ) -> None:
        cross_entropy_gradient_seed(out.reshape(1), u, probabilities, labels)

    return Prepared(gradient_seed)
