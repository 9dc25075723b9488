"""Parts that several charts share: bars, labels and axes of seconds and ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import BarContainer
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from benchctl.report import numbers
from benchctl.report.charts import style
from benchctl.report.charts.style import INK, MUTED, PAPER, Look

GHOST = "#a3a9af"
GHOST_HATCH = "\\\\\\"
"""Colour and hatch of published figures."""
WIDEST_LINEAR = 40.0
"""Bars whose lengths differ by more than this factor need a logarithmic axis."""


def bars(
    axes: Axes,
    places: Sequence[float],
    lengths: Sequence[float],
    look: Look,
    *,
    height: float = 0.8,
    starts: Sequence[float] | None = None,
    label: str = "",
) -> BarContainer:
    """Horizontal bars at `places`, from `starts` (0 where not given), both in data units."""
    return axes.barh(
        places,
        lengths,
        height=height,
        left=starts,
        color=_tint(look.color) if look.hollow else look.color,
        edgecolor=look.hatch_color,
        hatch=look.hatch,
        linewidth=0.8,
        label=label,
    )


def published_bars(
    axes: Axes, places: Sequence[float], lengths: Sequence[float], *, height: float
) -> BarContainer:
    """Bars of published figures: outlined, hatched and empty, so that none passes as measured."""
    return axes.barh(
        places,
        lengths,
        height=height,
        facecolor="none",
        edgecolor=GHOST,
        hatch=GHOST_HATCH,
        linewidth=0.9,
        linestyle="--",
        zorder=0.8,
    )


def published_handle(label: str) -> Patch:
    """Published bars in a legend."""
    return Patch(facecolor="none", edgecolor=GHOST, hatch=GHOST_HATCH, linestyle="--", label=label)


def phase_handles(names: Sequence[str]) -> list[Patch]:
    """Phases in a legend."""
    return [_handle(style.PHASE_LOOKS[name], style.PHASE_NAMES[name]) for name in names]


def arm_handles(looks: Mapping[str, Look]) -> list[Patch]:
    """Arms as bars in a legend."""
    return [_handle(look, name) for name, look in looks.items()]


def _handle(look: Look, label: str) -> Patch:
    face = _tint(look.color) if look.hollow else look.color
    return Patch(facecolor=face, edgecolor=look.hatch_color, hatch=look.hatch, label=label)


def whiskers(axes: Axes, place: float, low: float, high: float) -> None:
    """The interval of a horizontal bar's end."""
    middle = (low + high) / 2
    axes.errorbar(
        middle, place, xerr=(high - low) / 2, fmt="none", ecolor=INK, elinewidth=1.2, capsize=3
    )


def end_label(axes: Axes, length: float, place: float, text: str, *, muted: bool = False) -> None:
    """A value behind the end of a horizontal bar."""
    axes.annotate(
        text,
        (length, place),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        ha="left",
        fontsize=8.5,
        color=MUTED if muted else INK,
        fontstyle="italic" if muted else "normal",
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
    )


def row_labels(axes: Axes, places: Sequence[float], names: Sequence[str]) -> None:
    """Names of horizontal bars, first one on top; no grid lines between the bars."""
    axes.set_yticks(list(places), list(names))
    axes.set_ylim(max(places) + 0.5, min(places) - 0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def time_axis(axes: Axes, seconds: Sequence[float], share: float = 0.3) -> None:
    """A linear x axis of seconds from zero in one unit, `share` of it free behind the longest."""
    longest = max(seconds, default=0.0) or 1.0
    unit = numbers.pick_time_unit([longest])

    def tick(value: float, _position: int) -> str:
        return f"{value / unit.size:g}"

    axes.set_xlim(0, longest / (1 - share))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.set_xlabel(f"time ({unit.symbol})")


def wide_time_axis(axes: Axes, seconds: Sequence[float]) -> bool:
    """An x axis of seconds that shows the shortest bar too; True where it had to be logarithmic."""
    positive = [each for each in seconds if each > 0]
    if not positive or max(positive) < WIDEST_LINEAR * min(positive):
        time_axis(axes, positive)
        return False
    axes.set_xscale("log")
    decades = math.log10(max(positive) / min(positive))
    axes.set_xlim(min(positive) / 4, max(positive) * 10 ** (0.28 * (decades + 1)))
    _label_decades(axes.xaxis)
    return True


def log_time_axis(axes: Axes) -> None:
    """A logarithmic y axis of seconds, each decade with its own unit."""
    axes.set_yscale("log")
    _label_decades(axes.yaxis)


def _label_decades(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(10, numticks=12))
    axis.set_major_formatter(FuncFormatter(_decade))
    axis.set_minor_formatter(NullFormatter())


def _decade(seconds: float, _position: int) -> str:
    if seconds <= 0:
        return ""
    units = [unit for unit in numbers.TIME_UNITS if unit.size <= seconds * (1 + 1e-9)]
    unit = units[-1] if units else numbers.TIME_UNITS[0]
    return f"{seconds / unit.size:g} {unit.symbol}"


def ratio_axis(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis of ratios around 1, with room at both ends."""
    spread = max((abs(math.log(value)) for value in values if value > 0), default=0.0)
    bound = math.exp(max(spread * 1.15, math.log(1.25)))
    axes.set_xscale("log")
    axes.set_xlim(1 / bound, bound)
    steps = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10)
    shown = [step for step in steps if 1 / bound <= step <= bound]
    if bound > 2.2:
        shown = [step for step in shown if step not in (0.8, 0.9, 1.1, 1.25)]
    axes.set_xticks(shown, [f"{step:g}x" for step in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(1.0, color=INK, linewidth=1.2, zorder=1.5)


def _tint(color: str) -> str:
    """The colour, two thirds on the way to white."""
    channels = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - each) / 3):02x}" for each in channels)
