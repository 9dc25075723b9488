"""What a GPU does at best: a large matrix product in each precision, and a copy of much memory.

Both are timed between marks behind a run of the same, so that the device never waits for the host.
Rates depend on the clocks of the card at that moment.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import get_args

import numpy as np

from ...contract import DeviceLimits
from ...gpu.array import DeviceArray
from ...gpu.driver import DeviceError, Driver, MatmulRequest, NoPlanError, Precision
from ...primitives.half_storage import stored_dtype
from ...primitives.specs import spec
from .transfer import fill_repeating

SIDES = (8192, 4096, 2048, 1024)
"""Of the matrices, the largest that fits: large ones run at full speed."""

COPY_BYTES = 2**30
_REPEATS = 5
_SEED_BYTES = 2**22
_MOST_SHARE = 0.5
"""Of the free memory; a case that is measured beside keeps the rest."""


def measure_device_limits(
    driver: Driver, sides: tuple[int, ...] = SIDES, copy_bytes: int = COPY_BYTES
) -> DeviceLimits:
    """The limits now; raises `DeviceError` where not even small arrays fit."""
    used, total = driver.memory_in_use()
    room = int(_MOST_SHARE * (total - used))
    fitting = [side for side in sides if 3 * 4 * side * side <= room]
    if not fitting:
        raise DeviceError(
            f"the limits of {driver.facts.name} expected {3 * 4 * sides[-1] ** 2} bytes of free "
            f"memory, received {total - used}; end what else uses it (nvidia-smi shows it)"
        )
    rates = {}
    for precision in get_args(Precision):
        rate = _gemm_rate(driver, fitting[0], precision)
        if rate is not None:
            rates[precision] = rate
    return DeviceLimits(driver.facts.name, rates, _copy_rate(driver, min(copy_bytes, room // 2)))


def _gemm_rate(driver: Driver, side: int, precision: Precision) -> float | None:
    """Operations per second of the fastest product of two square matrices; None without a plan."""
    operand = spec((side, side), stored_dtype("float32", precision))
    request = MatmulRequest(side, side, side, operand.dtype, precision=precision)
    try:
        plan = driver.matmul(request)
    except (NoPlanError, DeviceError):
        return None
    out, a, b = (driver.allocate(operand.nbytes) for _ in range(3))
    workspace = driver.allocate(max(plan.workspace_bytes, 1))
    for each in (a, b):
        _fill_with_numbers(driver, each.pointer, operand.nbytes, operand.dtype)
    pointers = (out.pointer, a.pointer, b.pointer)
    seconds = _fastest(driver, lambda: plan.run(pointers, workspace.pointer))
    return 2.0 * side**3 / seconds


def _copy_rate(driver: Driver, nbytes: int) -> float:
    """Bytes read and bytes written per second of the fastest copy."""
    source, target = driver.allocate(nbytes), driver.allocate(nbytes)
    _fill_with_numbers(driver, source.pointer, nbytes)
    seconds = _fastest(
        driver, lambda: driver.copy_on_device(target.pointer, source.pointer, nbytes)
    )
    return 2.0 * nbytes / seconds


def _fill_with_numbers(driver: Driver, pointer: int, nbytes: int, dtype: str = "float32") -> None:
    """Random numbers: products of zeros draw less power and run faster."""
    count = min(nbytes, _SEED_BYTES) // spec((), dtype).itemsize
    numbers = np.random.default_rng(0).uniform(-1.0, 1.0, count).astype(np.float32)
    first = DeviceArray(pointer, spec((count,), dtype), None)
    fill_repeating(driver, first, numbers, nbytes)


def _fastest(driver: Driver, issue: Callable[[], None]) -> float:
    """Seconds of the fastest of some runs in a row; one before them keeps the device busy."""
    issue()
    marks = [driver.event() for _ in range(_REPEATS + 1)]
    marks[0].record()
    for mark in marks[1:]:
        issue()
        mark.record()
    driver.synchronize()
    return min(after.seconds_since(before) for before, after in pairwise(marks))
