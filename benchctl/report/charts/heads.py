"""The classifier as dense layers (fc) against the same classifier as convolutions (conv)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import Pairing, interval_of, pair_cases
from benchctl.report.published import Published
from benchctl.report.table import Table
from benchctl.report.views import View, distinct_runs
from benchctl.report.wording import capitalised, foot_words, ratio_words

NAME = "heads"
TOPIC = "The classifier: fc against conv head"
COMMAND = "benchctl run heads -a head=fc,conv -a mode=inference,training"
HEADS = ("fc", "conv")
FC_LOOK = style.Look(style.BLUE)
CONV_LOOK = style.Look(style.ORANGE, hatch="///", hatch_color=style.EDGE)
MOST_PANELS = 4


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """Pairs of bars per engine, one panel for each setting measured."""
    pairs = pair_cases(view.of("heads"), "head", "conv", "fc")
    if not pairs:
        return MissingChart(NAME, TOPIC, "the classifier is not measured in both forms", COMMAND)
    groups: dict[str, list[Pairing]] = {}
    for pair in pairs:
        groups.setdefault(_setting(pair), []).append(pair)
    shown = list(groups.items())[:MOST_PANELS]
    figure = style.new_figure(2.0 + sum(0.55 + 0.5 * len(group) for _, group in shown))
    heights = [len(group) + 0.6 for _, group in shown]
    column = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
    for axes, (name, group) in zip(column[:, 0], shown, strict=True):
        _draw_group(axes, group)
        axes.set_title(name)
    runs = distinct_runs(case for pair in pairs for case in pair.cases)
    headline = _headline(groups)
    handles = [
        Patch(facecolor=FC_LOOK.color, edgecolor=style.PAPER, label="fc: dense layers"),
        Patch(
            facecolor=CONV_LOOK.color,
            edgecolor=style.EDGE,
            hatch=CONV_LOOK.hatch,
            label="conv: 7x7 and 1x1 convolutions",
        ),
    ]
    style.finish(figure, headline, foot_words(runs), handles)
    notes = [
        "Both forms have the same weights and give the same numbers. They are different cases "
        "that shared no rounds, so the interval of a ratio is the widest that both medians' 95 % "
        "intervals allow."
    ]
    if len(groups) > len(shown):
        left = len(groups) - len(shown)
        notes.append(f"{left} more settings are in the table only.")
    table = _table(pairs)
    return Chart(
        NAME,
        TOPIC,
        headline,
        f"Paired horizontal bars, fc above conv, for every engine. {headline}.",
        figure,
        table,
        tuple(notes),
        runs,
    )


def _setting(pair: Pairing) -> str:
    shared = dict(pair.group)
    found = [shared[name] for name in ("layout", "mode") if name in shared]
    found += [f"batch {shared['batch']}"] if "batch" in shared else []
    return ", ".join(found) or "all engines"


def _draw_group(axes: Axes, group: Sequence[Pairing]) -> None:
    longest = []
    for place, pair in enumerate(group):
        for shift, arm, look in ((-0.2, pair.second, FC_LOOK), (0.2, pair.first, CONV_LOOK)):
            median, interval = arm.median_seconds or 0.0, interval_of(arm)
            parts.bars(axes, [place + shift], [median], look, height=0.36)
            if interval:
                parts.whiskers(axes, place + shift, *interval)
            end = interval[1] if interval else median
            text = numbers.format_seconds(median, interval)
            parts.end_label(axes, end, place + shift, text)
            longest.append(end)
    parts.row_labels(axes, range(len(group)), [pair.arm_id for pair in group])
    parts.time_axis(axes, longest, share=0.14)


def _headline(groups: dict[str, list[Pairing]]) -> str:
    """What the form does to the fastest engine, in the first setting and in the last."""
    names = list(groups)
    ends = dict.fromkeys((names[0], names[-1]))
    return capitalised("; ".join(_sentence(name, groups[name]) for name in ends))


def _sentence(name: str, group: Sequence[Pairing]) -> str:
    pair = min(group, key=_fastest)
    if not pair.clear:
        return f"no difference is shown between fc and conv head ({pair.arm_id}, {name})"
    ratio, interval, faster, slower = pair.ratio, pair.interval, "fc", "conv"
    if ratio < 1:
        ratio, faster, slower = 1 / ratio, "conv", "fc"
        interval = None if interval is None else (1 / interval[1], 1 / interval[0])
    words = ratio_words(ratio, interval)
    return f"{faster} is {words} faster than {slower} ({pair.arm_id}, {name})"


def _fastest(pair: Pairing) -> float:
    return min(pair.first.median_seconds or 0.0, pair.second.median_seconds or 0.0)


def _table(pairs: Sequence[Pairing]) -> Table:
    rows = []
    for pair in pairs:
        conv, fc = pair.first, pair.second
        rows.append(
            [
                _setting(pair),
                pair.arm_id,
                numbers.format_seconds(fc.median_seconds or 0.0, interval_of(fc)),
                numbers.format_seconds(conv.median_seconds or 0.0, interval_of(conv)),
                ratio_words(pair.ratio, pair.interval),
            ]
        )
    return text_table(["setting", "engine", "fc", "conv", "conv / fc"], rows, words=["engine"])
