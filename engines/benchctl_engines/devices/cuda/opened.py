"""The GPUs that this process has opened, one driver each."""

from __future__ import annotations

from ...gpu.driver import Driver

_OPEN: dict[int, Driver] = {}


def open_driver(index: int = 0) -> Driver:
    """The driver of a GPU, opened once per process; raises `DeviceError` where it cannot be."""
    if index not in _OPEN:
        from .cupy_driver import CupyDriver

        _OPEN[index] = CupyDriver(index)
    return _OPEN[index]


def use_driver(index: int, driver: Driver | None) -> None:
    """Let `open_driver` give this one: tests emulate a GPU with it. None forgets it."""
    if driver is None:
        _OPEN.pop(index, None)
    else:
        _OPEN[index] = driver


def is_open(index: int) -> bool:
    """Whether `open_driver` has this one already."""
    return index in _OPEN
