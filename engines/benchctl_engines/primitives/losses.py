"""Softmax cross-entropy with integer labels, stable for large logits."""

from __future__ import annotations

from typing import Any

from .elementwise import add, divide, exp, multiply, subtract
from .primitive import Primitive, Saved, same_as_first
from .reductions import in_dtype, max_primitive, narrow_sum
from .specs import ShapeError, TensorSpec, spec, summed_dtype


def _loss_infer(logits: TensorSpec, labels: TensorSpec) -> tuple[TensorSpec, TensorSpec]:
    if logits.rank != 2 or not logits.floating or labels.shape != logits.shape[:1]:
        raise ShapeError(
            "softmax_cross_entropy expected logits (N, classes) and labels (N,), "
            f"received {logits} and {labels}"
        )
    if labels.dtype not in ("int32", "int64"):
        raise ShapeError(f"softmax_cross_entropy expected int32 or int64 labels, received {labels}")
    return spec((), summed_dtype(logits.dtype)), logits


def _seed_infer(
    u: TensorSpec, logits: TensorSpec, probabilities: TensorSpec, labels: TensorSpec
) -> TensorSpec:
    return spec((), u.dtype)


softmax_cross_entropy = Primitive(
    "softmax_cross_entropy", _loss_infer, saves_inputs=(0, 1), saves_outputs=(1,)
)
# The three below take the logits only so that derivatives can flow to them; their values come from
# the probabilities p that the forward pass kept.
# (p - onehot(labels)) * g / N
softmax_cross_entropy_gradient = Primitive(
    "softmax_cross_entropy_gradient", same_as_first, saves_inputs=(0, 1, 2, 3)
)
# p * (u - sum(u * p)) * g / N: the Jacobian of softmax, which is symmetric, applied to u
softmax_cross_entropy_gradient_input = Primitive(
    "softmax_cross_entropy_gradient_input", same_as_first, saves_inputs=(0, 1, 2, 3)
)
# sum(u * (p - onehot(labels))) / N
softmax_cross_entropy_gradient_seed = Primitive(
    "softmax_cross_entropy_gradient_seed", _seed_infer, saves_inputs=(0, 1, 2, 3)
)


@softmax_cross_entropy.pullback
def softmax_cross_entropy_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    logits, labels = saved.input(0), saved.input(1)
    g = in_dtype(g, saved.specs[0].dtype)
    return softmax_cross_entropy_gradient(logits, saved.output(1), labels, g), None


@softmax_cross_entropy_gradient.pullback
def softmax_cross_entropy_gradient_pullback(u: Any, saved: Saved) -> tuple[Any, ...]:
    logits, probabilities, labels, g = (saved.input(index) for index in range(4))
    to_logits = to_seed = None
    if saved.needs[0]:
        to_logits = softmax_cross_entropy_gradient_input(u, logits, probabilities, g)
    if saved.needs[3]:
        to_seed = softmax_cross_entropy_gradient_seed(u, logits, probabilities, labels)
    return to_logits, None, None, to_seed


@softmax_cross_entropy_gradient_input.pullback
def softmax_cross_entropy_gradient_input_pullback(v: Any, saved: Saved) -> tuple[Any, ...]:
    u, logits, probabilities, g = (saved.input(index) for index in range(4))
    to_u = to_logits = to_seed = None
    if saved.needs[0]:
        to_u = softmax_cross_entropy_gradient_input(v, logits, probabilities, g)
    if saved.needs[1]:
        # With s = softmax(logits), <v, J u> = sum(v s u) - sum(v s) sum(u s) for each row; its
        # gradient to s is v u - v sum(u s) - u sum(v s), and J takes that to the logits.
        s = _softmax(logits)
        cross = multiply(v, _row_sum(multiply(u, s)))
        mirrored = multiply(u, _row_sum(multiply(v, s)))
        direction = subtract(multiply(v, u), add(cross, mirrored))
        to_logits = softmax_cross_entropy_gradient_input(direction, logits, probabilities, g)
    if saved.needs[3]:
        unscaled = softmax_cross_entropy_gradient_input(u, logits, probabilities, _one_like(g))
        product = multiply(v, unscaled)
        to_seed = narrow_sum(product, (0, 1))
    return to_u, to_logits, None, to_seed


@softmax_cross_entropy_gradient_seed.pullback
def softmax_cross_entropy_gradient_seed_pullback(v: Any, saved: Saved) -> tuple[Any, ...]:
    logits, probabilities, labels = (saved.input(index) for index in (1, 2, 3))
    to_u = to_logits = None
    if saved.needs[0]:
        to_u = softmax_cross_entropy_gradient(logits, probabilities, labels, v)
    if saved.needs[1]:
        to_logits = softmax_cross_entropy_gradient_input(saved.input(0), logits, probabilities, v)
    return to_u, to_logits, None, None


def _softmax(logits: Any) -> Any:
    """softmax of each row, as a value that depends on the logits to any order."""
    largest = max_primitive(logits, axes=(1,), keepdims=True)
    powers = exp(subtract(logits, largest))
    return divide(powers, _row_sum(powers))


def _row_sum(x: Any) -> Any:
    return narrow_sum(x, (1,), keepdims=True)


def _one_like(g: Any) -> Any:
    return add(multiply(g, 0.0), 1.0)
