"""What the rounds of an arm say of the device that it ran on."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchctl.store.record import STEP_PHASES, ArmResult

LAUNCH_BOUND_SHARE = 0.5
"""Of the wall time; from here on the device waits for the host more than it works."""


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    """Medians over the rounds, in seconds; None where a figure was not taken.

    `host_share` is the part of the wall time in which the device does not work on the step:
    1 - warm / wall. `marks` says what disturbed the samples, each sentence once; `phases` has the
    device times of forward, backward and update, in this order, where a step has several.
    """

    cold: float | None
    warm: float | None
    wall: float | None
    issue: float | None
    replay: float | None
    host_share: float | None
    marks: tuple[str, ...] = ()
    phases: Mapping[str, float] = field(default_factory=dict)
    copy_in: float | None = None

    @property
    def launch_bound(self) -> bool:
        """Whether issuing work takes longer than doing it."""
        return self.host_share is not None and self.host_share > LAUNCH_BOUND_SHARE


def summarise_device(result: ArmResult) -> DeviceSummary | None:
    """The device times of an arm; None where it has none."""
    rounds = [each.device for each in result.rounds if each.device is not None]
    if not rounds:
        return None
    warm, wall = _median(each.warm for each in rounds), _median(each.wall for each in rounds)
    share = None if not wall or warm is None else max(0.0, 1.0 - warm / wall)
    phases = {name: _median(each.phases.get(name, ()) for each in rounds) for name in STEP_PHASES}
    return DeviceSummary(
        cold=_median(each.cold for each in rounds),
        warm=warm,
        wall=wall,
        issue=_median(each.issue for each in rounds),
        replay=_median(each.replay for each in rounds),
        copy_in=_median(each.copy_in for each in rounds),
        host_share=share,
        marks=tuple(dict.fromkeys(mark for each in rounds for mark in each.marks)),
        phases={name: each for name, each in phases.items() if each is not None},
    )


def _median(rounds: Iterable[Sequence[float]]) -> float | None:
    """The median over the rounds of their medians; None where no round has a sample."""
    medians = [statistics.median(samples) for samples in rounds if samples]
    return statistics.median(medians) if medians else None
