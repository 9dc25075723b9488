"""A clock that tests move: the host's time, and the time at which the device has done its work."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """Every piece of work takes the host `host_seconds` to issue and the device `device_seconds`.

    `device_seconds` may be a function of the work's name. The device works in order and starts
    nothing before it was issued.
    """

    def __init__(self) -> None:
        self.host_seconds = 5e-6
        self.device_seconds: float | Callable[[str], float] = 2e-6
        self.now = 0.0
        self.device_done = 0.0

    def cost(self, name: str) -> float:
        """What the device needs for a piece of work."""
        if callable(self.device_seconds):
            return self.device_seconds(name)
        return self.device_seconds

    def issue(self, device_seconds: float) -> None:
        """One piece of work is issued."""
        self.now += self.host_seconds
        self.device_done = max(self.now, self.device_done) + device_seconds

    def mark(self) -> float:
        """When everything issued so far will be done."""
        return max(self.now, self.device_done)

    def wait(self, until: float) -> None:
        """The host waits."""
        self.now = max(self.now, until)
