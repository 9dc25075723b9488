"""Planned looks: how the error is dealt out, when they stop, and how often they err in all."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.stats import looks
from benchctl.stats.looks import judge_at_looks, look_levels
from benchctl.stats.verdict import Verdict, judge

LOOKS = (10, 15, 20)
EVERY_ROUND = tuple(range(6, 31))

plans = st.sets(st.integers(1, 40), min_size=1, max_size=6).map(sorted)
log_ratios = st.lists(
    st.integers(-2000, 2000).map(lambda number: number / 8192), min_size=0, max_size=45
)


def error_over_looks(
    plan: tuple[int, ...],
    wrong: tuple[Verdict, ...] = (Verdict.FASTER, Verdict.SLOWER),
    truth: float = 0.0,
    margin: float = 0.0,
    spread: float = 0.02,
    trials: int = 1500,
) -> float:
    """How often the looks end in a wrong verdict; one round in twenty has a stall."""
    rng = np.random.default_rng(17)
    shape = (trials, plan[-1])
    stalls = rng.uniform(-0.25, 0.25, shape) * (rng.random(shape) < 0.05)
    rows = truth + rng.normal(0, spread, shape) + stalls
    outcomes = [judge_at_looks(row, plan, margin).judgement for row in rows]
    return sum(each is not None and each.verdict in wrong for each in outcomes) / trials


@given(plans, st.floats(0.001, 0.4))
def test_shares_add_up_to_the_error_allowed_and_rise(plan: list[int], alpha: float) -> None:
    levels = look_levels(plan, alpha)
    assert len(levels) == len(plan)
    assert math.fsum(levels) == pytest.approx(alpha, rel=1e-12)
    assert all(earlier < later for earlier, later in pairwise(levels))
    assert levels[0] > 0


def test_one_look_may_spend_everything() -> None:
    assert look_levels([12], 0.05) == (0.05,)


@pytest.mark.parametrize("plan", [(), (0, 5), (10, 10), (15, 10)])
def test_looks_must_rise(plan: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rising"):
        look_levels(plan, 0.05)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 5.0])
def test_the_error_must_be_a_probability(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        look_levels(LOOKS, alpha)


@given(log_ratios, plans)
def test_the_first_look_that_settles_decides(values: list[float], plan: list[int]) -> None:
    levels = look_levels(plan, 0.05)
    reached = [
        (rounds, judge(values[:rounds], confidence=1 - level))
        for rounds, level in zip(plan, levels, strict=True)
        if rounds <= len(values)
    ]
    settled = [each for each in reached if each[1].verdict is not Verdict.INCONCLUSIVE]
    outcome = judge_at_looks(values, plan)
    assert outcome.settled == bool(settled)
    if settled:
        assert (outcome.rounds, outcome.judgement, outcome.next_look) == (*settled[0], None)
    elif reached:
        assert (outcome.rounds, outcome.judgement) == reached[-1]
    else:
        assert (outcome.rounds, outcome.judgement) == (0, None)
    if not settled:
        assert outcome.next_look == next((each for each in plan if each > len(values)), None)


@given(log_ratios, plans, st.lists(st.floats(-1, 1), max_size=9))
def test_measuring_on_does_not_change_a_settled_answer(
    values: list[float], plan: list[int], more: list[float]
) -> None:
    outcome = judge_at_looks(values, plan)
    if outcome.settled or outcome.next_look is None:
        assert judge_at_looks([*values, *more], plan) == outcome


@given(log_ratios, plans)
def test_nothing_is_judged_between_looks(values: list[float], plan: list[int]) -> None:
    last = max((each for each in plan if each <= len(values)), default=0)
    assert judge_at_looks(values, plan) == judge_at_looks(values[:last], plan)


def test_a_clear_difference_is_settled_at_the_first_look() -> None:
    slower = [math.log(1.10) + 1e-4 * place for place in range(10)]
    assert judge_at_looks(slower[:9], LOOKS) == looks.LookOutcome(None, 0, 10)
    outcome = judge_at_looks(slower, LOOKS)
    assert outcome.judgement is not None
    assert outcome.judgement.verdict is Verdict.SLOWER
    assert (outcome.rounds, outcome.next_look) == (10, None)


def test_an_unclear_one_is_looked_at_until_the_end() -> None:
    noisy = [0.03 * (-1) ** place * (1 + place / 50) for place in range(20)]
    nexts = [judge_at_looks(noisy[:rounds], LOOKS).next_look for rounds in (0, 9, 10, 14, 15, 20)]
    assert nexts == [10, 10, 15, 15, 20, None]


def test_the_error_over_all_looks_is_the_one_asked_for() -> None:
    # 0.05 and four standard errors.
    assert error_over_looks(LOOKS) <= 0.072
    assert error_over_looks(EVERY_ROUND, trials=400) <= 0.094


def test_sameness_is_not_claimed_too_often_either() -> None:
    """On the margin itself, where it is most likely to be wrong."""
    on_margin = {"truth": math.log(1.02), "margin": 0.02, "spread": 0.006}
    assert error_over_looks(LOOKS, wrong=(Verdict.SAME, Verdict.FASTER), **on_margin) <= 0.072


def test_looking_after_every_round_at_full_error_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The planted fault: each look judges as if it were the only one."""
    monkeypatch.setattr(looks, "look_levels", lambda rounds, alpha: (alpha,) * len(rounds))
    assert error_over_looks(EVERY_ROUND, trials=400) > 0.15
    assert error_over_looks(LOOKS) > 0.072
