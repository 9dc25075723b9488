"""The resident-set peak of a process above a level, read by the process itself."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class PeakMeter:
    """Resident-set peak above the level at `start`, without what happens while paused.

    Linux keeps the peak itself and lets a process reset it. Where it cannot be reset, the meter
    takes the largest of the levels at `pause`, `resume` and `peak_above_start_bytes`, which misses
    what was released in between.
    """

    def __init__(self) -> None:
        self._resettable = False
        self._start_bytes = 0
        self._peak_bytes = 0

    def start(self) -> None:
        """Take the level that peaks are compared with."""
        self._resettable = reset_peak()
        self._start_bytes = self._peak_bytes = resident_bytes()

    def pause(self) -> None:
        """What follows does not count: the harness draws its inputs."""
        self._read()

    def resume(self) -> None:
        """What follows counts again."""
        self._resettable = self._resettable and reset_peak()
        self._peak_bytes = max(self._peak_bytes, resident_bytes())

    def peak_above_start_bytes(self) -> int:
        """The peak so far above the level at `start`."""
        self._read()
        return self._peak_bytes - self._start_bytes

    def peak_bytes(self) -> int:
        """The peak so far."""
        self._read()
        return self._peak_bytes

    def _read(self) -> None:
        level = peak_resident_bytes() if self._resettable else resident_bytes()
        self._peak_bytes = max(self._peak_bytes, level)


def reset_peak() -> bool:
    """Set the kernel's resident-set peak to the present level; whether that was possible."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def resident_bytes() -> int:
    """The resident set now."""
    level = _status_bytes("VmRSS")
    if level is not None:
        return level
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_resident_bytes() -> int:
    """The kernel's resident-set peak since the process began or the last reset."""
    level = _status_bytes("VmHWM")
    if level is not None:
        return level
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status_bytes(name: str) -> int | None:
    """One size of /proc/self/status, None where there is none."""
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None
