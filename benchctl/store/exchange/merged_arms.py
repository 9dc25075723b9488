"""One arm of one case from what several runs have measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchctl.store.record import ArmResult, ArmRound, Memory, Phases


def merged_arm(results: Sequence[ArmResult]) -> ArmResult:
    """The rounds of all; of the rest what the first part says that measured, or failed.

    A failure of one part is that of the whole, as it is within a run. Peaks are the largest.
    """
    told = [each for each in results if each.status != "planned"] or list(results)
    failed = [each for each in told if each.status not in ("ok", "planned")]
    first = (failed or told)[0]
    return replace(
        first,
        phases=_first_phases(told),
        memory=Memory.largest([each.memory for each in told]),
        notes=tuple(dict.fromkeys(note for each in told for note in each.notes)),
        rounds=_renumbered(results),
    )


def _renumbered(results: Sequence[ArmResult]) -> tuple[ArmRound, ...]:
    """All rounds in their order; processes are counted on, since no two parts share one."""
    rounds: list[ArmRound] = []
    before = 0
    for each in results:
        rounds += [replace(taken, process=before + taken.process) for taken in each.rounds]
        before = max((taken.process + 1 for taken in rounds), default=0)
    return tuple(sorted(rounds, key=_number))


def _number(taken: ArmRound) -> int:
    return taken.round


def _first_phases(results: Sequence[ArmResult]) -> tuple[Phases, ...]:
    """The phases with each state of the cache, from the first part that has them."""
    found: dict[str, Phases] = {}
    for each in results:
        for phases in each.phases:
            found.setdefault(phases.cache, phases)
    return tuple(found.values())
