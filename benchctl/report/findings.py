"""What the measurements say, as typed values: no text is made and nothing is drawn here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from benchctl.compare.summary import ArmSummary, one_off_seconds
from benchctl.report.views import MeasuredCase, View
from benchctl.store.record import ArmResult, Phases

Interval = tuple[float, float]

COLD_PHASES = ("build", "compile", "first_run")
"""What the lecture's one cold number holds; importing the libraries is outside of it."""
ALL_PHASES = ("import", *COLD_PHASES)


# One arm against another ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Speedup:
    """`faster` takes 1/`ratio` of the time of `slower`; `significant` when the interval is above 1.

    `interval` is None where there were too few rounds for one. For arms of different cases, which
    shared no rounds, it is the widest that the two medians' intervals allow: wider than 95 %.
    """

    faster: str
    slower: str
    ratio: float
    interval: Interval | None
    significant: bool


def winner(case: MeasuredCase) -> Speedup | None:
    """The fastest arm against the next, from paired rounds; None with fewer than two arms."""
    found = case.summary.winner
    if found is None:
        return None
    interval = _finite((found.low, found.high))
    return Speedup(found.arm_id, found.over_id, found.ratio, interval, found.significant)


def against_reference(case: MeasuredCase, arm: ArmSummary) -> Speedup | None:
    """An arm against the run's reference arm, whichever is faster first; from paired rounds."""
    relative = arm.relative
    if relative is None or arm.result.arm.id == case.summary.reference_id:
        return None
    interval = _finite((relative.low, relative.high))
    return _ordered(arm.result.arm.id, case.summary.reference_id, relative.ratio, interval)


def unpaired(name: str, arm: ArmSummary, other_name: str, other: ArmSummary) -> Speedup | None:
    """Two arms of different cases, compared by their medians and the ends of their intervals."""
    found = time_ratio(arm, other)
    return None if found is None else _ordered(name, other_name, *found)


def time_ratio(arm: ArmSummary, other: ArmSummary) -> tuple[float, Interval | None] | None:
    """time(arm) / time(other) from the medians, with the widest interval that theirs allow."""
    here, there = arm.median_seconds, other.median_seconds
    if not here or not there:
        return None
    interval, other_interval = interval_of(arm), interval_of(other)
    if interval is None or other_interval is None:
        return here / there, None
    return here / there, (interval[0] / other_interval[1], interval[1] / other_interval[0])


def _ordered(name: str, other: str, ratio: float, interval: Interval | None) -> Speedup:
    """From a ratio of times name/other to "the faster is so many times faster"."""
    clear = excludes_one(interval)
    if ratio <= 1:
        turned = None if interval is None else (1 / interval[1], 1 / interval[0])
        return Speedup(name, other, 1 / ratio, turned, clear)
    return Speedup(other, name, ratio, interval, clear)


def excludes_one(interval: Interval | None) -> bool:
    """Whether an interval of a ratio leaves equality out; no interval shows nothing."""
    return interval is not None and (interval[0] > 1 or interval[1] < 1)


def _finite(interval: tuple[float | None, float | None]) -> Interval | None:
    low, high = interval
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    return low, high


def interval_of(arm: ArmSummary) -> Interval | None:
    """The interval of an arm's median where there were rounds enough for one."""
    if arm.interval_seconds is None:
        return None
    low, high = arm.interval_seconds
    return low, high


# Cold runs -----------------------------------------------------------------------------------


def phase_seconds(phases: Phases, name: str) -> float | None:
    """One phase by its short name: import, build, compile, first_run."""
    value: float | None = getattr(phases, f"{name}_seconds")
    return value


def cold_total(result: ArmResult, cache: str = "cold") -> float | None:
    """Build + compile + first run of one arm, seconds; None where it was not taken."""
    return one_off_seconds(_phases(result, cache))


def _phases(result: ArmResult, cache: str) -> Phases | None:
    """An arm that keeps no cache has cold phases only: they are its warm ones too."""
    return result.phases_with(cache) or result.phases_with("cold")


def largest_phase(result: ArmResult, cache: str = "cold") -> tuple[str, float] | None:
    """The phase that most of the cold number went to, and its share of it (0 to 1)."""
    phases, total = _phases(result, cache), cold_total(result, cache)
    if phases is None or not total:
        return None
    seconds = {name: phase_seconds(phases, name) or 0.0 for name in COLD_PHASES}
    name = max(seconds, key=seconds.__getitem__)
    return name, seconds[name] / total


def payback_steps(arm: ArmSummary, other: ArmSummary, cache: str = "cold") -> int | None:
    """The step from which `arm`, start included, is ahead of `other`; 1 where it always was.

    None where its step is not shown to be the faster one, or where a phase is missing. The first
    run is a step already: n steps take one_off + (n - 1) * step.
    """
    start, other_start = cold_total(arm.result, cache), cold_total(other.result, cache)
    ratio = time_ratio(arm, other)
    if start is None or other_start is None or ratio is None:
        return None
    if ratio[0] >= 1 or not excludes_one(ratio[1]):
        return None
    gain_seconds = (other.median_seconds or 0.0) - (arm.median_seconds or 0.0)
    return 1 + max(0, math.ceil((start - other_start) / gain_seconds))


# Sweeps over size ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SizePoint:
    """One size of a sweep: `elements` of one matrix, and the case measured there."""

    size: str
    elements: int
    case: MeasuredCase


@dataclass(frozen=True, slots=True)
class Crossing:
    """`overtaker` is slower at `before` and faster at `after`; `elements` lies between."""

    overtaker: str
    overtaken: str
    before: SizePoint
    after: SizePoint
    elements: float


def parse_size(text: str) -> tuple[int, int] | None:
    """(rows, columns) of `3x4`; None where the text is no size."""
    rows, cross, columns = text.partition("x")
    if not cross or not rows.isdigit() or not columns.isdigit():
        return None
    return int(rows), int(columns)


def size_sweep(view: View, workload: str = "xyz") -> tuple[SizePoint, ...]:
    """The longest sweep of sizes with all other axes equal, smallest size first.

    Of equally long sweeps the one measured last is taken.
    """
    sweeps: dict[tuple[tuple[str, str], ...], dict[int, SizePoint]] = {}
    for case in view.of(workload):
        size = parse_size(case.parameter("size"))
        if size is None or not case.arms():
            continue
        elements = size[0] * size[1]
        points = sweeps.setdefault(other_axes(case, "size"), {})
        points[elements] = SizePoint(case.parameter("size"), elements, case)
    if not sweeps:
        return ()
    longest = max(len(points) for points in sweeps.values())
    chosen = [points for points in sweeps.values() if len(points) == longest][-1]
    return tuple(point for _, point in sorted(chosen.items()))


def other_axes(case: MeasuredCase, *axes: str) -> tuple[tuple[str, str], ...]:
    """The axes of a case but those named, as (name, value)."""
    parameters = case.case.parameters.items()
    return tuple((name, str(value)) for name, value in parameters if name not in axes)


def sweep_arms(points: Sequence[SizePoint]) -> tuple[str, ...]:
    """Ids of the arms of a sweep, in order of appearance."""
    seen: dict[str, None] = {}
    for point in points:
        for arm in point.case.arms():
            seen.setdefault(arm.result.arm.id)
    return tuple(seen)


def crossings(points: Sequence[SizePoint]) -> tuple[Crossing, ...]:
    """Where one arm overtakes another as the size grows.

    Only sizes at which the two arms' intervals lie apart count, so that noise makes no crossing;
    the place is interpolated on logarithmic axes between the two sizes around it.
    """
    found: list[Crossing] = []
    for one, two in combinations(sweep_arms(points), 2):
        last: tuple[SizePoint, float] | None = None
        for point in points:
            gap = _clear_gap(point, one, two)
            if gap is None:
                continue
            if last is not None and (gap > 0) != (last[1] > 0):
                # The gap is ln(t_one / t_two): where it falls below 0, `one` overtakes `two`.
                overtaker, overtaken = (one, two) if gap < 0 else (two, one)
                at = _interpolate(last[0].elements, last[1], point.elements, gap)
                found.append(Crossing(overtaker, overtaken, last[0], point, at))
            last = (point, gap)
    return tuple(sorted(found, key=lambda crossing: crossing.elements))


def _clear_gap(point: SizePoint, one: str, two: str) -> float | None:
    """ln(t_one / t_two) where the intervals lie apart, else None."""
    first, second = point.case.arm(one), point.case.arm(two)
    if first is None or second is None:
        return None
    speedup = unpaired(one, first, two, second)
    if speedup is None or not speedup.significant:
        return None
    return -math.log(speedup.ratio) if speedup.faster == one else math.log(speedup.ratio)


def _interpolate(elements: int, gap: float, next_elements: int, next_gap: float) -> float:
    share = gap / (gap - next_gap)
    return math.exp(math.log(elements) + share * (math.log(next_elements) - math.log(elements)))


def copy_bandwidth(case: MeasuredCase) -> float | None:
    """The machine's copy bandwidth in bytes per second as the run recorded it, if it did."""
    for facts in (case.run.environment, case.run.machine):
        value = facts.get("copy_bandwidth_bytes_per_second")
        if isinstance(value, int | float) and value > 0:
            return float(value)
    return None


# The same arm in two variants of a case ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pairing:
    """One arm in two cases that differ in one axis only: `ratio` is time(first)/time(second).

    The interval is the widest that both medians' intervals allow.
    """

    group: tuple[tuple[str, str], ...]
    """The axes that both cases share, and their step, as (name, value)."""
    arm_id: str
    first: ArmSummary
    second: ArmSummary
    cases: tuple[MeasuredCase, MeasuredCase]
    ratio: float
    interval: Interval | None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes equality."""
        return excludes_one(self.interval)


def pair_cases(
    cases: Sequence[MeasuredCase], axis: str, first: str, second: str
) -> tuple[Pairing, ...]:
    """Every arm measured with `axis` = first and with `axis` = second, all else equal."""
    groups: dict[tuple[tuple[str, str], ...], dict[str, MeasuredCase]] = {}
    for case in cases:
        key = (*other_axes(case, axis), ("step", case.case.step))
        groups.setdefault(key, {})[case.parameter(axis)] = case
    pairs: list[Pairing] = []
    for key, by_value in groups.items():
        one, two = by_value.get(first), by_value.get(second)
        if one is None or two is None:
            continue
        for arm in one.arms():
            other = two.arm(arm.result.arm.id)
            found = None if other is None else time_ratio(arm, other)
            if other is not None and found is not None:
                pairs.append(Pairing(key, arm.result.arm.id, arm, other, (one, two), *found))
    return tuple(pairs)


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean of positive values; not a number where there are none."""
    if not values:
        return math.nan
    return math.exp(sum(map(math.log, values)) / len(values))
