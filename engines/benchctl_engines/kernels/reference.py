"""Plain NumPy kernels of every primitive: simple, any floating dtype, free to allocate.

They share no code with the kernels of the CPU, so that each can be checked against the other.
"""

from __future__ import annotations

from importlib import import_module

_MODULES = (
    "reference_elementwise",
    "reference_arrays",
    "reference_convolution",
    "reference_losses",
    "reference_random",
)

for _module in _MODULES:
    import_module(f"{__package__}.{_module}")
