"""A 3x3 convolution and its gradients by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchctl_engines.contract import Array
from benchctl_engines.manual.convolution import conv2d, conv2d_backward

SAME_PADDING = ((1, 1), (1, 1))


@dataclass(frozen=True, slots=True)
class ForwardStep:
    """y, the convolution of x with w."""

    layout: str

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        y = conv2d(inputs["x"], parameters["w"], padding=SAME_PADDING, layout=self.layout)
        return {"y": y}


@dataclass(frozen=True, slots=True)
class BackwardStep:
    """grad_x and grad_w for the cotangent dy; the forward pass is not needed for them."""

    layout: str

    def __call__(
        self, parameters: dict[str, Array], inputs: Mapping[str, Array]
    ) -> Mapping[str, Array]:
        dx, dw = conv2d_backward(
            inputs["x"], parameters["w"], inputs["dy"], padding=SAME_PADDING, layout=self.layout
        )
        return {"grad_x": dx, "grad_w": dw}
