"""An ablation as bars: the ladder on the left, what each pass left out costs on the right."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchctl.compare.ladder import Measured
from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.ladder import split_rungs

_EAGER, _STATIC = "eager", "static"


@style.styled
def draw_ablation(rungs: Sequence[Measured], title: str, foot: str) -> Figure:
    """Times of the ladder, and time ratios of the passes left out.

    Raises `ValueError` where nothing was timed.
    """
    split = split_rungs([each for each in rungs if each.seconds is not None])
    if not split["ladder"]:
        raise ValueError("an ablation expected rungs that were timed, received none")
    longest = max(map(len, split.values()))
    figure = style.new_figure(1.9 + 0.32 * longest)
    left, right = style.panels(figure, 2, (1.15, 1.0))
    _draw_ladder(left, split["ladder"])
    _draw_left_out(right, split["without"])
    style.finish(figure, title, foot)
    return figure


def _draw_ladder(axes: Axes, rungs: Sequence[Measured]) -> None:
    looks = style.arm_looks([_STATIC, _EAGER])
    longest = max(each.seconds or 0.0 for each in rungs)
    unit = numbers.pick_time_unit(each.seconds for each in rungs if each.seconds)
    for place, each in enumerate(rungs):
        seconds = each.seconds or 0.0
        look = looks[_EAGER if each.rung.kind == "eager" else _STATIC]
        parts.bars(axes, [place], [seconds / unit.size], look)
        text = numbers.format_seconds(seconds, unit=unit)
        if each.ratio is not None:
            text += f"  {each.ratio:.2f}x"
        parts.end_label(axes, seconds / unit.size, place, text)
    parts.row_labels(axes, range(len(rungs)), [each.rung.label for each in rungs])
    axes.set_xlim(0, 1.35 * longest / unit.size)
    axes.set_xlabel(f"{unit.symbol} a step; x against all passes off")
    axes.set_title("switched on one after another", loc="left", fontsize=9)


def _draw_left_out(axes: Axes, rungs: Sequence[Measured]) -> None:
    look = style.arm_looks([_STATIC])[_STATIC]
    ratios = [each.ratio or 1.0 for each in rungs]
    for place, (each, ratio) in enumerate(zip(rungs, ratios, strict=True)):
        parts.bars(axes, [place], [ratio], look)
        if each.low is not None and each.high is not None:
            parts.whiskers(axes, place, each.low, each.high)
        parts.end_label(axes, max(ratio, each.high or 0.0), place, f"{ratio:.2f}x")
    parts.row_labels(axes, range(len(rungs)), [each.rung.label for each in rungs])
    axes.axvline(1.0, color=style.INK, linewidth=0.8)
    axes.set_xlim(0, 1.25 * max([1.0, *ratios]))
    axes.set_xlabel("time over that of all passes on")
    axes.set_title("left out one at a time", loc="left", fontsize=9)
