"""PyTorch at half precision, as our own engines do it: float32 is stored in 16 bits.

The program runs on halves, as after `model.half()`: PyTorch sums products in float32 and rounds
what it stores. Parameters that a step trains stay in float32, as under torch.amp, and are rounded
once a step. A backward pass in binary16 is scaled by a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract import Array, Precision
from ..primitives.half_storage import STORED_AS, loss_scale

Tensor = Any


class TorchHalves:
    """The dtype that float32 is stored as, and what gradients are scaled by on their way."""

    def __init__(self, torch: Any, precision: Precision) -> None:
        self._torch = torch
        self._dtype = getattr(torch, STORED_AS[precision])
        self.scale = loss_scale(precision)
        # Sums of products in fewer bits are PyTorch's default for products of halves.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False

    def rounded(self, tensor: Tensor) -> Tensor:
        """The tensor as it is stored; gradients flow back to it in its own dtype."""
        return tensor.to(self._dtype) if tensor.dtype == self._torch.float32 else tensor

    def seen(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters as the program sees them."""
        return {name: self.rounded(each) for name, each in parameters.items()}

    def seed(self, objective: Tensor, seed: Tensor = None) -> tuple[Tensor, float]:
        """What a backward pass starts from, and how much too large its gradients are.

        A seed that the program gives has a size of its own.
        """
        if seed is not None:
            return seed, 1.0
        return self._torch.full_like(objective, self.scale), self.scale

    def unscaled(self, gradient: Tensor, scale: float) -> Tensor:
        """A gradient without the scale, in float32."""
        wide = gradient.float()
        return wide if scale == 1.0 else wide * (1.0 / scale)

    def notes(self, step: str) -> list[str]:
        """How it is done, as sentences."""
        kept = [] if step != "training" else ["parameters kept in float32, rounded once a step"]
        scaled = step != "forward" and self.scale != 1.0
        return kept + ([f"gradients scaled by {self.scale:g} on their way"] if scaled else [])


def on_host(tensor: Tensor) -> Array:
    """A copy on the host; NumPy has no bfloat16, and halves are held as float32."""
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.element_size() == 2:
        tensor = tensor.float()
    # On the CPU `cpu` gives the tensor itself.
    array: Array = tensor.cpu().numpy()
    return array
