"""Looking at a comparison while it is being measured, without more errors than one look would make.

A comparison that is judged after every round, until it says something, is wrong far more often
than each single judgement: the interval is given many chances to miss. Here the looks are planned,
and the error allowed is dealt out among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchctl.stats.signed_rank import Floats
from benchctl.stats.verdict import DEFAULT_CONFIDENCE, DEFAULT_MARGIN, Judgement, Verdict, judge


@dataclass(frozen=True, slots=True)
class LookOutcome:
    """What the looks up to now say.

    `judgement` is that of the look at `rounds` rounds, and its interval has the confidence of that
    look, which is above the one asked for; None and 0 where the first look is still to come.
    `next_look` is the number of rounds at which to judge next: None where the comparison is settled
    or the last look is done.
    """

    judgement: Judgement | None
    rounds: int
    next_look: int | None

    @property
    def settled(self) -> bool:
        """Whether a look ended in a verdict, so that measuring can stop."""
        return self.judgement is not None and self.judgement.verdict is not Verdict.INCONCLUSIVE


def look_levels(rounds: Sequence[int], alpha: float) -> tuple[float, ...]:
    """The share of the error `alpha` that each look may spend, in proportion to its rounds.

    The shares add up to alpha, so the chance that any look errs is at most alpha however the looks
    depend on each other (the union bound). Later looks know more and may spend more, but no early
    one is left with so little that the rank test of its few rounds could not reject at all. Raises
    `ValueError` unless the rounds are positive and rise.
    """
    if not rounds or rounds[0] < 1 or any(later <= earlier for earlier, later in pairwise(rounds)):
        raise ValueError(f"looks expected rising numbers of rounds, received {list(rounds)}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha expected between 0 and 1, received {alpha}")
    total = math.fsum(rounds)
    return tuple(alpha * (each / total) for each in rounds)


def judge_at_looks(
    log_ratios: Sequence[float] | Floats,
    looks: Sequence[int],
    margin: float = DEFAULT_MARGIN,
    confidence: float = DEFAULT_CONFIDENCE,
) -> LookOutcome:
    """Judge ln(time / reference time) of paired rounds at the planned looks that were reached.

    The first look with a verdict ends the comparison, and rounds after it are not considered, so
    measuring on does not change the answer. A verdict is wrong, whichever look gives it, with
    probability 1 - confidence at most.
    """
    levels = look_levels(looks, 1 - confidence)
    outcome = LookOutcome(None, 0, looks[0])
    for place, (rounds, level) in enumerate(zip(looks, levels, strict=True)):
        if rounds > len(log_ratios):
            break
        judgement = judge(log_ratios[:rounds], margin, 1 - level)
        following = looks[place + 1] if place + 1 < len(looks) else None
        outcome = LookOutcome(judgement, rounds, following)
        if outcome.settled:
            return LookOutcome(judgement, rounds, None)
    return outcome
