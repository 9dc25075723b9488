"""The rules that turn observations into verdicts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl.claims.verdicts import (
    MARGIN,
    Observation,
    Outcome,
    Verdict,
    outcome_of_count,
    outcome_of_interval,
    verdict_of,
)

QUICK = settings(max_examples=40, deadline=None)
FINITE = st.floats(0.01, 100.0)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (1.06, 1.2, Outcome.FOR),
        (1.05, 1.2, Outcome.UNDECIDED),
        (1.04, 1.06, Outcome.UNDECIDED),
        (0.9, 1.05, Outcome.AGAINST),
        (0.3, 0.4, Outcome.AGAINST),
        (None, None, Outcome.UNDECIDED),
    ],
)
def test_a_ratio_counts_with_its_whole_interval(low, high, outcome) -> None:
    assert outcome_of_interval(low, high) is outcome


@QUICK
@given(FINITE, FINITE)
def test_an_interval_that_holds_the_margin_decides_nothing(one: float, other: float) -> None:
    low, high = sorted((one, other))
    decided = outcome_of_interval(low, high) is not Outcome.UNDECIDED
    assert decided == (low > MARGIN or high <= MARGIN)


@QUICK
@given(FINITE, FINITE, st.floats(0.0, 1.0))
def test_a_narrower_interval_never_turns_an_outcome_around(one, other, shrink) -> None:
    low, high = sorted((one, other))
    middle = (low + high) / 2
    narrow = (low + shrink * (middle - low), high - shrink * (high - middle))
    before, after = outcome_of_interval(low, high), outcome_of_interval(*narrow)
    assert before in (after, Outcome.UNDECIDED)


def test_a_count_has_no_interval_and_needs_the_margin_too() -> None:
    assert outcome_of_count(1.06) is Outcome.FOR
    assert outcome_of_count(1.05) is Outcome.AGAINST


EXPECTED = {
    frozenset(): Verdict.NOT_MEASURED,
    frozenset({Outcome.FOR}): Verdict.HOLDS,
    frozenset({Outcome.AGAINST}): Verdict.FAILS,
    frozenset({Outcome.UNDECIDED}): Verdict.UNDECIDED,
    frozenset({Outcome.FOR, Outcome.AGAINST}): Verdict.DEPENDS,
    frozenset({Outcome.FOR, Outcome.UNDECIDED}): Verdict.UNDECIDED,
    frozenset({Outcome.AGAINST, Outcome.UNDECIDED}): Verdict.UNDECIDED,
    frozenset({Outcome.FOR, Outcome.AGAINST, Outcome.UNDECIDED}): Verdict.DEPENDS,
}


@pytest.mark.parametrize("seen", EXPECTED, ids=lambda seen: "+".join(sorted(o.value for o in seen)))
def test_every_combination_of_outcomes_has_its_verdict(seen) -> None:
    for extra in ((), (Outcome.MISSING,)):
        for order in itertools.permutations((*seen, *extra)):
            observations = [Observation("one", outcome) for outcome in order]
            assert verdict_of(observations) is EXPECTED[seen]


def test_what_is_only_shown_decides_nothing() -> None:
    shown = Observation("beside", Outcome.AGAINST, judged=False)
    assert verdict_of([Observation("one", Outcome.FOR), shown]) is Verdict.HOLDS
    assert verdict_of([shown]) is Verdict.NOT_MEASURED
