"""Whether a device can be used here, found without importing or opening anything."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..contract import AVAILABLE, Availability
from .cuda.detection import Problem, driver_problems, look, problems, read_driver
from .cuda.opened import is_open

_CPU_HINT = "--device cpu measures here; benchctl doctor shows what is missing"
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
    state = cuda_availability(index)
    return _first(problems(look(), index)) if state.ok else state


def cuda_availability(index: int) -> Availability:
    """Whether the driver has a GPU of this number, whatever else is installed."""
    return _first(driver_problems(read_driver(), index))


def _first(found: Iterable[Problem]) -> Availability:
    """The first of what cannot be done without."""
    for each in found:
        if each.needed:
            # Without a driver no installation helps.
            hint = _CPU_HINT if each.piece == "gpu driver" else f"{each.hint}; {_CPU_HINT}"
            return Availability(False, each.found, hint)
    return AVAILABLE
