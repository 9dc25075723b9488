"""The gate's decisions: screen all cases, confirm the candidates on fresh rounds.

Screening costs few rounds and may err; only rounds measured afterwards decide, so a case is called
a regression wrongly no more often than the confirmation allows, whatever the screen did. Pure
arithmetic on ln(head time / base time) of paired rounds, by case.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from benchctl.stats.multiplicity import holm
from benchctl.stats.planner import minimum_rounds
from benchctl.stats.signed_rank import confidence_interval, hodges_lehmann, p_value
from benchctl.stats.verdict import DEFAULT_CONFIDENCE, DEFAULT_MARGIN, Judgement, judge

Case = TypeVar("Case", bound=Hashable)
"""What names a case: an id, or an id and an arm."""


FAR_SLOWER = 0.04
"""A slowdown that nobody would overlook, as a fraction of the time; twice the usual margin."""


class TooFewRoundsError(ValueError):
    """The rounds asked for cannot reject anything, whatever is measured."""


@dataclass(frozen=True, slots=True)
class GateRule:
    """How many rounds each stage takes and what it may err.

    `margin` is the slowdown, as a fraction of the time, that is not worth an alarm; `margins` are
    those of single cases. `screen_alpha` is the error of one case's screen, `confirm_alpha` that of
    the whole gate (Holm over the candidates).
    """

    margin: float = DEFAULT_MARGIN
    margins: Mapping[Any, float] = field(default_factory=dict)
    screen_rounds: int = 12
    screen_alpha: float = 0.10
    confirm_rounds: int = 30
    confirm_alpha: float = 0.01

    def margin_of(self, case: Hashable) -> float:
        """The margin that holds for a case."""
        return self.margins.get(case, self.margin)

    def check(self, cases: int) -> None:
        """Raise `TooFewRoundsError` where a stage could not reject even the clearest slowdown.

        With R rounds the smallest one-sided p-value is 2**-R, and Holm multiplies it by the number
        of candidates, at most all cases. Nor may the screen be too short for an interval of its
        controls: without one a disturbed machine would pass.
        """
        least = minimum_rounds(DEFAULT_CONFIDENCE)
        if self.screen_rounds < least:
            raise TooFewRoundsError(
                f"the controls of a screen need at least {least} rounds, "
                f"received {self.screen_rounds}"
            )
        stages = (
            ("screening", self.screen_rounds, self.screen_alpha, 1),
            ("confirming", self.confirm_rounds, self.confirm_alpha, cases),
        )
        for stage, rounds, alpha, comparisons in stages:
            needed = minimum_rounds(1 - alpha, comparisons, sides=1)
            if rounds < needed:
                raise TooFewRoundsError(
                    f"{stage} {cases} cases at {alpha:.0%} needs at least {needed} rounds, "
                    f"received {rounds}"
                )


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A candidate on fresh rounds: ln(head / base), its interval, and the p-value after Holm.

    `p_value` is one-sided, against a slowdown within the margin. The interval is None where the
    rounds are too few.
    """

    estimate: float
    interval: tuple[float, float] | None
    p_value: float
    regressed: bool


def slowdown_p_value(log_ratios: Sequence[float], margin: float) -> float:
    """How likely these rounds are where the slowdown does not exceed the margin."""
    shift = math.log1p(margin)
    return p_value([each - shift for each in log_ratios], "greater")


def candidates(screened: Mapping[Case, Sequence[float]], rule: GateRule) -> list[Case]:
    """The cases that may have become slower: the confirmation decides.

    A case that looks slower by far is one even where its rounds vary so much that chance may have
    done it: what varies most would otherwise be looked at least.
    """
    return [
        case
        for case, log_ratios in screened.items()
        if slowdown_p_value(log_ratios, rule.margin_of(case)) <= rule.screen_alpha
        or hodges_lehmann(log_ratios) >= far_slower(rule.margin_of(case))
    ]


def far_slower(margin: float) -> float:
    """ln(head / base) from which on a case is measured again whatever its noise."""
    return math.log1p(max(2 * margin, FAR_SLOWER))


def confirm(fresh: Mapping[Case, Sequence[float]], rule: GateRule) -> dict[Case, Confirmation]:
    """What rounds measured after the screen say of each candidate.

    The candidates' errors share `confirm_alpha`; a candidate that could not be measured again is
    not among `fresh` and must be called failed, not clean.
    """
    p_values = {
        case: slowdown_p_value(log_ratios, rule.margin_of(case))
        for case, log_ratios in fresh.items()
    }
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {
        case: Confirmation(
            estimate=hodges_lehmann(log_ratios),
            interval=confidence_interval(log_ratios, DEFAULT_CONFIDENCE),
            p_value=adjusted[case],
            regressed=adjusted[case] <= rule.confirm_alpha,
        )
        for case, log_ratios in fresh.items()
    }


def judge_control(log_ratios: Sequence[float], margin: float = DEFAULT_MARGIN) -> Judgement:
    """Base against base: anything but no difference is the machine's doing."""
    return judge(log_ratios, margin)


def contaminated(control: Judgement, margin: float = DEFAULT_MARGIN) -> bool:
    """Whether a control is off by more than the margin, and not by chance.

    Code that cannot have changed differs: so would every other case, and none can be believed.
    """
    if control.low is None or control.high is None:
        return False
    is_off = abs(control.estimate) > math.log1p(margin)
    return is_off and not control.low <= 0 <= control.high
