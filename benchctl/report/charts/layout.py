"""NCHW against NHWC for each convolution shape of VGG16, forward and backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import Pairing, geometric_mean, interval_of, pair_cases
from benchctl.report.published import Published
from benchctl.report.table import Table
from benchctl.report.views import View, distinct_runs
from benchctl.report.wording import foot_words, join_words, ratio_words, sentence_case

NAME = "layout"
TOPIC = "NCHW against NHWC, layer by layer"
COMMAND = "benchctl run layout -a layout=NCHW,NHWC -a direction=forward,backward"
DIRECTIONS = ("forward", "backward")


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """A dot per layer and engine: how many times longer NHWC takes than NCHW."""
    pairs = find_pairs(view)
    if not pairs:
        return MissingChart(NAME, TOPIC, "no layer is measured in both layouts", COMMAND)
    layers = sorted({axis(pair, "layer") for pair in pairs})
    looks = style.arm_looks(list(dict.fromkeys(pair.arm_id for pair in pairs)))
    shown = [each for each in DIRECTIONS if any(direction(pair) == each for pair in pairs)]
    figure = style.new_figure(2.2 + len(layers) * (0.18 + 0.11 * len(looks)))
    ratios = [value for pair in pairs for value in (pair.ratio, *(pair.interval or ()))]
    for place, (name, axes) in enumerate(zip(shown, style.panels(figure, len(shown)), strict=True)):
        _draw_direction(axes, [p for p in pairs if direction(p) == name], layers, looks)
        parts.ratio_axis(axes, ratios)
        if place:
            axes.set_yticklabels([])
        axes.set_title(name)
        axes.set_xlabel("time in NHWC / time in NCHW\nNHWC faster  <  1x  >  NCHW faster")
    runs = distinct_runs(case for pair in pairs for case in pair.cases)
    headline = _headline(pairs, shown)
    handles = [_handle(look, name) for name, look in looks.items()]
    style.finish(figure, headline, foot_words(runs), handles)
    return Chart(
        NAME,
        TOPIC,
        headline,
        f"Dots on a logarithmic axis of ratios, one row a layer ({len(layers)}). {headline}.",
        figure,
        _table(pairs, layers, shown),
        (
            "Right of the line NCHW is faster, left of it NHWC. The two layouts are different "
            "cases that shared no rounds, so the interval is the widest that both medians' 95 % "
            "intervals allow; a hollow dot marks one that includes 1. A pair is one layer on one "
            "engine.",
            _batch_note(pairs),
        ),
        runs,
    )


def find_pairs(view: View) -> tuple[Pairing, ...]:
    """NHWC over NCHW for every layer, arm and direction, at the batch measured for most of them."""
    pairs = pair_cases(view.of("layout"), "layout", "NHWC", "NCHW")
    if not pairs:
        return ()
    most, _ = Counter(map(_setting, pairs)).most_common(1)[0]
    return tuple(pair for pair in pairs if _setting(pair) == most)


def axis(pair: Pairing, name: str) -> str:
    """An axis value that both cases of a pair share."""
    return dict(pair.group).get(name, "")


def direction(pair: Pairing) -> str:
    """Forward or backward."""
    named = axis(pair, "direction")
    return named or ("forward" if axis(pair, "step") == "forward" else "backward")


def _setting(pair: Pairing) -> tuple[tuple[str, str], ...]:
    return tuple(each for each in pair.group if each[0] not in ("layer", "direction", "step"))


def _draw_direction(
    axes: Axes, pairs: Sequence[Pairing], layers: Sequence[str], looks: dict[str, style.Look]
) -> None:
    offset = 0.7 / max(1, len(looks))
    order = list(looks)
    for pair in pairs:
        look = looks[pair.arm_id]
        shift = (order.index(pair.arm_id) - (len(order) - 1) / 2) * offset
        place = layers.index(axis(pair, "layer")) + shift
        if pair.interval:
            axes.plot(pair.interval, [place, place], color=look.color, linewidth=1.4)
        axes.plot(
            [pair.ratio],
            [place],
            marker=look.marker,
            markersize=6.5,
            color=look.color,
            markerfacecolor=look.color if pair.clear else style.PAPER,
            linestyle="none",
        )
    parts.row_labels(axes, range(len(layers)), layers)
    for place in range(len(layers) - 1):
        axes.axhline(place + 0.5, color=style.GRID, linewidth=0.6)


def _handle(look: style.Look, name: str) -> Line2D:
    return Line2D(
        [], [], marker=look.marker, color=look.color, markersize=7, linestyle="none", label=name
    )


def _headline(pairs: Sequence[Pairing], shown: Sequence[str]) -> str:
    """Which layout wins how often, and on the whole."""
    found = []
    for name in shown:
        here = [pair for pair in pairs if direction(pair) == name]
        nchw = sum(pair.clear and pair.ratio > 1 for pair in here)
        nhwc = sum(pair.clear and pair.ratio < 1 for pair in here)
        found.append(f"{name}, NCHW is faster in {nchw} and NHWC in {nhwc} of {len(here)} pairs")
    widest = max(pairs, key=_distance)
    if not widest.clear:
        return sentence_case("; ".join(found))
    ratio, interval = widest.ratio, widest.interval
    winner = "NCHW"
    if ratio < 1:
        winner, ratio = "NHWC", 1 / ratio
        interval = None if interval is None else (1 / interval[1], 1 / interval[0])
    found.append(
        f"at most {winner} is {ratio_words(ratio, interval)} faster "
        f"({axis(widest, 'layer')} {direction(widest)}, {widest.arm_id})"
    )
    return sentence_case("; ".join(found))


def _distance(pair: Pairing) -> tuple[bool, float]:
    return pair.clear, max(pair.ratio, 1 / pair.ratio)


def _table(pairs: Sequence[Pairing], layers: Sequence[str], shown: Sequence[str]) -> Table:
    rows = []
    ordered = sorted(pairs, key=lambda pair: (layers.index(axis(pair, "layer")), pair.arm_id))
    for name in shown:
        for pair in (each for each in ordered if direction(each) == name):
            nhwc, nchw = pair.first, pair.second
            rows.append(
                [
                    axis(pair, "layer"),
                    name,
                    pair.arm_id,
                    numbers.format_seconds(nchw.median_seconds or 0.0, interval_of(nchw)),
                    numbers.format_seconds(nhwc.median_seconds or 0.0, interval_of(nhwc)),
                    ratio_words(pair.ratio, pair.interval),
                    _faster(pair),
                ]
            )
    for arm in dict.fromkeys(pair.arm_id for pair in ordered):
        for name in shown:
            ratios = [p.ratio for p in pairs if p.arm_id == arm and direction(p) == name]
            if len(ratios) > 1:
                mean = f"{geometric_mean(ratios):.3g}x"
                rows.append(["geometric mean", name, arm, "-", "-", mean, "-"])
    titles = ["layer", "direction", "engine", "NCHW", "NHWC", "NHWC / NCHW", "faster"]
    return text_table(titles, rows, words=["direction", "engine", "faster"])


def _faster(pair: Pairing) -> str:
    if not pair.clear:
        return "not shown"
    return "NCHW" if pair.ratio > 1 else "NHWC"


def _batch_note(pairs: Sequence[Pairing]) -> str:
    facts = [f"{name} {value}" for name, value in _setting(pairs[0])]
    return f"All pairs: {join_words(facts)}." if facts else "All pairs have the same other axes."
