"""What a convolution gains in NHWC, and what a change of the order of its images costs.

By rule both are counted in bytes. Where the target measures its kernels, both are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...primitives.primitive import PRIMITIVES
from ...primitives.specs import TensorSpec
from ..launch import Target

TO_NHWC = (0, 2, 3, 1)

_BYTE_COSTS = {"cpu": (1, 3), "gpu": (1, 1)}
"""What a kernel saves for each byte of its images when they need no staging, against what changing
the order of a byte costs: on the CPU as measured on two cores at the shapes of VGG16, on a GPU as
its library's workspaces say, whose size is that of transposed copies."""

Call = tuple[Sequence[TensorSpec], Mapping[str, Any]]
"""The specs of the operands and the attributes."""


class LayoutCosts(Protocol):
    """Both in one unit, whichever."""

    def saved(
        self, primitive: str, written: Call, moved: Call, constants: Sequence[int], images: int
    ) -> float:
        """What is gained by an operation on `images` bytes of images; less than 0 for a loss.

        `constants` are the places of operands that never change.
        """

    def transpose(self, image: TensorSpec) -> float:
        """What changing the order of an image costs."""


class ByteCosts:
    """Costs by rule."""

    def __init__(self, device: str) -> None:
        self._staging, self._transpose = _BYTE_COSTS.get(device, _BYTE_COSTS["cpu"])

    def saved(
        self, primitive: str, written: Call, moved: Call, constants: Sequence[int], images: int
    ) -> float:
        """The staging of the images."""
        return self._staging * images

    def transpose(self, image: TensorSpec) -> float:
        """In proportion to its size."""
        return self._transpose * image.nbytes


class MeasuredCosts:
    """Costs as the target's tuner measures them; what it cannot measure costs and saves nothing.

    Poolings read either order alike, and are not measured.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def saved(
        self, primitive: str, written: Call, moved: Call, constants: Sequence[int], images: int
    ) -> float:
        """The seconds between the quickest kernels of both orders."""
        if not primitive.startswith("conv2d"):
            return 0.0
        before = self._seconds(primitive, written, constants)
        after = self._seconds(primitive, moved, constants)
        return 0.0 if before is None or after is None else before - after

    def transpose(self, image: TensorSpec) -> float:
        """The seconds that one takes."""
        return self._seconds("transpose", ((image,), {"axes": TO_NHWC}), ()) or 0.0

    def _seconds(self, primitive: str, call: Call, constants: Sequence[int]) -> float | None:
        assert self._target.tuner is not None
        inputs, attributes = call
        outputs = PRIMITIVES[primitive].output_specs(inputs, attributes)
        request = self._target.request(inputs, outputs, attributes)
        return self._target.tuner.seconds(primitive, request, constants)


def costs_on(target: Target) -> LayoutCosts:
    """The costs of a target."""
    return ByteCosts(target.device) if target.tuner is None else MeasuredCosts(target)
