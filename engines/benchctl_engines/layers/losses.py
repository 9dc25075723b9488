"""Losses in the vocabulary: scalars, means over everything that they are given."""

from __future__ import annotations

from typing import Any


def binary_cross_entropy(ops: Any, logits: Any, targets: Any) -> Any:
    """Mean of -t log s(x) - (1 - t) log(1 - s(x)), s the sigmoid, from logits x of any size.

    `targets` is a number from 0 to 1 or a tensor that broadcasts beside the logits. Written as
    max(x, 0) - t x + log(1 + exp(-|x|)), whose exponential never overflows. At x = 0 the two kinks
    cancel: a maximum of -x and x sends the gradient of a tie to -x, and relu has none.
    """
    size = ops.maximum(ops.negative(logits), logits)
    rest = ops.log(ops.add(ops.exp(ops.negative(size)), 1.0))
    losses = ops.add(ops.relu(logits), rest)
    if not isinstance(targets, int | float) or targets != 0:
        chosen = logits if _is_one(targets) else ops.multiply(logits, targets)
        losses = ops.subtract(losses, chosen)
    return ops.mean(losses)


def _is_one(targets: Any) -> bool:
    return isinstance(targets, int | float) and targets == 1


def softmax_cross_entropy(ops: Any, logits: Any, labels: Any) -> Any:
    """Mean of -log softmax(logits)[label]: [N, classes], whole numbers [N]."""
    return ops.softmax_cross_entropy(logits, labels)


def mean_squared_error(ops: Any, predictions: Any, targets: Any) -> Any:
    """Mean of the squared differences."""
    off = ops.subtract(predictions, targets)
    return ops.mean(ops.multiply(off, off))
