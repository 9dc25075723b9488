"""Dense layer, bias, ReLU, softmax cross-entropy and the SGD update by hand.

Arrays are NumPy's, or those of a module with its functions.
"""

from __future__ import annotations

from ..contract import Array
from .array_module import array_module


def dense(x: Array, w: Array, b: Array) -> Array:
    """x @ w + b: [N, inputs] x [inputs, outputs] + [outputs]."""
    y: Array = x @ w
    y += b
    return y


def dense_backward(x: Array, w: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Gradients (dx, dw, db) of `dense` for the cotangent dy."""
    return dy @ w.T, x.T @ dy, dy.sum(axis=0)


def add_bias(y: Array, b: Array, layout: str) -> None:
    """Add one number a channel to the images y, in place."""
    y += b if layout == "NHWC" else b[:, None, None]


def bias_gradient(dy: Array, layout: str) -> Array:
    """Gradient [K] of the bias of images with the cotangent dy."""
    gradient: Array = dy.sum(axis=(0, 1, 2) if layout == "NHWC" else (0, 2, 3))
    return gradient


def relu(x: Array) -> None:
    """max(x, 0) in place."""
    array_module(x).maximum(x, 0, out=x)


def relu_backward(y: Array, dy: Array) -> None:
    """Turn the cotangent of y = relu(x) into that of x, in place; it is 0 where y is 0."""
    array_module(dy).multiply(dy, y > 0, out=dy)


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Mean of -log softmax(logits)[label] over the batch, and its gradient [N, classes]."""
    xp = array_module(logits)
    N = logits.shape[0]
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = xp.exp(shifted)
    totals = probabilities.sum(axis=1, keepdims=True)
    each = xp.arange(N)
    loss = xp.mean(xp.log(totals[:, 0]) - shifted[each, labels])
    probabilities /= totals
    probabilities[each, labels] -= 1
    probabilities /= N
    return loss, probabilities


def sgd_update(parameter: Array, gradient: Array, learning_rate: float) -> None:
    """parameter -= learning_rate * gradient, in place; the gradient's memory is used up."""
    gradient *= learning_rate
    parameter -= gradient
