"""The convolution kernels of the CPU, in the order in which they are tried."""

from __future__ import annotations

from importlib import import_module

# A convolution that is a plain matrix product comes first, the panels that take any geometry last.
_MODULES = (
    "cpu_conv_product",
    "cpu_conv_winograd",
    "cpu_conv_direct",
    "cpu_conv_folded",
    "cpu_conv_panels",
    "cpu_conv_gradients",
)

for _module in _MODULES:
    import_module(f"{__package__}.{_module}")
