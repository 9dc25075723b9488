"""The geometric mean over cases: what it is, and how often its interval holds the truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchctl.stats import geometric_mean as module
from benchctl.stats.geometric_mean import GeometricMean, geometric_mean, student_quantile
from benchctl.stats.signed_rank import hodges_lehmann

Cases = list[Mapping[int, float]]

case_of_rounds = st.dictionaries(
    st.integers(0, 20), st.integers(-2000, 2000).map(lambda number: number / 8192), min_size=1
)
case_lists = st.lists(case_of_rounds, min_size=1, max_size=4)
EFFECTS = np.log([0.6, 0.9, 1.0, 1.5])
TRUTH = math.exp(float(np.mean(EFFECTS)))


def correlated_cases(
    rng: np.random.Generator, rounds: int, shared: float = 0.015, stall_share: float = 0.05
) -> Cases:
    """Four cases with noise of their own and with noise that a round's cases share."""
    shape = (len(EFFECTS), rounds)
    stalls = rng.uniform(0.1, 0.26, shape) * rng.choice((-1, 1), shape)
    values = EFFECTS[:, None] + rng.normal(0, 0.015, shape) + shared * rng.standard_normal(rounds)
    values += stalls * (rng.random(shape) < stall_share)
    return [dict(enumerate(case)) for case in values.tolist()]


def bounds(mean: GeometricMean) -> tuple[float, float]:
    assert mean.low is not None
    assert mean.high is not None
    return mean.low, mean.high


def coverage(
    make_cases: Callable[[np.random.Generator], Cases], trials: int, resamples: int = 300
) -> float:
    """How often the interval holds the true geometric mean."""
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(trials):
        mean = geometric_mean(make_cases(rng), resamples=resamples, seed=seed)
        low, high = bounds(mean)
        held += low <= TRUTH <= high
    return held / trials


@given(case_lists)
@settings(max_examples=50)
def test_estimate_is_the_geometric_mean_of_the_cases_ratios(cases: Cases) -> None:
    product = math.prod(math.exp(hodges_lehmann(list(case.values()))) for case in cases)
    mean = geometric_mean(cases, resamples=20)
    assert mean.ratio == pytest.approx(product ** (1 / len(cases)), rel=1e-12)
    assert mean.cases == len(cases)
    assert mean.rounds == min(len(case) for case in cases)


@pytest.mark.parametrize(("confidence", "fewest"), [(0.9, 5), (0.95, 6), (0.99, 8)])
def test_too_few_rounds_give_no_interval(confidence: float, fewest: int) -> None:
    rng = np.random.default_rng(1)
    enough = correlated_cases(rng, fewest)
    low, high = bounds(geometric_mean(enough, confidence))
    assert low < geometric_mean(enough, confidence).ratio < high
    # One case with too few is enough to spoil it.
    short = dict(list(enough[2].items())[1:])
    mean = geometric_mean([*enough[:2], short, enough[3]], confidence)
    assert (mean.low, mean.high, mean.rounds) == (None, None, fewest - 1)


def test_the_same_seed_gives_the_same_interval() -> None:
    cases = correlated_cases(np.random.default_rng(2), 12)
    assert geometric_mean(cases, seed=3) == geometric_mean(cases, seed=3)
    first, second = (bounds(geometric_mean(cases, seed=seed)) for seed in (3, 4))
    assert first != second
    # Resampling more often would hardly change it.
    assert math.log(first[1]) == pytest.approx(math.log(second[1]), abs=1.5e-3)


@pytest.mark.parametrize("rounds", [9, 16])
def test_swapping_the_arms_inverts_the_interval(rounds: int) -> None:
    cases = correlated_cases(np.random.default_rng(rounds), rounds)
    low, high = bounds(geometric_mean(cases))
    mirrored = [{number: -value for number, value in case.items()} for case in cases]
    assert bounds(geometric_mean(mirrored)) == pytest.approx((1 / high, 1 / low), rel=1e-12)


def test_order_of_cases_and_rounds_does_not_matter() -> None:
    cases = correlated_cases(np.random.default_rng(6), 10)
    shuffled = [dict(reversed(case.items())) for case in reversed(cases)]
    assert bounds(geometric_mean(shuffled)) == pytest.approx(bounds(geometric_mean(cases)))


def test_a_case_counts_alike_however_long_it_takes() -> None:
    """Moving one case by a factor moves the mean by its root, and not the width."""
    cases = correlated_cases(np.random.default_rng(7), 10)
    moved = [{number: value + math.log(16) for number, value in cases[0].items()}, *cases[1:]]
    before, after = geometric_mean(cases), geometric_mean(moved)
    assert after.ratio == pytest.approx(2 * before.ratio)
    assert bounds(after) == pytest.approx(tuple(2 * each for each in bounds(before)))


@pytest.mark.parametrize("bad", [[], [{0: 0.1}, {}]])
def test_no_rounds_are_refused(bad: Cases) -> None:
    with pytest.raises(ValueError, match="at least one case"):
        geometric_mean(bad)


def test_senseless_values_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        geometric_mean([{0: 0.0, 1: math.nan}])
    with pytest.raises(ValueError, match="between 0 and 1"):
        geometric_mean([{0: 0.0}], confidence=95)


@pytest.mark.parametrize("probability", [0.9, 0.95, 0.975, 0.995])
@pytest.mark.parametrize("degrees_of_freedom", [5, 6, 9, 14, 29, 100])
def test_student_quantile_is_that_of_scipy(probability: float, degrees_of_freedom: int) -> None:
    expected = scipy_stats.t.ppf(probability, degrees_of_freedom)
    assert student_quantile(probability, degrees_of_freedom) == pytest.approx(expected, rel=3e-3)


@pytest.mark.parametrize("rounds", [4, 5])
def test_signs_are_drawn_a_round_for_all_cases(rounds: int) -> None:
    """Against every pattern of signs, each as likely as any other."""
    rng = np.random.default_rng(8)
    one, other = (dict(enumerate(rng.normal(0, 1, rounds).tolist())) for _ in range(2))
    del other[1]
    patterns = itertools.product((-1, 1), repeat=rounds)
    expected = sorted(
        sum(
            hodges_lehmann([signs[number] * value for number, value in case.items()])
            for case in (one, other)
        )
        / 2
        for signs in patterns
    )
    drawn = module.resampled_estimates([one, other], 3000 * 2**rounds, np.random.default_rng(9))
    values, counts = np.unique(np.round(drawn, 9), return_counts=True)
    distinct, expected_counts = np.unique(np.round(expected, 9), return_counts=True)
    assert values == pytest.approx(distinct)
    # 3000 expected of each pattern, standard deviation 55.
    assert np.all(np.abs(counts - 3000 * expected_counts) < 300 * expected_counts)


@pytest.mark.parametrize(("rounds", "trials"), [(10, 1000), (20, 600), (30, 400)])
def test_interval_covers_what_it_promises(rounds: int, trials: int) -> None:
    share = coverage(lambda rng: correlated_cases(rng, rounds), trials)
    # 93.5 to 97 % and two standard errors.
    error = math.sqrt(0.05 * 0.95 / trials)
    assert 0.935 - 2 * error <= share <= 0.97 + 2 * error


def test_interval_covers_where_cases_have_different_rounds() -> None:
    def make_cases(rng: np.random.Generator) -> Cases:
        cases = correlated_cases(rng, 24)
        kept = (range(24), range(24), range(12), range(6, 24))
        return [{n: case[n] for n in numbers} for case, numbers in zip(cases, kept, strict=True)]

    assert 0.925 <= coverage(make_cases, 500) <= 0.98


def test_coverage_catches_cases_that_are_resampled_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The planted fault: what a round's cases share averages out, as if it were small."""
    together = module.resampled_estimates

    def apart(deviations, resamples, rng):
        return np.mean([together([case], resamples, rng) for case in deviations], axis=0)

    monkeypatch.setattr(module, "resampled_estimates", apart)
    assert coverage(lambda rng: correlated_cases(rng, 10, shared=0.03), 300) < 0.85


def test_coverage_catches_an_interval_without_corrections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: the normal quantile, as if the spread of six rounds were known."""
    monkeypatch.setattr(module, "student_quantile", lambda p, n: NormalDist().inv_cdf(p))
    assert coverage(lambda rng: correlated_cases(rng, 6), 1000) < 0.925


def test_percentiles_of_few_rounds_cover_too_little() -> None:
    """Why the interval is not the usual one: percentiles of rounds drawn with replacement."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(600):
        cases = correlated_cases(rng, 8, stall_share=0.0)
        # (cases, rounds) to (resamples, cases, rounds)
        values = np.array([list(case.values()) for case in cases])
        drawn = values[:, rng.integers(8, size=(300, 8))]
        low, high = np.quantile(drawn.mean(axis=(0, 2)), (0.025, 0.975))
        held += low <= math.log(TRUTH) <= high
    assert held / 600 < 0.92
