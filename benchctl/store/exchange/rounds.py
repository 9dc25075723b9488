"""Rounds from the single values that another tool has kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchctl.store.fields import SchemaError
from benchctl.store.record import ArmRound
from benchctl.store.schema import NANOSECONDS

MOST_ROUNDS = 60
"""More values than this make no more rounds, but larger ones: intervals cost their square."""

_ENOUGH_SECONDS = 1e-3
"""Whole nanoseconds keep six digits of a sample this long."""
_MOST_LOOPS = 10**12


@dataclass(frozen=True, slots=True)
class Samples:
    """Values that a record can hold: seconds a step, each averaged over `loops` steps."""

    seconds: tuple[float, ...]
    loops: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds of one benchmark, and what to know of them."""

    rounds: tuple[ArmRound, ...]
    notes: tuple[str, ...] = ()


def samples_of(values: Sequence[float], loops: int | None) -> Samples:
    """The values above zero; where the file does not tell the loops (None), a number for them."""
    notes = []
    if loops is None:
        loops = _stand_in_loops(values)
        if loops > 1:
            notes.append(
                "the file does not say over how many loops a value is averaged: "
                f"{loops} stands for it"
            )
    kept = tuple(value for value in values if _nanoseconds(value, loops) > 0)
    if len(kept) < len(values):
        notes.append(
            f"{len(values) - len(kept)} of {len(values)} values are not above zero, shorter than "
            "the clock can tell, and were left out"
        )
    return Samples(kept, loops, tuple(notes))


def rounds_of(
    values: Sequence[float], loops: int | None, *, own_processes: bool, first: int = 0
) -> Rounds:
    """A round for each value, in seconds a step; numbers count from `first`.

    `own_processes` says that each value is from a process of its own. Above `MOST_ROUNDS` values
    the rounds hold several consecutive ones each.
    """
    samples = samples_of(values, loops)
    seconds, notes = samples.seconds, samples.notes
    count = min(len(seconds), MOST_ROUNDS)
    if len(seconds) > count:
        notes = (*notes, f"{len(seconds)} values in {count} rounds of consecutive ones")
    rounds = tuple(
        ArmRound(
            round=first + place,
            seconds=seconds[place * len(seconds) // count : (place + 1) * len(seconds) // count],
            loops=samples.loops,
            process=place if own_processes else 0,
        )
        for place in range(count)
    )
    return Rounds(rounds, notes)


def summary_round(value: float, what: str, first: int = 0) -> Rounds:
    """The one round of a benchmark of which only a summary is kept; `what` names it."""
    found = rounds_of([value], None, own_processes=False, first=first)
    note = f"the file has no single values: the one round is their {what}"
    return Rounds(found.rounds, (note, *found.notes))


def _nanoseconds(value: float, loops: int) -> int:
    """The time of a whole sample as it will be stored."""
    total = value * loops * NANOSECONDS
    if not math.isfinite(total):
        raise SchemaError(f"a time expected seconds, received {value!r} over {loops} loops")
    return round(total)


def _stand_in_loops(values: Sequence[float]) -> int:
    """Loops enough that whole nanoseconds hold a value; 1 where the value is long."""
    typical = median(values) if values else 0.0
    loops = 1
    while 0 < typical * loops < _ENOUGH_SECONDS and loops < _MOST_LOOPS:
        loops *= 10
    return loops
