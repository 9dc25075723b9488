"""Where forward, backward and update of an eager step begin, told to a clock.

The step itself is as it was: what it calls to begin a phase is replaced for as long as it is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..devices.phase_clock import BACKWARD, FORWARD, UPDATE, Marks, PhaseClock, replaced

if TYPE_CHECKING:
    from .engine import EagerRunner


@contextmanager
def phases_entered(runner: EagerRunner, enter: Callable[[str], None]) -> Iterator[None]:
    """Let `enter` be called at the beginning of each phase of the runner's steps."""
    program, update = runner._program, runner._update

    def entering_program(*arguments: Any) -> Any:
        enter(FORWARD)
        outputs = program(*arguments)
        enter(BACKWARD)
        return outputs

    def entering_update(*arguments: Any) -> None:
        enter(UPDATE)
        update(*arguments)

    workload = _EnteringWorkload(runner._workload, enter)
    with replaced(runner, _program=entering_program, _update=entering_update, _workload=workload):
        yield


class _EnteringWorkload:
    """A workload whose own update begins a phase."""

    def __init__(self, workload: Any, enter: Callable[[str], None]) -> None:
        self._workload = workload
        self._enter = enter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workload, name)

    def update(self, *arguments: Any) -> Any:
        self._enter(UPDATE)
        return self._workload.update(*arguments)


def time_phases(
    runner: EagerRunner, step: Callable[[], None], steps: int, marks: Marks
) -> dict[str, tuple[float, ...]]:
    """Seconds of each phase of `step`, one figure a step; none where it is all forward."""
    if runner._kind == "forward":
        return {}
    clock = PhaseClock(marks)
    with phases_entered(runner, clock.enter):
        for _ in range(steps):
            clock.run(step)
    return clock.seconds()
