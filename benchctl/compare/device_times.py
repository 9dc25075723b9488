"""What the rounds of an arm say of the device that it ran on."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchctl.store.record import ArmResult

LAUNCH_BOUND_SHARE = 0.5
"""Of the wall time; from here on the device waits for the host more than it works."""


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """Medians over the rounds, in seconds; None where a figure was not taken.

    `host_share` is the part of the wall time in which the device does not work on the step:
    1 - warm / wall. `marks` says what disturbed the samples, each sentence once.
    """

    cold: float | None
    warm: float | None
    wall: float | None
    issue: float | None
    replay: float | None
    host_share: float | None
    marks: tuple[str, ...] = ()

    @property
    def launch_bound(self) -> bool:
        """Whether issuing work takes longer than doing it."""
        return self.host_share is not None and self.host_share > LAUNCH_BOUND_SHARE


def summarise_device(result: ArmResult) -> DeviceSummary | None:
    """The device times of an arm; None where it has none."""
    rounds = [each.device for each in result.rounds if each.device is not None]
    if not rounds:
        return None

    def median(name: str) -> float | None:
        medians = [
            statistics.median(samples) for each in rounds if (samples := getattr(each, name))
        ]
        return statistics.median(medians) if medians else None

    warm, wall = median("warm"), median("wall")
    share = None if not wall or warm is None else max(0.0, 1.0 - warm / wall)
    return DeviceSummary(
        cold=median("cold"),
        warm=warm,
        wall=wall,
        issue=median("issue"),
        replay=median("replay"),
        host_share=share,
        marks=tuple(dict.fromkeys(mark for each in rounds for mark in each.marks)),
    )
