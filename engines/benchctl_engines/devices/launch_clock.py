"""A clock around kernel calls: which call began when, and how long it took."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..contract import LaunchTime, StepProfile
from ..primitives.work import Work


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a kernel call before it runs."""

    kernel: str
    shapes: str
    work: Work
    origin: str = ""


class LaunchClock:
    """Times calls step by step; every step must make the same calls in the same order.

    Each call is one of the phase that was entered last.
    """

    def __init__(self) -> None:
        self._steps: list[list[tuple[Call, int, int]]] = []
        self._phase = ""
        self._phases: list[str] = []
        self._starts: list[int] = []

    def enter(self, phase: str) -> None:
        """From here on calls are those of this phase of the step."""
        self._phase = phase

    def timed(self, call: Call, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` with the clock around it."""
        now = time.perf_counter_ns

        def run(*arrays: Any) -> Any:
            start = now()
            result = function(*arrays)
            self._steps[-1].append((call, start, now()))
            self._phases.append(self._phase)
            return result

        return run

    def run(self, step: Callable[[], None]) -> None:
        """Run one step whose calls are timed."""
        self._steps.append([])
        self._phases = []
        self._starts.append(time.perf_counter_ns())
        step()

    def profile(self, step_seconds: float) -> StepProfile:
        """Medians over the steps; raises `ValueError` where two steps made different calls."""
        shapes = {tuple(call for call, _, _ in step) for step in self._steps}
        if len(shapes) != 1:
            raise ValueError(f"steps made {len(shapes)} different sequences of kernel calls")
        start, last = self._starts[-1], self._steps[-1]
        launches = []
        for place, ((call, begin, _), phase) in enumerate(zip(last, self._phases, strict=True)):
            times = [step[place][2] - step[place][1] for step in self._steps]
            launches.append(
                LaunchTime(
                    call.kernel,
                    call.shapes,
                    statistics.median(times) / 1e9,
                    (begin - start) / 1e9,
                    call.work.flops,
                    call.work.bytes_moved,
                    call.origin,
                    phase,
                )
            )
        return StepProfile(step_seconds, tuple(launches))


def median_step_seconds(step: Callable[[], None], steps: int) -> float:
    """The median time of a step as it is."""
    times = []
    for _ in range(steps):
        start = time.perf_counter_ns()
        step()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1e9


def shape_words(shapes: Sequence[tuple[int, ...]]) -> str:
    """`8x224x224x64` for each array; a scalar is `1`."""
    return " ".join("x".join(map(str, shape)) or "1" for shape in shapes)
