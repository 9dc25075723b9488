"""Verdicts: what each needs, and how often they are wrong when nothing differs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.stats import verdict
from benchctl.stats.signed_rank import confidence_interval
from benchctl.stats.verdict import Verdict, judge

log_ratios = st.lists(
    st.integers(-2000, 2000).map(lambda number: number / 8192), min_size=1, max_size=20
)


def rounds_at(percent: float, count: int = 12, spread: float = 1e-4) -> list[float]:
    """Log ratios close around a difference of so many percent."""
    return [
        math.log1p(percent / 100) + spread * (place - (count - 1) / 2) for place in range(count)
    ]


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (5, Verdict.SLOWER),
        (2.5, Verdict.SLOWER),
        (1.5, Verdict.SAME),
        (0, Verdict.SAME),
        (-1.5, Verdict.SAME),
        (-2.5, Verdict.FASTER),
        (-50, Verdict.FASTER),
    ],
)
def test_quiet_rounds_are_judged_by_the_margin(percent: float, expected: Verdict) -> None:
    judgement = judge(rounds_at(percent))
    assert judgement.verdict is expected
    assert math.exp(judgement.estimate) == pytest.approx(1 + percent / 100, rel=1e-6)


@pytest.mark.parametrize("percent", [0, 1.5, 3])
def test_noisy_rounds_are_inconclusive(percent: float) -> None:
    assert judge(rounds_at(percent, spread=0.02)).verdict is Verdict.INCONCLUSIVE


def test_few_rounds_are_inconclusive_without_interval() -> None:
    judgement = judge(rounds_at(50, count=5))
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.low is None
    assert judgement.high is None
    assert judgement.estimate == pytest.approx(math.log(1.5))


def test_same_is_two_one_sided_tests_at_the_error_of_the_verdict() -> None:
    """At ten rounds with this spread 90 % fits inside the margin and 95 % does not."""
    values = rounds_at(0, count=10, spread=0.0080)
    ninety, ninety_five = confidence_interval(values, 0.90), confidence_interval(values, 0.95)
    assert ninety is not None
    assert ninety_five is not None
    assert ninety[1] < math.log(1.02) < ninety_five[1]
    assert judge(values, confidence=0.95).verdict is Verdict.SAME
    assert judge(values, confidence=0.99).verdict is Verdict.INCONCLUSIVE


@given(log_ratios)
def test_swapping_the_arms_swaps_the_verdict(values: list[float]) -> None:
    opposite = {Verdict.FASTER: Verdict.SLOWER, Verdict.SLOWER: Verdict.FASTER}
    first, second = judge(values), judge([-value for value in values])
    assert second.verdict is opposite.get(first.verdict, first.verdict)
    assert second.estimate == -first.estimate
    assert second.p_value == first.p_value


@given(log_ratios, st.floats(0, 0.2), st.floats(0, 0.2))
def test_a_wider_margin_never_claims_more(values: list[float], one: float, two: float) -> None:
    narrow, wide = sorted((one, two))
    if judge(values, margin=wide).verdict in (Verdict.FASTER, Verdict.SLOWER):
        assert judge(values, margin=narrow).verdict is judge(values, margin=wide).verdict
    if judge(values, margin=narrow).verdict is Verdict.SAME:
        assert judge(values, margin=wide).verdict is Verdict.SAME


def false_alarms(trials: int = 2000) -> float:
    """How often two equal arms are told apart, with noise and spikes on either."""
    rng = np.random.default_rng(8)
    spikes = rng.exponential(0.1, (trials, 14, 2)) * (rng.random((trials, 14, 2)) < 0.05)
    times = rng.normal(0, 0.015, (trials, 14, 2)) + spikes
    verdicts = [judge(each[:, 0] - each[:, 1], margin=0.0).verdict for each in times]
    return sum(each in (Verdict.FASTER, Verdict.SLOWER) for each in verdicts) / trials


def test_equal_arms_are_rarely_told_apart() -> None:
    assert false_alarms() <= 0.06


def test_false_alarms_catch_an_interval_that_is_too_narrow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The planted fault: an interval from the quartiles of the rounds."""

    def quartiles(values, confidence):
        return tuple(np.quantile(values, (0.25, 0.75)))

    monkeypatch.setattr(verdict, "confidence_interval", quartiles)
    assert false_alarms() > 0.06


@pytest.mark.parametrize(("margin", "confidence"), [(-0.1, 0.95), (0.02, 0.4), (0.02, 1.0)])
def test_senseless_settings_are_refused(margin: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        judge([0.0] * 9, margin=margin, confidence=confidence)
