"""A device that works through a queue, in virtual time: what it takes is known exactly."""

from __future__ import annotations

from benchctl.measure.clock import NANOSECONDS, VirtualClock
from benchctl_engines.contract import DeviceState


class Mark:
    """A place in the queue, reached at a moment that is known when it is put there."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def seconds_since(self, earlier: Mark) -> float:
        return self.seconds - earlier.seconds


class VirtualDevice:
    """Begins each piece of work when it was issued and the one before is done.

    A piece after a flush takes `cold_factor` times as long. At most `queue` pieces wait: issuing
    another one blocks until there is room.
    """

    def __init__(self, clock: VirtualClock, cold_factor: float = 1.0, queue: int = 10**9) -> None:
        self.clock = clock
        self.cold_factor = cold_factor
        self.queue = queue
        self.spins: list[float] = []
        self.flushes = 0
        self.states = [DeviceState()]
        self._free_at = 0.0
        self._ends: list[float] = []
        self._cold = False

    def now(self) -> float:
        return self.clock.now_ns() / NANOSECONDS

    def work(self, seconds: float) -> None:
        self._ends = [end for end in self._ends if end > self.now()]
        if len(self._ends) >= self.queue:
            self.clock.sleep(max(0.0, self._ends[-self.queue] - self.now()))
        self._free_at = max(self._free_at, self.now()) + seconds
        self._ends.append(self._free_at)

    def compute(self, seconds: float) -> None:
        self.work(seconds * (self.cold_factor if self._cold else 1.0))

    def warmed(self) -> None:
        self._cold = False

    # the clock's protocol

    def mark(self) -> Mark:
        return Mark(max(self._free_at, self.now()))

    def spin(self, seconds: float) -> None:
        self.spins.append(seconds)
        self.work(seconds)

    def flush(self) -> None:
        self.flushes += 1
        self._cold = True
        self.work(1e-3)

    def state(self) -> DeviceState:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def synchronize(self) -> None:
        self.clock.sleep(max(0.0, self._free_at - self.now()))


class VirtualRunner:
    """Steps of `launches` pieces, each `host` seconds to issue and `device` seconds to do."""

    def __init__(
        self, device: VirtualDevice, launches: int, host: float, work: float, replays: bool = False
    ) -> None:
        self.device = device
        self.launches = launches
        self.host = host
        self.work = work
        self._replays = replays
        self.issued = 0

    def issue(self) -> None:
        self.issued += 1
        for _ in range(self.launches):
            self.device.clock.sleep(self.host)
            self.device.compute(self.work)
        self.device.warmed()

    def device_clock(self) -> VirtualDevice:
        return self.device

    def replays(self) -> bool:
        return self._replays
