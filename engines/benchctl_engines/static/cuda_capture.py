"""The whole step recorded as a CUDA graph: from then on one launch in place of all.

What a library does when it is first called (loading, choosing, allocating) cannot be recorded, so
the step runs twice as it is. What cannot be recorded even then is launched as before, and why is
kept.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ..gpu.driver import CapturedGraph, DeviceError, Driver

PLAIN_RUNS = 2
"""Runs before the recording."""


class CapturedStep:
    """A step that is called and decides itself whether it is launched, recorded or replayed.

    `graph` is the recording once there is one, `reason` why there will be none. `run` is what a
    call does now; callers look it up every time.
    """

    def __init__(self, launch: Callable[[], None], driver: Driver, off_because: str = "") -> None:
        self.launch = launch
        self.graph: CapturedGraph | None = None
        self.reason = off_because
        self._driver = driver
        self._runs = 0
        self.run: Callable[[], None] = launch if off_because else self._run_or_record

    def __call__(self) -> None:
        """Issue one step."""
        self.run()

    def _run_or_record(self) -> None:
        if self._runs < PLAIN_RUNS:
            self._runs += 1
            self.launch()
            return
        self._record()
        self.run()

    def record_now(self) -> None:
        """Run the step until it can be recorded, and record it.

        For steps that change no state: a run of theirs too many makes no difference.
        """
        while self.run == self._run_or_record and self._runs < PLAIN_RUNS:
            self.run()
        if self.run == self._run_or_record:
            self._record()

    def _record(self) -> None:
        try:
            self.graph = _recorded(self.launch, self._driver)
        except Exception as error:
            # Whatever it was, a plain launch shows whether the step itself is wrong.
            self.reason = str(error) or type(error).__name__
            self.run = self.launch
        else:
            self.run = self.graph.launch

    def release(self) -> None:
        """Forget the recording and what it launches."""
        self.graph = None
        self.run = self.launch = _released


def _released() -> None:
    raise RuntimeError("the step was released")


def _recorded(launch: Callable[[], None], driver: Driver) -> CapturedGraph:
    """The graph of a step; the stream is out of its recording again, whatever happened."""
    driver.synchronize()
    driver.begin_capture()
    try:
        launch()
    except BaseException:
        with suppress(DeviceError):
            driver.end_capture()
        raise
    return driver.end_capture()
