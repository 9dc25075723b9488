"""Time of one gradient step against the size of the arrays, with the floor that memory sets."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator

from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import (
    Crossing,
    SizePoint,
    copy_bandwidth,
    crossings,
    interval_of,
    size_sweep,
    sweep_arms,
    winner,
)
from benchctl.report.published import Published
from benchctl.report.table import Table
from benchctl.report.views import View, distinct_runs
from benchctl.report.wording import (
    capitalised,
    crossing_sentence,
    foot_words,
    join_words,
    ratio_words,
    speedup_sentence,
)

NAME = "sizes"
TOPIC = "Time against size"
COMMAND = "benchctl run xyz -a size=3x4,32x32,316x316,1000x1000,4096x4096"


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """Logarithmic lines, one per arm, from the smallest size measured to the largest."""
    points = size_sweep(view)
    if len(points) < 2:
        return MissingChart(NAME, TOPIC, "xyz is not measured at two sizes or more", COMMAND)
    arms = sweep_arms(points)
    looks = style.arm_looks(arms)
    figure = style.new_figure(5.4)
    (axes,) = style.panels(figure, 1)
    handles: list[Artist] = [_draw_arm(axes, points, arm, looks[arm]) for arm in arms]
    devices = {arm.result.arm.device for point in points for arm in point.case.arms()}
    # The floor is that of the host's memory, and of the bytes that float32 takes there.
    bandwidth = copy_bandwidth(points[-1].case) if "cpu" in devices else None
    if bandwidth is not None:
        handles.append(_draw_floor(axes, points, bandwidth))
    _label_sizes(axes, points)
    parts.log_time_axis(axes)
    _limit_times(axes, points)
    axes.set_ylabel("time of one step (logarithmic)")
    runs = distinct_runs(point.case for point in points)
    headline = _headline(points)
    style.finish(figure, headline, foot_words(runs), handles, columns=3)
    notes = _notes(points, crossings(points), bandwidth, devices)
    table = _table(points, arms, bandwidth)
    description = f"Lines on logarithmic axes for {join_words(arms)}. {' '.join(notes)}"
    return Chart(NAME, TOPIC, headline, description, figure, table, notes, runs)


def _draw_arm(axes: Axes, points: Sequence[SizePoint], arm_id: str, look: style.Look) -> Line2D:
    sizes, medians, lows, highs = [], [], [], []
    for point in points:
        arm = point.case.arm(arm_id)
        if arm is None or arm.median_seconds is None:
            continue
        low, high = interval_of(arm) or (arm.median_seconds, arm.median_seconds)
        sizes.append(point.elements)
        medians.append(arm.median_seconds)
        lows.append(low)
        highs.append(high)
    axes.fill_between(sizes, lows, highs, color=look.color, alpha=0.25, linewidth=0)
    (line,) = axes.plot(
        sizes,
        medians,
        color=look.color,
        linestyle=look.line,
        marker=look.marker,
        markersize=7,
        markerfacecolor=style.PAPER if look.hollow else look.color,
        markeredgecolor=look.color,
        linewidth=1.8,
        label=arm_id,
    )
    return line


def _draw_floor(axes: Axes, points: Sequence[SizePoint], bandwidth: float) -> Line2D:
    """The least bytes of a step at the speed of a copy."""
    (line,) = axes.plot(
        [point.elements for point in points],
        [point.case.case.bytes_moved / bandwidth for point in points],
        color=style.INK,
        linewidth=1.2,
        linestyle=(0, (6, 2, 1, 2, 1, 2)),
        label=f"memory bandwidth, {bandwidth / 1e9:.3g} GB/s (measured copy)",
    )
    return line


def _limit_times(axes: Axes, points: Sequence[SizePoint]) -> None:
    """Room for what is measured; the floor may lie far below at small sizes and is cut there."""
    medians = [arm.median_seconds or 0.0 for point in points for arm in point.case.arms()]
    axes.set_ylim(min(medians) / 4, max(medians) * 2)


def _label_sizes(axes: Axes, points: Sequence[SizePoint]) -> None:
    """A tick at every size measured; of names that would touch, the first stays."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    least_step = (points[-1].elements / points[0].elements) ** 0.11
    names, last = [], 0.0
    for point in points:
        shown = not last or point.elements / last >= least_step
        names.append(point.size if shown else "")
        last = point.elements if shown else last
    axes.set_xticks([point.elements for point in points], names)
    axes.set_xlabel("rows x columns of each matrix (logarithmic in elements)")


def _headline(points: Sequence[SizePoint]) -> str:
    first, last = winner(points[0].case), winner(points[-1].case)
    if first is None or last is None:
        return f"Time of one step from {points[0].size} to {points[-1].size}"
    ends = (speedup_sentence(first, f"at {points[0].size}"), last)
    same = (first.faster, first.slower) == (last.faster, last.slower)
    if same and first.significant and last.significant:
        return f"{ends[0]} and {ratio_words(last.ratio, last.interval)} at {points[-1].size}"
    return capitalised(f"{ends[0]}; {speedup_sentence(last, f'at {points[-1].size}')}")


def _notes(
    points: Sequence[SizePoint],
    found: Sequence[Crossing],
    bandwidth: float | None,
    devices: Collection[str],
) -> tuple[str, ...]:
    notes = [capitalised(crossing_sentence(each)) + "." for each in found]
    if not found:
        notes.append(
            f"No arm is shown to overtake another between {points[0].size} and {points[-1].size}."
        )
    notes.append("The band around a line is the 95 % interval of the median.")
    if "cpu" not in devices:
        notes.append(
            "The line of the memory bandwidth is left out: it would be that of the host's memory, "
            "and every arm is on a GPU."
        )
    elif bandwidth is None:
        notes.append(
            "The line of the memory bandwidth is left out: the run did not measure how fast this "
            "machine copies memory."
        )
    else:
        notes.append(
            "The line of the memory bandwidth is the time in which a plain copy moves the bytes "
            "that a step must move at least; arrays that stay in a cache can be faster."
        )
        if len(devices) > 1:
            notes.append("It is that of the host's memory, and no floor of arms on a GPU.")
    return tuple(notes)


def _table(points: Sequence[SizePoint], arms: Sequence[str], bandwidth: float | None) -> Table:
    titles = ["size", *arms, "fastest"]
    if bandwidth is not None:
        titles.append("at copy bandwidth")
    rows = []
    for point in points:
        row = [point.size]
        for arm_id in arms:
            arm = point.case.arm(arm_id)
            if arm is None or arm.median_seconds is None:
                row.append("-")
            else:
                row.append(numbers.format_seconds(arm.median_seconds, interval_of(arm)))
        best = winner(point.case)
        row.append(speedup_sentence(best) if best else "-")
        if bandwidth is not None:
            row.append(numbers.format_seconds(point.case.case.bytes_moved / bandwidth))
        rows.append(row)
    return text_table(titles, rows, words=["fastest"])
