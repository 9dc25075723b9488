"""What the blocks of an arm say of its energy."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from benchctl.store.record import ArmResult


@dataclass(frozen=True, slots=True)
class EnergySummary:
    """Joules a step: the median of the blocks, and the least and the most.

    `watts` is the mean power while steps run, `idle_watts` that of the card before them; `seconds`
    is the shortest block. All of the card's energy counts, the idle part too.
    """

    joules_per_step: float
    low: float
    high: float
    blocks: int
    seconds: float
    watts: float
    idle_watts: float | None
    source: str


def summarise_energy(result: ArmResult) -> EnergySummary | None:
    """The energy of an arm; None where it was not measured or not told."""
    energy = result.energy
    if energy is None:
        return None
    blocks = [
        each
        for each in zip(energy.joules_per_step, energy.steps, energy.seconds, strict=False)
        if math.isfinite(each[0]) and each[2] > 0
    ]
    if not blocks:
        return None
    joules = [each for each, _, _ in blocks]
    return EnergySummary(
        joules_per_step=statistics.median(joules),
        low=min(joules),
        high=max(joules),
        blocks=len(blocks),
        seconds=min(seconds for _, _, seconds in blocks),
        watts=statistics.median(each * steps / seconds for each, steps, seconds in blocks),
        idle_watts=energy.idle_watts,
        source=energy.source,
    )
