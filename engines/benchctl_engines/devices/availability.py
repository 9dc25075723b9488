"""Whether a device can be used here, found without importing anything heavy."""

from __future__ import annotations

import ctypes
import re
from importlib.util import find_spec

from ..contract import AVAILABLE, Availability
from .cuda.driver import is_open

_CPU_HINT = "--device cpu measures here; benchctl doctor shows what is missing"
_EXTRA_HINT = "pip install 'benchctl[gpu-cuda12]' or 'benchctl[gpu-cuda13]', as the driver allows; "
_LIBRARIES = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")
_GPU = re.compile(r"gpu(?::(\d+))?")


def gpu_index(device: str) -> int | None:
    """0 for "gpu", N for "gpu:N", None for anything that is no GPU."""
    found = _GPU.fullmatch(device)
    return None if found is None else int(found[1] or 0)


def device_availability(device: str) -> Availability:
    """Availability of "cpu", "gpu" or "gpu:N" for the in-house engines."""
    if device == "cpu":
        return AVAILABLE
    index = gpu_index(device)
    if index is None:
        return Availability(
            False, f"unknown device {device!r}", "choose --device cpu, gpu or gpu:N"
        )
    if is_open(index):
        return AVAILABLE
    found = cuda_availability(index)
    if not found.ok:
        return found
    if find_spec("cupy") is None:
        return Availability(
            False, "no CUDA array library: cupy is not installed", _EXTRA_HINT + _CPU_HINT
        )
    return AVAILABLE


def cuda_availability(index: int) -> Availability:
    """Whether the driver has a GPU of this number; nothing is opened on it."""
    count = _device_count()
    if count is None:
        return Availability(
            False,
            "no CUDA device: the NVIDIA driver is not installed (libcuda not found)",
            _CPU_HINT,
        )
    if index >= count:
        others = "none" if count == 0 else "only gpu:0" if count == 1 else f"gpu:0 to {count - 1}"
        return Availability(False, f"no CUDA device {index}: the driver has {others}", _CPU_HINT)
    return AVAILABLE


def _device_count() -> int | None:
    """How many GPUs the driver offers; None without a driver."""
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(count)):
            return 0
        return count.value
    return None
