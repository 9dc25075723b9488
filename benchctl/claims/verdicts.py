"""From what was observed to a verdict: pure rules over intervals and checks, no numbers made here.

A ratio counts only with its whole interval: beyond `MARGIN` it speaks for a claim, below it
against, and across it for nothing. A verdict needs every judged observation, so that no correction
for their number is needed: each of them is a test of its own that must come out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

MARGIN = 1.05
"""A difference of up to 5 % is no reason to choose one way of computing over another."""


class Outcome(Enum):
    """What one observation says of a claim."""

    FOR = "for"
    AGAINST = "against"
    UNDECIDED = "undecided"
    MISSING = "missing"


class Verdict(Enum):
    """What all observations together say of a claim on this machine."""

    HOLDS = "holds here"
    FAILS = "does not hold here"
    DEPENDS = "depends"
    UNDECIDED = "not decided here"
    NOT_MEASURED = "not measured here"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio with its 95 % interval.

    `low` and `high` are None where there are too few rounds for one, and where the two sides were
    counted once, such as peaks of memory. `more_rounds` is about how many an undecided one lacks.
    """

    value: float
    low: float | None = None
    high: float | None = None
    more_rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing seen of a claim.

    `what` names it; `ratio` is that of a timing or of two counts, arranged so that above 1 speaks
    for the claim; `seen` is what a check found, in the words of the program that was checked.
    Where nothing was seen, `reason` says why and `hint` what to do. What is not `judged` is shown
    beside the others and decides nothing.
    """

    what: str
    outcome: Outcome
    ratio: Ratio | None = None
    seen: str = ""
    reason: str = ""
    hint: str = ""
    judged: bool = True

    @property
    def unseen(self) -> bool:
        """Whether nothing was seen, also where the budget leaves open what would have been."""
        return bool(self.reason) or self.outcome is Outcome.MISSING


def outcome_of_interval(low: float | None, high: float | None) -> Outcome:
    """What a ratio of times says, by its whole interval."""
    if low is None or high is None:
        return Outcome.UNDECIDED
    if low > MARGIN:
        return Outcome.FOR
    return Outcome.AGAINST if high <= MARGIN else Outcome.UNDECIDED


def outcome_of_count(ratio: float) -> Outcome:
    """What a ratio of two counts says, which do not scatter: peaks of memory, lines of code."""
    return Outcome.FOR if ratio > MARGIN else Outcome.AGAINST


def outcome_of_check(ok: bool) -> Outcome:
    """What a check says."""
    return Outcome.FOR if ok else Outcome.AGAINST


def verdict_of(observations: Iterable[Observation]) -> Verdict:
    """The verdict of all that is judged: all for, none for, or some."""
    seen = {each.outcome for each in observations if each.judged} - {Outcome.MISSING}
    if not seen:
        return Verdict.NOT_MEASURED
    if {Outcome.FOR, Outcome.AGAINST} <= seen:
        return Verdict.DEPENDS
    if Outcome.UNDECIDED in seen:
        return Verdict.UNDECIDED
    return Verdict.HOLDS if Outcome.FOR in seen else Verdict.FAILS
