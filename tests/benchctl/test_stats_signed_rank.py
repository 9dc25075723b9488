"""The signed-rank test against enumeration of all signs, SciPy, and its own promises."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchctl.stats import signed_rank

# Multiples of 1/64 in a small range: sums and differences of them are exact in floating point.
exact_values = st.lists(
    st.integers(-5000, 5000).map(lambda number: number / 64), min_size=1, max_size=25
)


def enumerate_tails(count: int) -> list[Fraction]:
    """P(W+ <= w) by looking at every one of the 2**count signs."""
    sums = Counter(
        sum(rank for rank, sign in enumerate(signs, start=1) if sign)
        for signs in itertools.product((False, True), repeat=count)
    )
    total = 0
    tails = []
    for rank_sum in range(count * (count + 1) // 2 + 1):
        total += sums[rank_sum]
        tails.append(Fraction(total, 2**count))
    return tails


def walsh_by_hand(values: list[float]) -> list[float]:
    return sorted(
        (first + second) / 2 for first, second in itertools.combinations_with_replacement(values, 2)
    )


def exact_coverage(count: int, confidence: float) -> Fraction:
    """How often the interval holds 0, over every choice of signs of distinct magnitudes."""
    magnitudes = [2.0**place for place in range(count)]
    held = 0
    for signs in itertools.product((-1.0, 1.0), repeat=count):
        values = [sign * size for sign, size in zip(signs, magnitudes, strict=True)]
        interval = signed_rank.confidence_interval(values, confidence)
        assert interval is not None
        held += interval[0] <= 0 <= interval[1]
    return Fraction(held, 2**count)


@pytest.mark.parametrize("count", range(13))
def test_null_distribution_is_that_of_all_signs(count: int) -> None:
    tails = signed_rank.rank_sum_tails(count)
    assert tails.tolist() == [float(tail) for tail in enumerate_tails(count)]


def test_null_distribution_of_200_values_is_symmetric_and_normal_in_the_middle() -> None:
    tails = signed_rank.rank_sum_tails(200)
    top = 200 * 201 // 2
    assert tails[0] == 0.5**200
    # P(W+ <= w) + P(W+ <= top - w - 1) = 1
    np.testing.assert_allclose(tails[:-1] + tails[-2::-1], 1.0, atol=1e-12)
    deviation = math.sqrt(200 * 201 * 401 / 24)
    normal = scipy_stats.norm.cdf((np.arange(top + 1) + 0.5 - top / 2) / deviation)
    np.testing.assert_allclose(tails, normal, atol=5e-4)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("count", [1, 2, 5, 6, 11, 20, 40])
def test_p_value_is_that_of_scipy(count: int, alternative: signed_rank.Alternative) -> None:
    rng = np.random.default_rng(count)
    for shift in (0.0, 0.3, -1.0):
        values = rng.normal(shift, 1.0, count)
        expected = scipy_stats.wilcoxon(values, alternative=alternative, method="exact").pvalue
        assert signed_rank.p_value(values, alternative) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [8, 9, 10])
def test_coverage_over_all_signs_is_enough_and_no_more(count: int, confidence: float) -> None:
    coverage = exact_coverage(count, confidence)
    assert coverage >= confidence
    # One rank further in would be too narrow: a k that is too small is caught here.
    tails = enumerate_tails(count)
    k = signed_rank.interval_rank(count, confidence)
    assert coverage == 1 - 2 * tails[k - 1]
    assert 1 - 2 * tails[k] < confidence


@pytest.mark.parametrize("fault", [1, -1])
def test_coverage_catches_a_rank_off_by_one(monkeypatch: pytest.MonkeyPatch, fault: int) -> None:
    right = signed_rank.interval_rank
    monkeypatch.setattr(signed_rank, "interval_rank", lambda n, c: right(n, c) + fault)
    coverage = exact_coverage(9, 0.95)
    best = 1 - 2 * enumerate_tails(9)[right(9, 0.95) - 1]
    assert coverage != best
    assert (coverage < 0.95) == (fault == 1)


def test_coverage_of_simulated_rounds_is_that_of_the_null() -> None:
    rng = np.random.default_rng(20)
    trials, count = 4000, 12
    k = signed_rank.interval_rank(count, 0.95)
    expected = float(1 - 2 * enumerate_tails(count)[k - 1])
    held = 0
    for values in rng.laplace(0.7, 0.02, (trials, count)):
        interval = signed_rank.confidence_interval(values)
        assert interval is not None
        held += interval[0] <= 0.7 <= interval[1]
    # Four standard errors: fails once in 16,000 seeds, and this seed is fixed.
    error = math.sqrt(expected * (1 - expected) / trials)
    assert abs(held / trials - expected) < 4 * error
    assert 0.935 <= held / trials <= 0.97


@pytest.mark.parametrize(
    ("confidence", "fewest"),
    [(0.8, 4), (0.9, 5), (0.95, 6), (1 - 2 / 64, 6), (0.99, 8), (0.999, 11)],
)
def test_too_few_values_give_no_interval(confidence: float, fewest: int) -> None:
    values = [float(value) for value in range(fewest)]
    assert signed_rank.confidence_interval(values[:-1], confidence) is None
    # The fewest values that do give the whole range.
    assert signed_rank.confidence_interval(values, confidence) == (values[0], values[-1])


def test_no_values() -> None:
    assert signed_rank.confidence_interval([]) is None
    assert signed_rank.p_value([]) == 1.0
    with pytest.raises(ValueError, match="at least one value"):
        signed_rank.hodges_lehmann([])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        signed_rank.hodges_lehmann([1.0, bad])


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_must_be_a_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        signed_rank.confidence_interval([1.0] * 9, confidence)


@given(exact_values)
def test_estimate_and_interval_are_order_statistics_of_the_walsh_averages(
    values: list[float],
) -> None:
    averages = walsh_by_hand(values)
    assert signed_rank.hodges_lehmann(values) == np.median(averages)
    interval = signed_rank.confidence_interval(values, 0.8)
    k = sum(tail <= Fraction(1, 10) for tail in enumerate_tails(min(len(values), 12)))
    if len(values) <= 12:
        assert interval == ((averages[k - 1], averages[-k]) if k else None)


@given(exact_values, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_interval_excludes_zero_exactly_when_the_test_rejects(
    values: list[float], confidence: float
) -> None:
    """Also with ties and zeros, which small whole numbers are full of."""
    rounded = [float(round(value / 20)) for value in values]
    for each in (values, rounded):
        interval = signed_rank.confidence_interval(each, confidence)
        rejected = signed_rank.p_value(each) <= 1 - confidence
        assert rejected == (interval is not None and not interval[0] <= 0 <= interval[1])


@given(st.lists(st.integers(0, 3).map(float), min_size=1, max_size=9))
@settings(max_examples=60)
def test_ties_and_zeros_never_reject_too_often(magnitudes: list[float]) -> None:
    """Over all signs of tied magnitudes, P(p <= alpha) is at most alpha."""
    p_values = [
        signed_rank.p_value([sign * size for sign, size in zip(signs, magnitudes, strict=True)])
        for signs in itertools.product((-1.0, 1.0), repeat=len(magnitudes))
    ]
    for alpha in (0.05, 0.1, 0.25, 0.5):
        assert sum(p <= alpha for p in p_values) <= alpha * len(p_values)


@given(exact_values)
def test_swapping_the_arms_mirrors_everything(values: list[float]) -> None:
    mirrored = [-value for value in values]
    assert signed_rank.hodges_lehmann(mirrored) == -signed_rank.hodges_lehmann(values)
    assert signed_rank.p_value(mirrored) == signed_rank.p_value(values)
    assert signed_rank.p_value(mirrored, "less") == signed_rank.p_value(values, "greater")
    interval = signed_rank.confidence_interval(values)
    assert signed_rank.confidence_interval(mirrored) == (interval and (-interval[1], -interval[0]))


@given(exact_values, st.sampled_from([0.25, 2.0, 8.0]), st.integers(-64, 64))
def test_scale_and_shift_move_the_interval_with_them(
    values: list[float], scale: float, shift: int
) -> None:
    moved = [scale * value + shift for value in values]
    assert signed_rank.hodges_lehmann(moved) == scale * signed_rank.hodges_lehmann(values) + shift
    interval = signed_rank.confidence_interval(values)
    assert signed_rank.confidence_interval(moved) == (
        interval and (scale * interval[0] + shift, scale * interval[1] + shift)
    )
    scaled = [scale * value for value in values]
    assert signed_rank.p_value(scaled) == signed_rank.p_value(values)


@given(exact_values, st.randoms(use_true_random=False))
def test_order_does_not_matter(values: list[float], source) -> None:
    shuffled = list(values)
    source.shuffle(shuffled)
    assert signed_rank.hodges_lehmann(shuffled) == signed_rank.hodges_lehmann(values)
    assert signed_rank.p_value(shuffled) == signed_rank.p_value(values)
    assert signed_rank.confidence_interval(shuffled) == signed_rank.confidence_interval(values)
