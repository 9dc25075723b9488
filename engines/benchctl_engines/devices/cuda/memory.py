"""How full the memory of a GPU is, and whether what a step needs fits into what is free."""

from __future__ import annotations

import gc
from collections.abc import Mapping

from ...contract import DeviceMemory
from ...gpu.driver import Driver, OutOfDeviceMemoryError
from .nvml import sensors_at

_GIBIBYTE = 2**30


def memory_of(driver: Driver, held_bytes: int) -> DeviceMemory:
    """The card's memory beside what a runner holds of it."""
    used, total = driver.memory_in_use()
    sensors = sensors_at(driver.facts.pci_bus_id)
    process = None if sensors is None else sensors.process_bytes()
    return DeviceMemory(held_bytes, total - used, total, process)


def require_room(driver: Driver, needs: Mapping[str, int]) -> None:
    """Raise `OutOfDeviceMemoryError`, before anything is allocated, where `needs` do not fit."""
    used, total = driver.memory_in_use()
    wanted = sum(needs.values())
    if wanted > total - used:
        # A program that was let go of keeps its memory until its cycle of references is found.
        gc.collect()
        used, total = driver.memory_in_use()
    if wanted <= total - used:
        return
    parts = ", ".join(f"{name} {size_words(size)}" for name, size in needs.items() if size)
    raise OutOfDeviceMemoryError(
        f"the step needs {size_words(wanted)} ({parts}), and {size_words(total - used)} of "
        f"{size_words(total)} are free on {driver.facts.name}"
    )


def size_words(nbytes: int) -> str:
    """`1.25 GiB`; small sizes in MiB."""
    if nbytes >= _GIBIBYTE:
        return f"{nbytes / _GIBIBYTE:.2f} GiB"
    return f"{nbytes / 2**20:.1f} MiB"
