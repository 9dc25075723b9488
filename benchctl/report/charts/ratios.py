"""How much slower or faster each case is: a point and an interval for each, margins as a band."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchctl.compare.pairs import Comparison
from benchctl.gate.outcomes import CaseOutcome, GateResult, Outcome
from benchctl.plan.cases import short_ids
from benchctl.report.charts import parts, style
from benchctl.report.comparison import comparison_sentence, log_ratio_words, ratio_of
from benchctl.report.comparison import ratio_words as interval_words
from benchctl.report.gate import case_names, ending_sentence
from benchctl.report.wording import foot_words
from benchctl.store.record import Run

MOST_ROWS = 60
"""A longer picture is read by nobody; the worst cases come first."""
NAME_COLUMNS = 44
# Ratios that are further from 1 than this need a logarithmic axis.
_WIDEST_LINEAR = 1.6


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    kind: str
    words: str
    ratio: float
    interval: tuple[float, float] | None
    margin: float


@dataclass(frozen=True, slots=True)
class _Mark:
    """Colour and shape of a verdict; a hollow one decides nothing."""

    color: str
    marker: str
    filled: bool = True


_MARKS: Mapping[str, _Mark] = {
    "slower": _Mark(style.VERMILION, ">"),
    "faster": _Mark(style.GREEN, "<"),
    "same": _Mark(style.BLUE, "s"),
    "inconclusive": _Mark(style.MUTED, "o", filled=False),
}
_KINDS: Mapping[Outcome, str] = {
    Outcome.REGRESSED: "slower",
    Outcome.QUARANTINED: "slower",
    Outcome.IMPROVED: "faster",
    Outcome.SAME: "same",
}


@style.styled
def draw_comparison(comparison: Comparison) -> Figure | None:
    """The pairs of a comparison; None where no pair was judged."""
    several = len({each.label for each in comparison.pairs}) > 1
    short = short_ids(each.case.id for each in comparison.pairs)
    rows = []
    for pair in comparison.pairs:
        judgement = pair.judgement
        if judgement is None:
            continue
        low, high = ratio_of(judgement.low), ratio_of(judgement.high)
        ratio = math.exp(judgement.estimate)
        rows.append(
            _Row(
                f"{short[pair.case.id]} {pair.label}" if several else short[pair.case.id],
                pair.verdict.value,
                interval_words(ratio, low, high),
                ratio,
                None if low is None or high is None else (low, high),
                comparison.margin,
            )
        )
    sides = f"time of {comparison.head_name} / time of {comparison.base_name}"
    return _draw(rows, comparison_sentence(comparison), sides, comparison.runs)


@style.styled
def draw_gate(result: GateResult, runs: Sequence[Run]) -> Figure | None:
    """The cases of a gate; None where none was measured."""
    names = case_names(result)
    rows = [
        _gate_row(names[case.key], case, case.estimate, result.rule.margin_of(case.key[0]))
        for case in result.cases
        if case.estimate is not None
    ]
    sides = f"time of {result.head} / time of {result.base}"
    return _draw(rows, ending_sentence(result), sides, runs)


def _gate_row(name: str, case: CaseOutcome, estimate: float, margin: float) -> _Row:
    low, high = case.interval or (None, None)
    return _Row(
        name,
        _KINDS.get(case.outcome, "inconclusive"),
        log_ratio_words(estimate, low, high),
        math.exp(estimate),
        None if low is None or high is None else (math.exp(low), math.exp(high)),
        margin,
    )


def _draw(rows: Sequence[_Row], headline: str, sides: str, runs: Sequence[Run]) -> Figure | None:
    if not rows:
        return None
    shown = rows[:MOST_ROWS]
    names = [textwrap.fill(row.name, NAME_COLUMNS) for row in shown]
    lines = sum(name.count("\n") + 1 for name in names)
    figure = style.new_figure(1.5 + 0.2 * lines + 0.12 * len(shown))
    axes = figure.subplots()
    furthest = _scale(axes, shown)
    for place, row in enumerate(shown):
        _draw_row(axes, place, row)
        axes.annotate(
            row.words,
            (furthest, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            ha="left",
            fontsize=8.5,
            annotation_clip=False,
        )
    parts.row_labels(axes, range(len(shown)), names)
    axes.axvline(1.0, color=style.INK, linewidth=1.2, zorder=1.5)
    left_out = len(rows) - len(shown)
    axes.set_xlabel(sides if not left_out else f"{sides}; {left_out} more cases are not drawn")
    style.finish(figure, headline, foot_words(runs), _handles(shown), columns=5)
    return figure


def _draw_row(axes: Axes, place: int, row: _Row) -> None:
    """Point, interval, and the band within which a difference does not count."""
    low, high = 1 / (1 + row.margin), 1 + row.margin
    if row.margin > 0:
        axes.fill_betweenx(
            [place - 0.5, place + 0.5], low, high, color=style.GRID, linewidth=0, zorder=0.5
        )
    mark = _MARKS[row.kind]
    if row.interval is not None:
        axes.plot(row.interval, [place, place], color=mark.color, linewidth=2.0, zorder=2)
    axes.plot(
        [row.ratio],
        [place],
        marker=mark.marker,
        markersize=7,
        color=mark.color,
        markerfacecolor=mark.color if mark.filled else style.PAPER,
        linestyle="none",
        zorder=3,
    )


def _scale(axes: Axes, rows: Sequence[_Row]) -> float:
    """Limits around 1 that show all rows, as percentages or, where far apart, as ratios.

    Returns the right end.
    """
    values: list[float] = [value for row in rows for value in (row.ratio, *(row.interval or ()))]
    values += [1 + 2.5 * max(row.margin for row in rows)]
    spread = max(abs(math.log(value)) for value in values)
    if spread > math.log(_WIDEST_LINEAR):
        parts.ratio_axis(axes, values)
        return max(axes.get_xlim())
    low = 1 - 1.08 * max(1 - min(values), 0.4 * (max(values) - 1))
    high = 1 + 1.08 * max(max(values) - 1, 0.4 * (1 - min(values)))
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    return high


def _percent(ratio: float, _position: int) -> str:
    percent = 100 * (ratio - 1)
    return "0" if abs(percent) < 1e-9 else f"{percent:+.3g} %"


def _handles(rows: Sequence[_Row]) -> list[Artist]:
    """What the marks mean, for those that occur."""
    handles: list[Artist] = [
        Line2D(
            [],
            [],
            color=mark.color,
            marker=mark.marker,
            markerfacecolor=mark.color if mark.filled else style.PAPER,
            label=kind,
        )
        for kind, mark in _MARKS.items()
        if any(row.kind == kind for row in rows)
    ]
    margins = {row.margin for row in rows}
    if margins != {0.0}:
        words = f"margin {max(margins):.3g}" if len(margins) == 1 else "margin"
        handles.append(Patch(color=style.GRID, label=words))
    return handles
