"""Softmax cross-entropy with integer labels, stable for large logits."""

from __future__ import annotations

from typing import Any

from .primitive import Primitive, Saved, same_as_first
from .specs import ShapeError, TensorSpec, spec


def _loss_infer(logits: TensorSpec, labels: TensorSpec) -> tuple[TensorSpec, TensorSpec]:
    if logits.rank != 2 or not logits.floating or labels.shape != logits.shape[:1]:
        raise ShapeError(
            "softmax_cross_entropy expected logits (N, classes) and labels (N,), "
            f"received {logits} and {labels}"
        )
    if labels.dtype not in ("int32", "int64"):
        raise ShapeError(f"softmax_cross_entropy expected int32 or int64 labels, received {labels}")
    return spec((), logits.dtype), logits


def _seed_infer(u: TensorSpec, probabilities: TensorSpec, labels: TensorSpec) -> TensorSpec:
    return spec((), u.dtype)


softmax_cross_entropy = Primitive(
    "softmax_cross_entropy", _loss_infer, saves_inputs=(0, 1), saves_outputs=(1,)
)
# The gradient takes the logits only so that a second derivative can flow to them; its value comes
# from the probabilities that the forward pass kept.
softmax_cross_entropy_gradient = Primitive(
    "softmax_cross_entropy_gradient", same_as_first, saves_inputs=(1, 2, 3)
)
softmax_cross_entropy_gradient_input = Primitive(
    "softmax_cross_entropy_gradient_input", same_as_first
)
softmax_cross_entropy_gradient_seed = Primitive("softmax_cross_entropy_gradient_seed", _seed_infer)


@softmax_cross_entropy.pullback
def softmax_cross_entropy_pullback(g: Any, saved: Saved) -> tuple[Any, ...]:
    logits, labels = saved.input(0), saved.input(1)
    return softmax_cross_entropy_gradient(logits, saved.output(1), labels, g), None


@softmax_cross_entropy_gradient.pullback
def softmax_cross_entropy_gradient_pullback(u: Any, saved: Saved) -> tuple[Any, ...]:
    probabilities, labels, g = saved.input(1), saved.input(2), saved.input(3)
    to_logits = to_seed = None
    if saved.needs[0]:
        to_logits = softmax_cross_entropy_gradient_input(u, probabilities, g)
    if saved.needs[3]:
        to_seed = softmax_cross_entropy_gradient_seed(u, probabilities, labels)
    return to_logits, None, None, to_seed
