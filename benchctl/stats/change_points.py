"""Where a history of times changed level, told apart from noise that remembers.

Times of successive revisions are autocorrelated: a bad hour of the machine spans several points,
and a test that takes them for independent finds changes in most quiet histories. So the noise is
taken to be AR(1), each point remembering part of the one before, and a step counts when simulated
series of the same length and memory, but without a change, hardly ever have one as clear.

How much the noise remembers can be told only once the changes are out of it: two steps left in look
like long memory, and long memory hides them both. The changes are therefore proposed together,
by the criterion that weighs their number against the noise they leave, and then tested each between
its neighbours, the least clear going first.

Values are ln(median seconds), oldest first, of one series on one unchanged machine: a series ends
where the machine changes.

Sources: Page 1955, A test for a change in a parameter occurring at an unknown point, for the
cumulative sums; Zhang and Siegmund 2007, A modified Bayes information criterion, for the number of
changes; Marriott and Pope 1954, Bias in the estimation of autocorrelations, for short series.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchctl.stats.signed_rank import Floats
from benchctl.stats.verdict import Verdict

SIGNIFICANCE = 0.01
SMALLEST_CHANGE = 0.03
SIMULATIONS = 999
FEWEST_POINTS = 5
"""The fewest points that make a level."""

# The standard deviation of a normal distribution in median absolute deviations.
_DEVIATIONS_PER_MAD = 1.4826
_WINDOW = 7
_WINSOR_DEVIATIONS = 3.0
_MOST_AUTOCORRELATION = 0.95
# What one more change must save in n ln(sum of squares), in ln(n).
_COST_OF_A_CHANGE = 3.0
# A pulse is two changes of which one alone saves little, and a level that comes and goes is many:
# so many are added in vain before giving up, or one for so many points.
_TRIED_IN_VAIN = 4
_POINTS_A_TRIAL = 25
# What the interval of an effect and the range of a place are to cover.
_COVERAGE = 0.95

_SUSPECTED_DEVIATIONS = 3.5
_SUSPECTED_IN_A_ROW = 2
# With fewer, the median absolute deviation is too often far too small by chance.
_FEWEST_TO_SUSPECT = 10


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A lasting change of level; `index` is the first point after it.

    `before` and `after` are the levels, ln(seconds), up to the neighbouring changes; `effect` is
    their difference, ln(time after / time before), and [low, high] its 95 % interval. `p_value` is
    the chance that noise without a change has so clear a step. `earliest` to `latest` is the range
    of the first point after, which holds it in about 95 % of changes.
    """

    index: int
    before: float
    after: float
    effect: float
    low: float
    high: float
    p_value: float
    earliest: int
    latest: int


def find_change_points(
    values: Sequence[float] | Floats,
    *,
    significance: float = SIGNIFICANCE,
    smallest_change: float = SMALLEST_CHANGE,
    simulations: int = SIMULATIONS,
    seed: int = 0,
) -> list[ChangePoint]:
    """The changes of level of a series, oldest first; the same seed finds the same changes.

    A change needs p <= `significance`, a ratio of at least 1 + `smallest_change` one way or the
    other, and 5 points on each side.
    """
    series = winsorise(values)
    indices = propose_changes(series)
    while indices:
        rho = autocorrelation(series, indices)
        indices = _placed(series, indices, rho)
        bounds = [0, *indices, len(series)]
        segments = list(zip(bounds, indices, bounds[2:], strict=False))
        effects = [abs(_fit_step(series[a:b], i - a, rho)[1]) for a, i, b in segments]
        if min(effects) < math.log1p(smallest_change):
            del indices[int(np.argmin(effects))]
            continue
        found = [_describe(series, *each, rho, simulations, seed) for each in segments]
        least_clear = max(found, key=lambda change: change.p_value)
        if least_clear.p_value <= significance:
            return found
        indices.remove(least_clear.index)
    return []


def newest_suspected(
    values: Sequence[float] | Floats, smallest_change: float = SMALLEST_CHANGE
) -> Verdict | None:
    """SLOWER or FASTER where the newest two points both lie far off on the same side, else None.

    `values` are those since the last change. Far off is 3.5 robust standard deviations from the
    median of the points before the two, of which 10 are needed, and at least `smallest_change`.
    No more than a suspicion: `find_change_points` decides once there are points enough.
    """
    series = _checked(values)
    segment, newest = series[:-_SUSPECTED_IN_A_ROW], series[-_SUSPECTED_IN_A_ROW:]
    if len(segment) < _FEWEST_TO_SUSPECT:
        return None
    centre = float(np.median(segment))
    deviation = _robust_deviation(segment - centre) * math.sqrt(1 + 1 / len(segment))
    limit = max(_SUSPECTED_DEVIATIONS * deviation, math.log1p(smallest_change))
    if np.all(newest - centre >= limit):
        return Verdict.SLOWER
    if np.all(newest - centre <= -limit):
        return Verdict.FASTER
    return None


def winsorise(values: Sequence[float] | Floats) -> Floats:
    """The values, none further than 3 robust deviations from the median of the 7 around it.

    Single spikes are pulled in; a lasting step stays, as the running median follows it.
    """
    series = _checked(values)
    if len(series) < _WINDOW:
        return series
    # Mirrored at the ends without doubling the end itself: a spike there is pulled in too.
    padded = np.pad(series, _WINDOW // 2, mode="reflect")
    running = np.median(np.lib.stride_tricks.sliding_window_view(padded, _WINDOW), axis=1)
    reach = _WINSOR_DEVIATIONS * _robust_deviation(series - running)
    return np.asarray(np.clip(series, running - reach, running + reach), dtype=np.float64)


def propose_changes(series: Floats) -> list[int]:
    """The changes that explain a series best, untested: the first points after them.

    One at least where there are 10 points. Each further one is placed where it explains most, and
    the number of them is that with the least n ln(sum of squares) + 3 m ln(n), the squares being
    those of what remains once levels and memory are taken out.
    """
    points = len(series)
    indices: list[int] = []
    best: list[int] = []
    least = math.inf
    trials = max(_TRIED_IN_VAIN, points // _POINTS_A_TRIAL)
    while len(indices) < len(best) + trials:
        pieces = [
            (start, *split_gains(series[start:stop]))
            for start, stop in pairwise([0, *indices, points])
            if stop - start >= 2 * FEWEST_POINTS
        ]
        if not pieces:
            break
        start, gains, _ = max(pieces, key=lambda piece: float(np.max(piece[1])))
        added = start + FEWEST_POINTS + int(np.argmax(gains))
        indices = _placed(series, sorted([*indices, added]), 0.0)
        rho = autocorrelation(series, indices)
        innovations = whiten(_residuals(series, indices), rho)
        squares = max(float(innovations @ innovations), np.finfo(np.float64).tiny)
        cost = points * math.log(squares) + _COST_OF_A_CHANGE * len(indices) * math.log(points)
        if cost < least:
            best, least = indices, cost
    return best


def whiten(series: Floats, rho: float) -> Floats:
    """What each point of an AR(1) series adds to what it remembers of the one before.

    `series` is (points,) or (points, series); the first point is scaled to the variance of the
    others.
    """
    whitened = series.copy()
    whitened[1:] -= rho * series[:-1]
    whitened[:1] *= math.sqrt(1 - rho**2)
    return whitened


def split_gains(whitened: Floats, rho: float = 0.0) -> tuple[Floats, Floats]:
    """How much of the sum of squares around one level a step takes away, and that sum.

    `whitened` is (points,) or (points, series), of memory `rho`. Row i is the split with 5 + i
    points before it; there must be 10 points. Generalised least squares, for all splits at once.
    """
    points = len(whitened)
    splits = np.arange(FEWEST_POINTS, points - FEWEST_POINTS + 1)
    # A level, whitened, is `first` and then `kept`; a step is 0, then 1, then `kept`.
    first, kept = math.sqrt(1 - rho**2), 1 - rho
    later = points - splits - 1
    level_level = first**2 + kept**2 * (points - 1)
    level_step = kept + kept**2 * later
    step_step = 1 + kept**2 * later
    # sums[t] is that of all points from t on.
    sums = np.cumsum(whitened[::-1], axis=0)[::-1]
    level_series = first * whitened[0] + kept * sums[1]
    step_series = whitened[splits] + kept * sums[splits + 1]
    per_split = (slice(None), *[None] * (whitened.ndim - 1))
    unexplained = step_series - (level_step / level_level)[per_split] * level_series
    gains = unexplained**2 / (step_step - level_step**2 / level_level)[per_split]
    total = np.sum(whitened**2, axis=0) - level_series**2 / level_level
    return np.asarray(gains, dtype=np.float64), np.asarray(total, dtype=np.float64)


def step_scores(whitened: Floats, rho: float = 0.0) -> Floats:
    """|step| in its standard errors for every split; rows and arguments are those of the gains.

    Without memory this is the t statistic of two samples.
    """
    gains, total = split_gains(whitened, rho)
    # What rounding leaves of a step without noise must not count as negative.
    within = np.maximum(total - gains, 1e-12 * np.abs(total) + np.finfo(np.float64).tiny)
    return np.asarray(np.sqrt(gains / within * (len(whitened) - 2)), dtype=np.float64)


def autocorrelation(series: Floats, indices: Sequence[int]) -> float:
    """Lag-1 autocorrelation around the levels between changes, corrected for the length.

    Each estimated level makes it too small by about (1 + 3 rho) / n. From 0 to 0.95.
    """
    residuals = _residuals(series, indices)
    total = float(residuals @ residuals)
    if total == 0:
        return 0.0
    rho = float(residuals[1:] @ residuals[:-1]) / total
    levels = len(indices) + 1
    return min(max(0.0, rho + levels * (1 + 3 * rho) / len(series)), _MOST_AUTOCORRELATION)


def _placed(series: Floats, indices: Sequence[int], rho: float) -> list[int]:
    """Each change at the best place between its neighbours."""
    placed = [0, *indices, len(series)]
    for place in range(1, len(placed) - 1):
        start, stop = placed[place - 1], placed[place + 1]
        scores = step_scores(whiten(series[start:stop], rho), rho)
        placed[place] = start + FEWEST_POINTS + int(np.argmax(scores))
    return placed[1:-1]


def _describe(
    series: Floats, start: int, index: int, stop: int, rho: float, simulations: int, seed: int
) -> ChangePoint:
    """A change between its neighbours, its uncertainty read off series simulated like it."""
    segment, split = series[start:stop], index - start
    before, effect, deviation = _fit_step(segment, split, rho)
    scores = step_scores(whiten(segment, rho), rho)
    # Noise of the same memory without a change; whitened it is white.
    noise = np.random.default_rng([seed, start, stop]).standard_normal((stop - start, simulations))
    noise_scores = step_scores(noise, rho)
    as_clear = np.count_nonzero(np.max(noise_scores, axis=0) >= np.max(scores))
    row = split - FEWEST_POINTS
    half_width = abs(effect) / scores[row] * float(np.quantile(noise_scores[row], _COVERAGE))
    step = np.zeros((stop - start, 1))
    step[split:] = effect
    planted = deviation * noise + whiten(step, rho)
    found = FEWEST_POINTS + np.argmax(step_scores(planted, rho), axis=0)
    early, late = np.quantile(found - split, ((1 - _COVERAGE) / 2, (1 + _COVERAGE) / 2))
    return ChangePoint(
        index=index,
        before=before,
        after=before + effect,
        effect=effect,
        low=effect - float(half_width),
        high=effect + float(half_width),
        p_value=(1 + int(as_clear)) / (1 + simulations),
        # Found late by so many points: it truly lies as many earlier, and the other way round.
        earliest=max(start + 1, index - math.ceil(late)),
        latest=min(stop - 1, index - math.floor(early)),
    )


def _fit_step(series: Floats, split: int, rho: float) -> tuple[float, float, float]:
    """Level before a split, rise at it, and the standard deviation of what is new in each point."""
    steps = np.ones((len(series), 2))
    steps[:split, 1] = 0.0
    design, whitened = whiten(steps, rho), whiten(series, rho)
    (before, effect), *_ = np.linalg.lstsq(design, whitened)
    remaining = whitened - design @ (before, effect)
    deviation = math.sqrt(float(remaining @ remaining) / (len(series) - 2))
    return float(before), float(effect), deviation


def _checked(values: Sequence[float] | Floats) -> Floats:
    series = np.array(values, dtype=np.float64)
    if series.ndim != 1 or not np.all(np.isfinite(series)):
        raise ValueError("expected a flat list of finite values")
    return series


def _robust_deviation(residuals: Floats) -> float:
    """Standard deviation of the bulk of residuals around 0."""
    return _DEVIATIONS_PER_MAD * float(np.median(np.abs(residuals)))


def _residuals(series: Floats, indices: Sequence[int]) -> Floats:
    """The series without its levels between changes."""
    return np.concatenate([piece - np.mean(piece) for piece in np.split(series, indices)])
