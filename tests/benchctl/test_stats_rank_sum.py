"""The rank-sum test against enumeration of all deals, SciPy, and its own promises."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchctl.stats import rank_sum
from benchctl.stats.signed_rank import Alternative

# Multiples of 1/64 in a small range: differences of them are exact in floating point.
exact_numbers = st.integers(-5000, 5000).map(lambda number: number / 64)
samples = st.lists(exact_numbers, min_size=1, max_size=12)
SIZES = [(1, 1), (1, 4), (2, 3), (4, 4), (3, 7), (5, 6)]


def deals(values: list[float], count: int) -> Iterator[tuple[list[float], list[float]]]:
    """Every way to deal values to a sample of `count` and one of the rest."""
    for chosen in itertools.combinations(range(len(values)), count):
        rest = [value for place, value in enumerate(values) if place not in chosen]
        yield [values[place] for place in chosen], rest


def enumerate_tails(count: int, reference_count: int) -> list[Fraction]:
    """P(U <= u) by looking at every deal of distinct values."""
    distinct = [float(value) for value in range(count + reference_count)]
    counts = Counter(
        sum(one > other for one in first for other in second)
        for first, second in deals(distinct, count)
    )
    everything = math.comb(count + reference_count, count)
    running = itertools.accumulate(counts[u] for u in range(count * reference_count + 1))
    return [Fraction(total, everything) for total in running]


def exact_coverage(count: int, reference_count: int, confidence: float) -> Fraction:
    """How often the interval holds 0, over every deal of distinct values."""
    values = [2.0**place for place in range(count + reference_count)]
    held = []
    for first, second in deals(values, count):
        interval = rank_sum.confidence_interval(first, second, confidence)
        assert interval is not None
        held.append(interval[0] <= 0 <= interval[1])
    return Fraction(sum(held), len(held))


@pytest.mark.parametrize(("count", "reference_count"), [*SIZES, (0, 3), (3, 0)])
def test_null_distribution_is_that_of_all_deals(count: int, reference_count: int) -> None:
    tails = rank_sum.positive_pair_tails(count, reference_count)
    expected = [float(each) for each in enumerate_tails(count, reference_count)]
    np.testing.assert_allclose(tails, expected, rtol=1e-13)


def test_null_distribution_of_large_samples_is_symmetric_and_normal_in_the_middle() -> None:
    tails = rank_sum.positive_pair_tails(40, 60)
    assert tails[0] == pytest.approx(1 / math.comb(100, 40), rel=1e-12)
    # P(U <= u) + P(U <= top - u - 1) = 1
    np.testing.assert_allclose(tails[:-1] + tails[-2::-1], 1.0, atol=1e-12)
    deviation = math.sqrt(40 * 60 * 101 / 12)
    normal = scipy_stats.norm.cdf((np.arange(2401) + 0.5 - 1200) / deviation)
    np.testing.assert_allclose(tails, normal, atol=1e-3)


def test_the_null_distribution_is_computed_once_and_cannot_be_changed() -> None:
    tails = rank_sum.positive_pair_tails(7, 9)
    assert rank_sum.positive_pair_tails(9, 7) is tails
    with pytest.raises(ValueError, match="read-only"):
        tails[0] = 1.0


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize(("count", "reference_count"), [*SIZES, (6, 20), (25, 30)])
def test_p_value_is_that_of_scipy(
    count: int, reference_count: int, alternative: Alternative
) -> None:
    rng = np.random.default_rng([count, reference_count])
    for shift in (0.0, 0.3, -1.5):
        first = rng.normal(shift, 1.0, count)
        second = rng.normal(0.0, 1.0, reference_count)
        oracle = scipy_stats.mannwhitneyu(first, second, alternative=alternative, method="exact")
        assert rank_sum.p_value(first, second, alternative) == pytest.approx(
            oracle.pvalue, rel=1e-10
        )


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95])
@pytest.mark.parametrize(("count", "reference_count"), [(4, 4), (3, 7), (5, 6)])
def test_coverage_over_all_deals_is_enough_and_no_more(
    count: int, reference_count: int, confidence: float
) -> None:
    coverage = exact_coverage(count, reference_count, confidence)
    assert float(coverage) >= confidence
    # One rank further in would be too narrow: a k that is too small is caught here.
    tails = enumerate_tails(count, reference_count)
    k = rank_sum.interval_rank(count, reference_count, confidence)
    assert coverage == 1 - 2 * tails[k - 1]
    assert 1 - 2 * tails[k] < confidence


@pytest.mark.parametrize("fault", [1, -1])
def test_coverage_catches_a_rank_off_by_one(monkeypatch: pytest.MonkeyPatch, fault: int) -> None:
    right = rank_sum.interval_rank
    best = exact_coverage(5, 6, 0.9)
    monkeypatch.setattr(rank_sum, "interval_rank", lambda m, n, c: right(m, n, c) + fault)
    coverage = exact_coverage(5, 6, 0.9)
    assert coverage != best
    assert (coverage < 0.9) == (fault == 1)


def test_coverage_of_two_simulated_runs_is_that_of_the_null() -> None:
    rng = np.random.default_rng(20)
    trials, count, reference_count = 3000, 10, 12
    k = rank_sum.interval_rank(count, reference_count, 0.95)
    expected = 1 - 2 * rank_sum.positive_pair_tails(count, reference_count)[k - 1]
    held = 0
    for _ in range(trials):
        first = rng.laplace(0.7, 0.02, count)
        second = rng.laplace(0.0, 0.02, reference_count)
        interval = rank_sum.confidence_interval(first, second)
        assert interval is not None
        held += interval[0] <= 0.7 <= interval[1]
    # Four standard errors: fails once in 16,000 seeds, and this seed is fixed.
    assert abs(held / trials - expected) < 4 * math.sqrt(expected * (1 - expected) / trials)
    assert 0.935 <= held / trials <= 0.97


@pytest.mark.parametrize(
    ("count", "reference_count", "confidence", "enough"),
    [
        (3, 3, 0.95, False),
        (4, 4, 0.95, True),
        (3, 5, 0.95, True),
        (2, 7, 0.95, False),
        # Two deals in twenty: 90 % exactly.
        (3, 3, 0.9, True),
    ],
)
def test_too_few_values_give_no_interval(
    count: int, reference_count: int, confidence: float, enough: bool
) -> None:
    first = [10.0 * value for value in range(count)]
    second = [float(value) for value in range(reference_count)]
    interval = rank_sum.confidence_interval(first, second, confidence)
    # The fewest values that give one at all give the whole range.
    whole = (first[0] - second[-1], first[-1] - second[0])
    assert interval == (whole if enough else None)


def test_no_values() -> None:
    assert rank_sum.confidence_interval([], [1.0, 2.0]) is None
    assert rank_sum.p_value([], [1.0]) == 1.0
    with pytest.raises(ValueError, match="at least one value"):
        rank_sum.hodges_lehmann_shift([1.0], [])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        rank_sum.hodges_lehmann_shift([1.0, bad], [1.0])
    with pytest.raises(ValueError, match="finite"):
        rank_sum.p_value([1.0], [bad])


def test_senseless_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        rank_sum.confidence_interval([1.0] * 9, [2.0] * 9, 95.0)
    with pytest.raises(ValueError, match="two-sided, greater or less"):
        rank_sum.p_value([1.0], [2.0], "more")  # type: ignore[arg-type]


@given(samples, samples)
def test_estimate_and_interval_are_order_statistics_of_the_differences(
    first: list[float], second: list[float]
) -> None:
    differences = sorted(one - other for one in first for other in second)
    assert rank_sum.hodges_lehmann_shift(first, second) == np.median(differences)
    interval = rank_sum.confidence_interval(first, second, 0.8)
    if math.comb(len(first) + len(second), len(first)) <= 1000:
        k = sum(tail <= Fraction(1, 10) for tail in enumerate_tails(len(first), len(second)))
        assert interval == ((differences[k - 1], differences[-k]) if k else None)


@given(samples, samples, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_interval_excludes_zero_exactly_when_the_test_rejects(
    first: list[float], second: list[float], confidence: float
) -> None:
    """Also with ties, which small whole numbers are full of."""
    rounded = [[float(round(value / 20)) for value in each] for each in (first, second)]
    for one, other in ((first, second), rounded):
        interval = rank_sum.confidence_interval(one, other, confidence)
        rejected = rank_sum.p_value(one, other) <= (1 - confidence) * (1 + 1e-12)
        assert rejected == (interval is not None and not interval[0] <= 0 <= interval[1])


@given(st.lists(st.integers(0, 3).map(float), min_size=2, max_size=9), st.data())
@settings(max_examples=60)
def test_ties_never_reject_too_often(values: list[float], data: st.DataObject) -> None:
    """Over all deals of tied values, P(p <= alpha) is at most alpha."""
    count = data.draw(st.integers(1, len(values) - 1))
    for alternative in ("two-sided", "greater", "less"):
        p_values = [rank_sum.p_value(*deal, alternative) for deal in deals(values, count)]
        for alpha in (0.05, 0.1, 0.25, 0.5):
            assert sum(p <= alpha for p in p_values) <= alpha * len(p_values)


@given(samples, samples)
def test_swapping_the_samples_mirrors_everything(first: list[float], second: list[float]) -> None:
    shift = rank_sum.hodges_lehmann_shift(first, second)
    assert rank_sum.hodges_lehmann_shift(second, first) == -shift
    assert rank_sum.p_value(second, first) == rank_sum.p_value(first, second)
    assert rank_sum.p_value(second, first, "less") == rank_sum.p_value(first, second, "greater")
    interval = rank_sum.confidence_interval(first, second)
    mirrored = rank_sum.confidence_interval(second, first)
    assert mirrored == (interval and (-interval[1], -interval[0]))


@given(samples, samples, st.sampled_from([0.25, 2.0, 8.0]), st.integers(-64, 64))
def test_scale_and_shift_move_the_interval_with_them(
    first: list[float], second: list[float], scale: float, shift: int
) -> None:
    moved = [scale * value + shift for value in first]
    scaled = [scale * value for value in second]
    expected = scale * rank_sum.hodges_lehmann_shift(first, second) + shift
    assert rank_sum.hodges_lehmann_shift(moved, scaled) == expected
    interval = rank_sum.confidence_interval(first, second)
    assert rank_sum.confidence_interval(moved, scaled) == (
        interval and (scale * interval[0] + shift, scale * interval[1] + shift)
    )


@given(samples, samples, st.randoms(use_true_random=False))
def test_order_does_not_matter(first: list[float], second: list[float], source) -> None:
    shuffled = list(first)
    source.shuffle(shuffled)
    for answer in (
        rank_sum.hodges_lehmann_shift,
        rank_sum.p_value,
        rank_sum.confidence_interval,
    ):
        assert answer(shuffled, second) == answer(first, second)
