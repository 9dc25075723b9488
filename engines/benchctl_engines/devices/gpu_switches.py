"""What every engine of ours can be told about a GPU."""

from __future__ import annotations

from ..contract import Switch

AUTOTUNE = Switch(
    "off",
    ("off", "on"),
    "on a GPU: measure what can compute a product or a convolution, and keep the fastest",
    "gpu",
)
