"""Which of the ways to a convolution the CPU may take: the switch `convolution`."""

from __future__ import annotations

from collections.abc import Mapping

from ..contract import Switch

NAME = "convolution"
# Rows of the kernel table by their names, in all primitives of convolution.
_LEFT_OUT: Mapping[str, tuple[str, ...]] = {
    "best": (),
    "direct": ("winograd",),
    "im2col": ("winograd", "direct", "folded_lines"),
}
CONVOLUTION = Switch(
    "best",
    tuple(_LEFT_OUT),
    "kernels of convolutions: the best, or without Winograd's filtering direct sums or im2col",
    device="cpu",
)


def left_out(switches: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the rows that may not be chosen."""
    return _LEFT_OUT[switches.get(NAME, CONVOLUTION.default)]
