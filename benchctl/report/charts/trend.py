"""Time of one step from run to run: a small chart for each series, with its levels and breaks."""

from __future__ import annotations

import itertools
import math
import re
import textwrap
from collections.abc import Collection, Sequence
from pathlib import PurePath

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchctl.history.changes import Change, State
from benchctl.history.overview import Level, SeriesHistory
from benchctl.report import numbers
from benchctl.report.charts import style
from benchctl.report.charts.chart import Chart, text_table
from benchctl.report.table import Table
from benchctl.report.text import workload_words
from benchctl.report.trends import (
    MISSING,
    change_words,
    code_words,
    effect_words,
    event_words,
    since_words,
    state_words,
)
from benchctl.report.wording import foot_words, plural
from benchctl.stats.change_points import FEWEST_POINTS, SIGNIFICANCE, SMALLEST_CHANGE
from benchctl.store.record import Run

TOPIC = "Time from run to run"
COLUMNS = 3
MOST_PANELS = 24
"""A page with more small charts is read by nobody; the table has the rest."""
PANEL_INCHES = 1.75
TITLE_COLUMNS = 38
SLOWER_MARK, FASTER_MARK = "\u25b2", "\u25bc"
# Panels show at least this much around their points, so that noise does not look like a change.
_LEAST_SHOWN = 0.05


@style.styled
def draw(
    workload: str,
    histories: Sequence[SeriesHistory],
    runs: Sequence[Run],
    taken: Collection[str] = (),
) -> Chart:
    """A panel for each series of one workload, those with changes first; names `taken` are not."""
    shown = sorted(histories, key=lambda each: not each.changes)[:MOST_PANELS]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = style.new_figure(1.0 + PANEL_INCHES * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    axes_names = varying_axes(histories)
    looks = style.arm_looks(list(dict.fromkeys(each.series.key.arm_id for each in histories)))
    panels = [axes for row in grid for axes in row]
    for axes, history in zip(panels, shown, strict=False):
        _draw_series(axes, history, looks[history.series.key.arm_id])
        title = textwrap.wrap(series_words(history, axes_names), TITLE_COLUMNS)
        axes.set_title("\n".join(title), fontsize=8)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    headline = _headline(workload, histories)
    style.finish(figure, headline, foot_words(runs), _handles(shown), columns=4)
    notes = _notes(len(histories) - len(shown))
    return Chart(
        chart_name(workload, taken),
        f"{TOPIC}: {workload_words(workload)}",
        headline,
        f"{plural(len(shown), 'small chart')}, each with one point a run. {headline}.",
        figure,
        _table(histories),
        notes,
        tuple(runs),
    )


def chart_name(workload: str, taken: Collection[str] = ()) -> str:
    """A name for the files of a workload's chart that no other has: `trend-xyz`."""
    stem = re.sub(r"[^a-z0-9]+", "-", PurePath(workload).stem.lower()).strip("-")
    name = f"trend-{stem or 'workload'}"
    if name not in taken:
        return name
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(each for each in numbered if each not in taken)


def varying_axes(histories: Sequence[SeriesHistory]) -> tuple[str, ...]:
    """The axes that tell the cases of these series apart."""
    parameters = [each.series.case.parameters for each in histories]
    names = dict.fromkeys(name for each in parameters for name in each)
    return tuple(name for name in names if len({each.get(name) for each in parameters}) > 1)


def series_words(history: SeriesHistory, axes_names: Sequence[str]) -> str:
    """`static, size 3x4`: the arm, and what tells its case from the others shown."""
    parameters = history.series.case.parameters
    named = [f"{name} {parameters[name]}" for name in axes_names if name in parameters]
    return ", ".join([history.series.key.arm_id, *named])


# One panel -----------------------------------------------------------------------------------


def _draw_series(axes: Axes, history: SeriesHistory, look: style.Look) -> None:
    points = history.series.points
    seconds = [math.exp(point.log_seconds) for point in points]
    for segment in history.series.segments():
        _draw_segment(axes, history, segment, look)
    for level in history.levels():
        ends = [level.part.start - 0.4, level.part.stop - 0.6]
        seconds_of_level = math.exp(level.log_seconds)
        axes.plot(ends, [seconds_of_level] * 2, color=style.INK, linewidth=1.3)
    for event in history.series.events:
        axes.axvline(event.index - 0.5, color=style.MUTED, linewidth=1.0, linestyle=(0, (1, 2)))
    _limit(axes, seconds)
    for change in history.changes:
        _mark_change(axes, change)
    unit = numbers.pick_time_unit(seconds)
    _label_axes(axes, history, unit)


def _draw_segment(axes: Axes, history: SeriesHistory, segment: range, look: style.Look) -> None:
    """The points between two events: no line crosses an event."""
    points = [history.series.points[index] for index in segment]
    middles = [math.exp(point.log_seconds) for point in points]
    ends = [point.interval or (point.log_seconds, point.log_seconds) for point in points]
    lows, highs = ([math.exp(end[side]) for end in ends] for side in (0, 1))
    if len(points) == 1:
        # A band needs two points; the interval of a lone one is a line.
        axes.vlines([segment.start], lows, highs, color=look.color, alpha=0.4, linewidth=3)
    axes.fill_between(list(segment), lows, highs, color=look.color, alpha=0.25, linewidth=0)
    axes.plot(
        list(segment),
        middles,
        color=look.color,
        linewidth=0.9,
        marker=look.marker,
        markersize=3.2,
        markerfacecolor=style.PAPER if look.hollow else look.color,
        markeredgecolor=look.color,
    )


def _mark_change(axes: Axes, change: Change) -> None:
    """A line between the two levels, and an arrow with the size of the change."""
    suspected = change.state is State.SUSPECTED
    color = style.VERMILION if change.slower else style.BLUE
    axes.axvline(
        change.index - 0.5, color=color, linewidth=1.4, linestyle=":" if suspected else "-"
    )
    mark = SLOWER_MARK if change.slower else FASTER_MARK
    size = effect_words(change.effect).removeprefix("about ")
    late = change.index > sum(axes.get_xlim()) / 2
    axes.annotate(
        f"{mark} {size}{'?' if suspected else ''}",
        (change.index - 0.5, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if late else 3, -2),
        textcoords="offset points",
        ha="right" if late else "left",
        va="top",
        fontsize=7.5,
        color=style.INK,
    )


def _limit(axes: Axes, seconds: Sequence[float]) -> None:
    low, high = min(seconds), max(seconds)
    middle = (low + high) / 2
    # Room on top for the size of a change.
    half = max((high - low) / 2, _LEAST_SHOWN * middle) * 1.25
    axes.set_ylim(max(0.0, middle - half), middle + 1.4 * half)
    axes.set_xlim(-0.6, len(seconds) - 0.4)


def _label_axes(axes: Axes, history: SeriesHistory, unit: numbers.Unit) -> None:
    points = history.series.points

    def tick(value: float, _position: int) -> str:
        return f"{value / unit.size:.4g}"

    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(tick))
    axes.tick_params(labelsize=7.5)
    axes.set_ylabel(unit.symbol, fontsize=8)
    last = len(points) - 1
    axes.set_xticks([0, last], [points[0].started_utc[:10], points[last].started_utc[:10]])
    first_label, last_label = axes.get_xticklabels()
    first_label.set_horizontalalignment("left")
    last_label.set_horizontalalignment("right")
    axes.grid(visible=False, axis="x")


# Words ---------------------------------------------------------------------------------------


def _handles(shown: Sequence[SeriesHistory]) -> list[Artist]:
    handles: list[Artist] = [
        Line2D([], [], color=style.INK, linewidth=1.3, label="level"),
        Patch(facecolor=style.MUTED, alpha=0.25, label="95 % interval"),
    ]
    changes = [change for each in shown for change in each.changes]
    for slower, color, label in (
        (True, style.VERMILION, "slower since"),
        (False, style.BLUE, "faster since"),
    ):
        if any(change.slower is slower for change in changes):
            handles.append(Line2D([], [], color=color, linewidth=1.4, label=label))
    if any(each.series.events for each in shown):
        line = Line2D([], [], color=style.MUTED, linestyle=(0, (1, 2)), label="conditions changed")
        handles.append(line)
    return handles


def _headline(workload: str, histories: Sequence[SeriesHistory]) -> str:
    name = workload_words(workload)
    count = f"{len(histories)} series"
    changes = [change for each in histories for change in each.changes]
    confirmed = [change for change in changes if change.state is not State.SUSPECTED]
    slower = [change for change in confirmed if change.slower]
    if slower:
        worst = max(slower, key=lambda change: change.effect)
        changed = len({change.key for change in slower})
        share = f"{changed} of {count}" if len(histories) > 1 else "its one series"
        return (
            f"{name}: {share} became slower, at most {worst.key.arm_id}: "
            f"{change_words(worst)} in {since_words(worst)}"
        )
    if confirmed:
        changed = len({change.key for change in confirmed})
        return f"{name}: {changed} of {count} became faster and none slower"
    if changes:
        return f"{name}: no change is confirmed in {count}, {len(changes)} suspected"
    return f"{name}: no change is shown in {count}"


def _notes(left_out: int) -> tuple[str, ...]:
    notes = [
        "One point a run, evenly spaced in the order of runs: the median over the medians of its "
        "processes. The band is the 95 % interval of the run's rounds. Times do not begin at zero.",
        f"A change takes {FEWEST_POINTS} points on either side and {SMALLEST_CHANGE:.0%} of the "
        f"time; a series without one shows one with a chance of {SIGNIFICANCE:.0%}. Where machine, "
        "libraries or environment changed, a series begins anew: times on either side do not "
        "compare. A question mark is behind what is only suspected.",
    ]
    if left_out:
        notes.append(f"{left_out} further series without a change are in the table only.")
    return tuple(notes)


def _table(histories: Sequence[SeriesHistory]) -> Table:
    """A row for each level of each series, and how it differs from the one before."""
    rows = []
    for history in histories:
        by_index = {change.index: change for change in history.changes}
        events = {event.index: event for event in history.series.events}
        for level in history.levels():
            part = level.part
            first, last = (history.series.points[at] for at in (part.start, part.stop - 1))
            change = by_index.get(part.start)
            told = MISSING
            if change is not None:
                told = f"{change_words(change)} since {since_words(change)}"
            elif part.start in events:
                told = f"begins anew: {event_words(events[part.start])}"
            rows.append(
                [
                    history.series.key.case_id,
                    history.series.key.arm_id,
                    f"{code_words(first)}, {first.started_utc[:10]}",
                    f"{code_words(last)}, {last.started_utc[:10]}",
                    str(len(part)),
                    _level_words(level),
                    told,
                    state_words(change) if change is not None else MISSING,
                ]
            )
    titles = ["case", "arm", "from", "to", "runs", "level", "change", "state"]
    return text_table(titles, rows, words=["arm", "from", "to", "change", "state"])


def _level_words(level: Level) -> str:
    """The level with the digits that the scatter of its points leaves."""
    low, high = level.middle_half
    return numbers.format_seconds(math.exp(level.log_seconds), (math.exp(low), math.exp(high)))
