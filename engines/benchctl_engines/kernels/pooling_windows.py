"""What a pooling kernel of any device looks at in its request."""

from __future__ import annotations

import math

from .table import KernelRequest

MAX_WINDOW_ELEMENTS = 256
"""The place of a maximum in its window is stored in a byte."""


def fits_a_byte(request: KernelRequest) -> bool:
    """Whether a byte can hold every place in the window."""
    return bool(math.prod(request.attributes["window"]) <= MAX_WINDOW_ELEMENTS)


def window_arguments(request: KernelRequest) -> tuple[int, ...]:
    """R, S, stride_h, stride_w, top, left."""
    (top, _), (left, _) = request.attributes["padding"]
    return (*request.attributes["window"], *request.attributes["stride"], top, left)


def is_plain_2x2(request: KernelRequest) -> bool:
    """Whether windows of 2x2 lie side by side without padding."""
    attributes = request.attributes
    plain: bool = attributes["window"] == attributes["stride"] == (2, 2)
    return plain and attributes["padding"] == ((0, 0), (0, 0))


def covers_2x2(request: KernelRequest) -> bool:
    """Whether, in a gradient's request, 2x2 windows side by side cover the image."""
    dx, g = request.outputs[0], request.inputs[0]
    return is_plain_2x2(request) and dx.size == 4 * g.size
