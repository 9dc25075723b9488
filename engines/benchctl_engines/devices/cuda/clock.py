"""Time as the GPU keeps it: marks, a spinning kernel, a flushed cache, and profiles by launch."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from ...contract import DeviceState
from ...gpu.driver import Driver, Event
from ..launch_clock import Call, LaunchClock
from .nvml import sensors_at
from .ranges import Ranges

_NANOSECONDS = 1e9
_LONGEST_HOLD = 1.0


def kernel_text(name: str) -> str:
    """The text of a file of the package's kernels."""
    folder = files("benchctl_engines.kernels").joinpath("cuda_text")
    return folder.joinpath(name).read_text(encoding="utf-8")


class CudaClock:
    """The contract's `DeviceClock` on the one stream of a driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._spin = driver.module(kernel_text("clock.cu")).function("benchctl_spin", "q")
        # Twice the cache: writing once its size may leave lines of other sets behind.
        self._other = driver.allocate(max(2 * driver.facts.l2_bytes, 1))
        self._byte = 0
        self._sensors = sensors_at(driver.facts.pci_bus_id)
        self._default_hertz = None if self._sensors is None else self._sensors.default_sm_clock_hz()

    def mark(self) -> Event:
        """A mark behind everything issued so far."""
        event = self._driver.event()
        event.record()
        return event

    def spin(self, seconds: float) -> None:
        """Keep one thread of the device busy for about this long."""
        self._spin.launch((1, 1, 1), (1, 1, 1), (round(seconds * _NANOSECONDS),))

    def flush(self) -> None:
        """Write twice the size of the L2 cache."""
        self._byte ^= 1
        self._driver.fill(self._other.pointer, self._other.nbytes, self._byte)

    def synchronize(self) -> None:
        """Wait until everything issued is done."""
        self._driver.synchronize()

    def state(self) -> DeviceState:
        """Clock, heat, throttle reasons, power and energy, where the management library is."""
        if self._sensors is None:
            return DeviceState()
        found = self._sensors.sample()
        return DeviceState(
            found.sm_clock_hz,
            self._default_hertz,
            found.temperature_celsius,
            found.spoiling,
            found.marking,
            found.power_watts,
            found.energy_joules,
        )


class CudaLaunchClock(LaunchClock):
    """Times launches on the device: a mark before and one behind each, read after the step.

    The marks themselves take about a microsecond between launches, and none within them. `hold`
    keeps the device busy for some seconds: from the second step on it has all launches before it
    begins, so that no gap in the issuing counts as time of a kernel.
    """

    def __init__(
        self, driver: Driver, hold: Callable[[float], None] = lambda seconds: None
    ) -> None:
        super().__init__()
        self._driver = driver
        self._hold = hold
        self._hold_seconds = 0.0
        self._ranges = Ranges()
        self._marks: list[tuple[Call, Event, Event]] = []

    def timed(self, call: Call, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` with marks around what it issues, in a range of the call's name."""
        name = f"{call.kernel} {call.shapes}"

        def run(*arrays: Any) -> Any:
            with self._ranges.named(name):
                before = self._mark()
                result = function(*arrays)
                self._marks.append((call, before, self._mark()))
            self._phases.append(self._phase)
            return result

        return run

    def run(self, step: Callable[[], None]) -> None:
        """Run one step whose launches are timed."""
        self._marks, self._phases = [], []
        self._hold(self._hold_seconds)
        begin = time.perf_counter()
        with self._ranges.named(f"step {len(self._steps) + 1}"):
            start = self._mark()
            step()
            self._driver.synchronize()
        if not self._steps:
            # Issuing took no longer than the whole.
            self._hold_seconds = min(_LONGEST_HOLD, time.perf_counter() - begin)

        def since_start(mark: Event) -> int:
            return round(mark.seconds_since(start) * _NANOSECONDS)

        self._starts.append(0)
        self._steps.append(
            [(call, since_start(before), since_start(after)) for call, before, after in self._marks]
        )

    def _mark(self) -> Event:
        event = self._driver.event()
        event.record()
        return event
