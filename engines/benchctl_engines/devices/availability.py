"""Whether a device can be used here, found without importing anything heavy."""

from __future__ import annotations

import ctypes.util
from importlib.util import find_spec

from ..contract import AVAILABLE, Availability

_CPU_HINT = "--device cpu measures here; benchctl doctor shows what is missing"


def device_availability(device: str) -> Availability:
    """Availability of "cpu" or "gpu" for the in-house engines."""
    if device == "cpu":
        return AVAILABLE
    if device != "gpu":
        return Availability(False, f"unknown device {device!r}", "choose --device cpu or gpu")
    if ctypes.util.find_library("cuda") is None:
        return Availability(
            False,
            "no CUDA device: the NVIDIA driver is not installed (libcuda not found)",
            _CPU_HINT,
        )
    if find_spec("cupy") is None:
        return Availability(
            False,
            "no CUDA array library: cupy is not installed",
            "pip install 'benchctl[gpu-cuda12]' or 'benchctl[gpu-cuda13]', as the driver allows; "
            + _CPU_HINT,
        )
    return Availability(
        False,
        "the in-house engines have no CUDA kernels in this version",
        _CPU_HINT,
    )
