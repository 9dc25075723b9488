"""Holm's correction, and whether planned rounds give the power they promise."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchctl.stats.multiplicity import holm
from benchctl.stats.planner import minimum_rounds, more_rounds, robust_spread, rounds_needed
from benchctl.stats.signed_rank import confidence_interval, p_value
from benchctl.stats.verdict import Verdict, judge

p_value_lists = st.lists(st.floats(0, 1), max_size=6)


def closed_bonferroni(p_values: list[float]) -> list[float]:
    """The largest Bonferroni p-value over every subset that holds the hypothesis."""
    everything = range(len(p_values))
    subsets = [
        subset
        for size in range(1, len(p_values) + 1)
        for subset in itertools.combinations(everything, size)
    ]
    return [
        max(
            min(1.0, len(subset) * min(p_values[each] for each in subset))
            for subset in subsets
            if index in subset
        )
        for index in everything
    ]


@given(p_value_lists)
def test_holm_is_the_closed_bonferroni_test(p_values: list[float]) -> None:
    assert holm(p_values) == closed_bonferroni(p_values)


@given(p_value_lists, st.randoms(use_true_random=False))
def test_holm_keeps_the_order_given(p_values: list[float], source) -> None:
    order = list(range(len(p_values)))
    source.shuffle(order)
    shuffled = holm([p_values[index] for index in order])
    assert shuffled == [holm(p_values)[index] for index in order]


@pytest.mark.parametrize("comparisons", [1, 2, 3, 12])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_minimum_rounds_is_where_rejecting_begins(confidence: float, comparisons: int) -> None:
    fewest = minimum_rounds(confidence, comparisons)

    def smallest_adjusted(rounds: int) -> float:
        return holm([p_value([1.0 + each for each in range(rounds)])] + [1.0] * (comparisons - 1))[
            0
        ]

    assert smallest_adjusted(fewest) <= 1 - confidence
    assert smallest_adjusted(fewest - 1) > 1 - confidence


def test_the_gate_needs_eleven_rounds_for_twelve_cases() -> None:
    assert minimum_rounds(0.99, 12, sides=1) == 11


def test_one_comparison_needs_as_many_rounds_as_an_interval() -> None:
    for confidence in (0.8, 0.9, 0.95, 0.99):
        fewest = minimum_rounds(confidence)
        assert confidence_interval([1.0] * fewest, confidence) is not None
        assert confidence_interval([1.0] * (fewest - 1), confidence) is None


def share_of_verdict(effect: float, spread: float, rounds: int, wanted: Verdict) -> float:
    rng = np.random.default_rng(3)
    trials = 400
    return (
        sum(judge(rng.normal(effect, spread, rounds)).verdict is wanted for _ in range(trials))
        / trials
    )


@pytest.mark.parametrize(
    ("effect", "spread", "wanted"),
    [
        (math.log(1.05), 0.02, Verdict.SLOWER),
        (math.log(0.93), 0.03, Verdict.FASTER),
        (0.0, 0.02, Verdict.SAME),
        (0.005, 0.015, Verdict.SAME),
    ],
)
def test_planned_rounds_have_the_power_they_promise(
    effect: float, spread: float, wanted: Verdict
) -> None:
    rounds = rounds_needed(effect, spread, power=0.9)
    assert rounds is not None
    # 0.9 less four standard errors of 400 trials; half the rounds must not be enough.
    assert share_of_verdict(effect, spread, rounds, wanted) >= 0.84
    assert share_of_verdict(effect, spread, rounds // 2, wanted) < 0.84


def test_an_effect_on_the_margin_is_never_settled() -> None:
    assert rounds_needed(math.log(1.02), 0.02, margin=0.02) is None
    assert more_rounds([0.0, 0.1], -math.log(1.02), margin=0.02) is None


@given(st.floats(-0.5, 0.5), st.floats(0, 0.2), st.floats(1.1, 4))
def test_more_noise_never_needs_fewer_rounds(effect: float, spread: float, factor: float) -> None:
    quiet, noisy = rounds_needed(effect, spread), rounds_needed(effect, spread * factor)
    assert (quiet is None) == (noisy is None)
    if quiet is not None and noisy is not None:
        assert minimum_rounds() <= quiet <= noisy


def test_more_rounds_is_what_is_missing() -> None:
    values = [0.03 + 0.01 * place for place in (-2, -1, 0, 1, 2, 3)]
    needed = rounds_needed(0.03, robust_spread(values))
    assert needed is not None
    assert more_rounds(values, 0.03) == max(1, needed - 6)


def test_robust_spread_is_the_standard_deviation_and_deaf_to_spikes() -> None:
    values = np.random.default_rng(1).normal(0, 0.25, 4000)
    assert robust_spread(values) == pytest.approx(0.25, rel=0.05)
    spiked = values.copy()
    spiked[:100] += 50
    assert robust_spread(spiked) == pytest.approx(0.25, rel=0.1)
    assert robust_spread([1.0]) == 0.0
