"""Change points: planted steps found, quiet and remembering noise left alone."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl.reliability.noise import autoregressive_series
from benchctl.stats import change_points
from benchctl.stats.change_points import (
    FEWEST_POINTS,
    autocorrelation,
    find_change_points,
    newest_suspected,
    step_scores,
    winsorise,
)
from benchctl.stats.verdict import Verdict

STEP = math.log(1.05)

value_lists = st.lists(
    st.integers(-4000, 4000).map(lambda number: number / 8192), min_size=0, max_size=40
)


def quiet_history(
    seed: int, points: int = 100, rho: float = 0.0, spike_share: float = 0.0
) -> np.ndarray:
    """ln(seconds) around 1 ms with a spread of 2 %."""
    rng = np.random.default_rng([seed, points])
    noise = rng.standard_normal(points)
    for place in range(1, points):
        noise[place] = rho * noise[place - 1] + math.sqrt(1 - rho**2) * noise[place]
    spikes = rng.uniform(0.1, 0.26, points) * (rng.random(points) < spike_share)
    return math.log(1e-3) + 0.02 * noise + spikes


def with_steps(series: np.ndarray, *steps: tuple[int, float]) -> np.ndarray:
    """A copy that rises by each step from its index on."""
    changed = series.copy()
    for index, size in steps:
        changed[index:] += size
    return changed


def null_share(rho: float, spike_share: float = 0.0, trials: int = 120) -> float:
    """How many histories without a change are said to have one."""
    found = (
        find_change_points(quiet_history(seed, rho=rho, spike_share=spike_share), seed=seed)
        for seed in range(trials)
    )
    return sum(bool(each) for each in found) / trials


MODELS = {"white": (0.0, 0.0), "spikes": (0.0, 0.05), "remembering": (0.5, 0.0)}
every_model = pytest.mark.parametrize(("rho", "spike_share"), MODELS.values(), ids=MODELS)


# Finding changes ------------------------------------------------------------------------------


@every_model
def test_a_quiet_history_has_no_changes(rho: float, spike_share: float) -> None:
    # 5 % and three standard errors of 120 trials.
    assert null_share(rho, spike_share) <= 0.11


def test_noise_that_is_taken_for_independent_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a history that remembers is compared with series that do not."""
    monkeypatch.setattr(change_points, "autocorrelation", lambda series, indices: 0.0)
    assert null_share(0.5) > 0.11


@every_model
def test_a_step_of_five_percent_is_found_where_it_is(rho: float, spike_share: float) -> None:
    near = 0
    for seed in range(120):
        series = with_steps(quiet_history(seed, rho=rho, spike_share=spike_share), (60, STEP))
        near += any(abs(each.index - 60) <= 3 for each in find_change_points(series, seed=seed))
    # 90 % less three standard errors.
    assert near / 120 >= 0.82


def test_a_spike_is_no_step_and_hides_none() -> None:
    series = quiet_history(1)
    series[30] += 1.0
    assert find_change_points(series) == []
    (change,) = find_change_points(with_steps(series, (60, 2 * STEP)))
    assert abs(change.index - 60) <= 1


@pytest.mark.parametrize("size", [STEP, -STEP, math.log(2), -math.log(3)])
def test_index_is_the_first_point_after(size: float) -> None:
    series = with_steps(quiet_history(4) / 1000, (37, size))
    (change,) = find_change_points(series)
    assert change.index == 37
    assert change.effect == pytest.approx(size, abs=1e-3)
    assert change.before == pytest.approx(np.mean(series[:37]), abs=1e-4)
    assert change.after == pytest.approx(np.mean(series[37:]), abs=1e-4)
    assert change.low < change.effect < change.high
    assert change.earliest == change.latest == 37
    assert change.p_value == pytest.approx(1 / 1000)


def test_levels_are_those_between_neighbouring_changes() -> None:
    """Up, further up, down: each change is described without the others' levels in it."""
    quiet = quiet_history(5) / 1000
    series = with_steps(quiet, (25, 0.10), (50, 0.06), (80, -0.20))
    found = find_change_points(series)
    assert [each.index for each in found] == [25, 50, 80]
    assert [each.effect for each in found] == pytest.approx([0.10, 0.06, -0.20], abs=2e-3)
    for earlier, later in pairwise(found):
        assert earlier.after == pytest.approx(later.before)


@pytest.mark.parametrize("index", [5, 95])
def test_five_points_make_a_level_and_four_do_not(index: int) -> None:
    quiet = quiet_history(6) / 1000
    assert [each.index for each in find_change_points(with_steps(quiet, (index, 0.2)))] == [index]
    short = with_steps(quiet, (index, 0.2))
    short = short[1:] if index == 5 else short[:-1]
    assert all(
        FEWEST_POINTS <= each.index <= len(short) - FEWEST_POINTS
        for each in find_change_points(short)
    )


def test_a_change_that_is_too_small_to_matter_is_left_out() -> None:
    series = with_steps(quiet_history(7) / 1000, (50, math.log(1.02)))
    assert find_change_points(series) == []
    (change,) = find_change_points(series, smallest_change=0.01)
    assert change.index == 50


@pytest.mark.parametrize("seed", range(4))
def test_no_change_that_is_reported_is_below_the_smallest(seed: int) -> None:
    """Steps of all sizes and a slow drift, in noise that remembers."""
    sizes = np.random.default_rng(seed).normal(0, 0.05, 5)
    steps = zip((15, 40, 60, 85, 130), sizes, strict=True)
    series = with_steps(quiet_history(seed, points=150, rho=0.3) / 2, *steps)
    found = find_change_points(series + np.linspace(0, 0.05, 150))
    assert all(abs(each.effect) >= math.log(1.03) for each in found)


def test_a_slow_creep_is_no_step() -> None:
    """A limit that the page on reliability names: 30 % slower, and nowhere a change."""
    creep = np.linspace(0, math.log(1.3), 120)
    assert find_change_points(quiet_history(8, points=120) / 20 + creep) == []


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_regression_and_its_repair_are_both_found(rho: float) -> None:
    """Seen as one step with noise around it, each would hide the other."""
    found = 0
    for seed in range(40):
        series = with_steps(quiet_history(seed, rho=rho), (35, 0.1), (70, -0.1))
        changes = find_change_points(series, seed=seed)
        found += len(changes) == 2 and all(
            abs(each.index - place) <= 3 for each, place in zip(changes, (35, 70), strict=True)
        )
    assert found >= 36


def test_a_level_that_comes_and_goes_is_found_each_time() -> None:
    series = quiet_history(12, points=600)
    places = range(50, 600, 50)
    found = find_change_points(with_steps(series, *((i, 0.1 * (-1) ** (i // 50)) for i in places)))
    assert [each.index for each in found] == pytest.approx(list(places), abs=1)


def test_a_single_split_that_takes_other_changes_for_memory_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The planted fault: one change is proposed at a time."""
    series = with_steps(quiet_history(3), (35, 0.1), (70, -0.1))
    assert len(find_change_points(series)) == 2
    propose = change_points.propose_changes
    monkeypatch.setattr(change_points, "propose_changes", lambda series: propose(series)[:1])
    assert find_change_points(series) == []


def test_the_same_seed_finds_the_same_changes() -> None:
    series = with_steps(quiet_history(9, rho=0.5), (60, STEP))
    assert find_change_points(series, seed=1) == find_change_points(series, seed=1)


@given(value_lists)
@settings(max_examples=40, deadline=None)
def test_any_series_gives_ordered_changes_with_room_between(values: list[float]) -> None:
    found = find_change_points(values, simulations=99)
    edges = [0, *(each.index for each in found), len(values)]
    if found:
        assert all(b - a >= FEWEST_POINTS for a, b in pairwise(edges))
    for place, each in enumerate(found):
        assert edges[place] < each.earliest <= each.index <= each.latest < edges[place + 2]
        assert each.p_value <= 0.01
        assert each.low <= each.effect <= each.high
        assert each.effect == pytest.approx(each.after - each.before)


@given(value_lists)
@settings(max_examples=25, deadline=None)
def test_faster_and_slower_are_treated_alike(values: list[float]) -> None:
    found = find_change_points(values, simulations=99)
    mirrored = find_change_points([-value for value in values], simulations=99)
    assert [each.index for each in mirrored] == [each.index for each in found]
    assert [each.effect for each in mirrored] == pytest.approx([-each.effect for each in found])


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 9, [1.0] * 50])
def test_short_and_constant_series_have_no_changes(values: list[float]) -> None:
    assert find_change_points(values) == []


def test_a_step_without_noise_is_found() -> None:
    (change,) = find_change_points([-7.0] * 20 + [-6.9] * 20)
    assert change.index == change.earliest == change.latest == 20
    assert (change.low, change.high) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        find_change_points([0.0] * 20 + [bad])
    with pytest.raises(ValueError, match="finite"):
        newest_suspected([0.0] * 20 + [bad])


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_interval_and_range_hold_the_truth(rho: float) -> None:
    """Of the changes found, which are those that chance made clear: a little less than 95 %."""
    effects, places, found = 0, 0, 0
    for seed in range(150):
        series = with_steps(quiet_history(seed, rho=rho), (60, math.log(1.06)))
        near = [each for each in find_change_points(series, seed=seed) if 45 < each.index < 75]
        for change in near[:1]:
            found += 1
            effects += change.low <= math.log(1.06) <= change.high
            places += change.earliest <= 60 <= change.latest
    assert found > 120
    assert effects / found >= 0.88
    assert places / found >= 0.88


@pytest.mark.parametrize("seed", range(8))
def test_one_step_lies_where_ruptures_puts_it(seed: int) -> None:
    ruptures = pytest.importorskip("ruptures")
    series = with_steps(quiet_history(seed), (20 + 7 * seed, 0.08))
    oracle = ruptures.Dynp(model="l2", min_size=FEWEST_POINTS, jump=1).fit(winsorise(series))
    (change,) = find_change_points(series)
    assert change.index == oracle.predict(n_bkps=1)[0]


# The parts -----------------------------------------------------------------------------------


@given(st.lists(st.integers(-900, 900).map(lambda n: n / 64), min_size=10, max_size=25))
def test_step_scores_are_those_of_the_two_sample_t(values: list[float]) -> None:
    for row, score in enumerate(step_scores(np.array(values))):
        split = FEWEST_POINTS + row
        left, right = values[:split], values[split:]
        squares = sum(len(side) * statistics.pvariance(side) for side in (left, right))
        difference = abs(statistics.fmean(left) - statistics.fmean(right))
        if squares < 1e-9:
            assert (score > 1e3) == (difference > 0)
            continue
        error = math.sqrt(squares / (len(values) - 2) * (1 / len(left) + 1 / len(right)))
        assert score == pytest.approx(difference / error, rel=1e-6, abs=1e-6)


def test_step_scores_of_many_series_are_those_of_each() -> None:
    series = np.random.default_rng(1).standard_normal((30, 7))
    together = step_scores(series)
    assert together.shape == (21, 7)
    for column in range(7):
        np.testing.assert_allclose(together[:, column], step_scores(series[:, column]))


@pytest.mark.parametrize("rho", [0.2, 0.5, 0.7])
def test_autocorrelation_is_right_on_average_though_series_are_short(rho: float) -> None:
    series = autoregressive_series(rho, 80, 400, np.random.default_rng(3))
    series[50:] += 5.0
    estimates = [autocorrelation(each, [50]) for each in series.T]
    assert np.mean(estimates) == pytest.approx(rho, abs=0.03)


def test_autocorrelation_stays_in_its_range() -> None:
    alternating = np.array([(-1.0) ** place for place in range(40)])
    assert autocorrelation(alternating, [20]) == 0.0
    assert autocorrelation(np.linspace(0, 1, 40), [20]) <= 0.95
    assert autocorrelation(np.zeros(40), [20]) == 0.0


@given(st.lists(st.integers(-900, 900).map(lambda n: n / 64), min_size=7, max_size=30))
def test_winsorised_values_are_near_the_median_around_them(values: list[float]) -> None:
    mirrored = values[3:0:-1] + values + values[-2:-5:-1]
    medians = [statistics.median(mirrored[place : place + 7]) for place in range(len(values))]
    pairs = list(zip(values, medians, strict=True))
    reach = 3 * 1.4826 * statistics.median(abs(value - median) for value, median in pairs)
    expected = [min(max(value, median - reach), median + reach) for value, median in pairs]
    assert winsorise(values).tolist() == pytest.approx(expected)


def test_winsorising_pulls_in_spikes_also_at_the_ends_and_leaves_steps() -> None:
    series = quiet_history(10)
    for place in (0, 50, 99):
        series[place] += 2.0
    calm = winsorise(series)
    assert np.max(np.abs(calm - math.log(1e-3))) < 0.15
    stepped = with_steps(quiet_history(10), (40, 1.0))
    assert np.max(np.abs(winsorise(stepped) - stepped)) < 0.1


# The newest points -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        ((0.2, 0.2), Verdict.SLOWER),
        ((-0.2, -0.2), Verdict.FASTER),
        ((0.0, 0.2), None),
        ((0.2, 0.0), None),
        ((0.2, -0.2), None),
        ((0.02, 0.02), None),
    ],
)
def test_two_in_a_row_on_one_side_are_suspected(
    newest: tuple[float, float], expected: Verdict | None
) -> None:
    series = [*(quiet_history(11, points=30)), *(math.log(1e-3) + np.array(newest))]
    assert newest_suspected(series) is expected


def test_suspecting_needs_points_to_compare_with() -> None:
    assert newest_suspected([0.0, 0.01] * 4 + [0.0, 9.0, 9.0]) is None
    assert newest_suspected([0.0, 0.01] * 5 + [9.0, 9.0]) is Verdict.SLOWER
    assert newest_suspected([]) is None


def test_a_series_without_noise_suspects_only_what_matters() -> None:
    assert newest_suspected([0.0] * 20 + [0.02, 0.02]) is None
    assert newest_suspected([0.0] * 20 + [0.04, 0.04]) is Verdict.SLOWER


@pytest.mark.parametrize("points", [12, 30, 100])
def test_quiet_points_are_rarely_suspected(points: int) -> None:
    trials = 4000
    suspected = sum(
        newest_suspected(row) is not None
        for row in np.random.default_rng(points).normal(0, 0.03, (trials, points))
    )
    assert suspected / trials <= 0.005
