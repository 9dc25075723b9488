"""Our engines against frameworks on the same work: how many times the static engine's time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchctl.compare.peers import YARDSTICK, is_peer, peer_names
from benchctl.compare.summary import ArmSummary
from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import Interval
from benchctl.report.published import Published
from benchctl.report.sentences import interval_of
from benchctl.report.table import Table
from benchctl.report.views import MeasuredCase, View, distinct_runs, is_measured
from benchctl.report.wording import foot_words, join_words, ratio_words

NAME = "peers"
TOPIC = "The same work on frameworks"
COMMAND = "benchctl run peers"
# Sweeps of single layers are in the table only.
NOT_DRAWN = ("layout",)


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """A panel for each case, a bar for each arm; the static engine is the line at 1."""
    cases = [case for case in view.peers if len(case.arms()) > 1]
    if not cases:
        return MissingChart(NAME, TOPIC, "no framework is measured", COMMAND)
    drawn = [case for case in cases if case.case.workload not in NOT_DRAWN] or cases[:6]
    looks = style.arm_looks(
        list(dict.fromkeys(_id(arm) for case in drawn for arm in _others(case)))
    )
    heights = [len(_others(case)) + 1.2 for case in drawn]
    figure = style.new_figure(1.6 + 0.27 * sum(heights))
    column = figure.subplots(len(drawn), 1, squeeze=False, height_ratios=heights, sharex=True)
    longest = max(_ends(arm)[1] for case in drawn for arm in _others(case))
    for axes, case in zip(column[:, 0], drawn, strict=True):
        _draw_case(axes, case, looks, longest)
    column[-1, 0].set_xlabel(f"time of a step, {YARDSTICK} = 1 (logarithmic)")
    runs = distinct_runs(cases)
    headline = _headline(cases)
    style.finish(figure, headline, foot_words(runs))
    return Chart(
        NAME,
        TOPIC,
        headline,
        f"Horizontal bars of the time of a step as a multiple of {YARDSTICK}'s. {headline}.",
        figure,
        _table(cases),
        (
            "Ratios are of paired rounds with 95 % intervals; every framework ran in a process of "
            "its own with the same number of threads and the same weights.",
            "The arms of one case took turns within each round. Layouts are cases of their own, "
            "since a framework knows its images in one order.",
        ),
        runs,
    )


def _id(arm: ArmSummary) -> str:
    return arm.result.arm.id


def _others(case: MeasuredCase) -> list[ArmSummary]:
    """The arms that are compared with the static engine, fastest first."""
    found = [arm for arm in case.summary.arms if arm.relative is not None and is_measured(arm)]
    return sorted(found, key=_ratio)


def _ratio(arm: ArmSummary) -> float:
    return arm.relative.ratio if arm.relative is not None else 1.0


def _interval(arm: ArmSummary) -> Interval | None:
    return None if arm.relative is None else interval_of(arm.relative.low, arm.relative.high)


def _ends(arm: ArmSummary) -> Interval:
    return _interval(arm) or (_ratio(arm), _ratio(arm))


def _draw_case(
    axes: Axes, case: MeasuredCase, looks: dict[str, style.Look], longest: float
) -> None:
    arms = _others(case)
    axes.set_xscale("log")
    shortest = min(0.9, *(_ends(arm)[0] for arm in arms))
    axes.set_xlim(shortest * 0.8, longest * 10 ** (0.25 * (1 + math.log10(longest))))
    for place, arm in enumerate(arms):
        # Bars start at 1, the static engine: to the right is slower.
        parts.bars(axes, [place], [_ratio(arm) - 1], looks[_id(arm)], starts=[1.0], height=0.72)
        low, high = _ends(arm)
        if high > low:
            parts.whiskers(axes, place, low, high)
        text = f"{ratio_words(_ratio(arm), _interval(arm))}, {_seconds(arm)}"
        parts.end_label(axes, max(high, 1.0), place, text)
    parts.row_labels(axes, range(len(arms)), [_id(arm) for arm in arms])
    axes.axvline(1.0, color=style.INK, linewidth=1.2)
    static = case.arm(YARDSTICK)
    seconds = _seconds(static) if static is not None else ""
    axes.set_title(f"{case.case.workload}, {_words(case)}: {YARDSTICK} {seconds}")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(_times))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _times(value: float, _position: int) -> str:
    return f"{value:g}x"


def _seconds(arm: ArmSummary) -> str:
    return numbers.format_seconds(arm.median_seconds or 0.0, arm.interval_seconds)


def _words(case: MeasuredCase) -> str:
    """The axes that tell cases apart, in words."""
    named = ("size", "layer", "direction", "mode", "layout")
    found = [case.parameter(name) for name in named if case.parameter(name)]
    found += [f"{case.parameter('head')} head"] if case.parameter("head") else []
    found += [f"batch {case.parameter('batch')}"] if case.parameter("batch") else []
    return ", ".join(found)


def _headline(cases: Sequence[MeasuredCase]) -> str:
    """In how many cases the static engine leads every framework, and where it does not."""
    led: list[MeasuredCase] = []
    missed: list[MeasuredCase] = []
    for case in cases:
        engines = peer_names(case.run)
        rivals = [arm for arm in _others(case) if is_peer(arm.result, engines)]
        ahead = all(_ends(arm)[0] > 1 and _significant(arm) for arm in rivals)
        (led if ahead else missed).append(case)
    sentence = (
        f"{YARDSTICK} is shown faster than every framework in {len(led)} of {len(cases)} cases"
    )
    if not missed:
        return sentence
    names = [f"{case.case.workload} {_words(case)}" for case in missed]
    shown = names if len(names) <= 3 else [*names[:2], f"{len(names) - 2} more"]
    return f"{sentence}; not in {join_words(shown)}"


def _significant(arm: ArmSummary) -> bool:
    return arm.relative is not None and arm.relative.significant


def _table(cases: Sequence[MeasuredCase]) -> Table:
    rows = []
    for case in cases:
        static = case.arm(YARDSTICK)
        arms = ([static] if static is not None else []) + _others(case)
        for arm in arms:
            ratio = "1" if arm is static else ratio_words(_ratio(arm), _interval(arm))
            rows.append([f"{case.case.workload} {_words(case)}", _id(arm), _seconds(arm), ratio])
    return text_table(["case", "engine", "step", f"times {YARDSTICK}"], rows, words=["engine"])
