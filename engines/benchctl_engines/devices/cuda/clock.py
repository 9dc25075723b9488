"""Time as the GPU keeps it: marks, a spinning kernel, a flushed cache, and profiles by launch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from ..launch_clock import Call, LaunchClock
from .driver import Driver, Event

_NANOSECONDS = 1e9


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


class CudaLaunchClock(LaunchClock):
    """Times launches on the device: a mark before and one behind each, read after the step.

    The marks themselves take about a microsecond between launches, and none within them.
    """

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self._driver = driver
        self._marks: list[tuple[Call, Event, Event]] = []

    def timed(self, call: Call, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` with marks around what it issues."""

        def run(*arrays: Any) -> Any:
            before = self._mark()
            result = function(*arrays)
            self._marks.append((call, before, self._mark()))
            return result

        return run

    def run(self, step: Callable[[], None]) -> None:
        """Run one step whose launches are timed."""
        self._marks = []
        start = self._mark()
        step()
        self._driver.synchronize()

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
