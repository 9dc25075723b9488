"""Activations, by name: the engine's own where it has one, else written in the vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..vocabulary import own_operation
from .layer import LayerError

Activation = Callable[[Any, Any, int], Any]
"""`(ops, x, channel axis)` to a tensor like x."""

LEAKY_SLOPE = 0.3
"""As in Keras 2, whose tutorials say LeakyReLU()."""


def leaky_relu(ops: Any, x: Any, slope: float = LEAKY_SLOPE, *, differentiated: bool = True) -> Any:
    """x where it is positive, slope * x elsewhere; the gradient at 0 is the slope."""
    own = own_operation(ops, "leaky_relu")
    if own is not None:
        return own(x, slope)
    if not differentiated and 0.0 <= slope <= 1.0:
        # One operation less forward; its gradient would take more.
        return ops.maximum(x, ops.multiply(x, slope))
    return ops.where(ops.greater(x, 0.0), x, ops.multiply(x, slope))


def sigmoid(ops: Any, x: Any) -> Any:
    """1 / (1 + exp(-x)), as (1 + tanh(x / 2)) / 2: no x overflows, in the gradient neither."""
    own = own_operation(ops, "sigmoid")
    if own is not None:
        return own(x)
    return ops.add(ops.multiply(ops.tanh(ops.multiply(x, 0.5)), 0.5), 0.5)


def softmax(ops: Any, x: Any, axis: int = -1) -> Any:
    """exp(x) over its sum along `axis`, shifted by the largest."""
    own = own_operation(ops, "softmax")
    if own is not None:
        return own(x, axis)
    weights = ops.exp(ops.subtract(x, ops.max(x, (axis,), True)))
    return ops.divide(weights, ops.sum(weights, (axis,), True))


def _relu(ops: Any, x: Any, axis: int) -> Any:
    return ops.relu(x)


def _leaky_relu(ops: Any, x: Any, axis: int) -> Any:
    return leaky_relu(ops, x)


def _tanh(ops: Any, x: Any, axis: int) -> Any:
    return ops.tanh(x)


def _sigmoid(ops: Any, x: Any, axis: int) -> Any:
    return sigmoid(ops, x)


ACTIVATIONS: dict[str, Activation] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "softmax": softmax,
}


def require_activation(owner: str, name: str) -> str:
    """The name of an activation, or none; raises `LayerError`."""
    if name and name not in ACTIVATIONS:
        raise LayerError(
            f"{owner} expected an activation among {', '.join(ACTIVATIONS)}, received {name!r}"
        )
    return name


def activated(ops: Any, name: str, x: Any, axis: int) -> Any:
    """x after the activation of this name; x itself for none."""
    return ACTIVATIONS[name](ops, x, axis) if name else x
