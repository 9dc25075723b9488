"""The VGG16 slide: its five rows, published figures ghosted behind what is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from benchctl.compare.summary import ArmSummary
from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import interval_of, other_axes, unpaired, winner
from benchctl.report.published import Published, PublishedVgg
from benchctl.report.table import Table
from benchctl.report.views import MeasuredCase, View, distinct_runs
from benchctl.report.wording import capitalised, foot_words, speedup_sentence

NAME = "vgg16"
TOPIC = "VGG16, forward pass"
COMMAND = "benchctl run vgg16 -a layout=NHWC,NCHW -a head=conv,fc"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the slide with the arms that measured it; `case` is None where nobody did."""

    published: PublishedVgg
    case: MeasuredCase | None
    arms: tuple[ArmSummary, ...]

    @property
    def name(self) -> str:
        """The row in our words."""
        variant = f"{self.published.layout}, {self.published.head} head"
        return f"{self.published.counterpart}, {variant}" if self.published.counterpart else variant

    def arm(self, arm_id: str) -> ArmSummary | None:
        """The arm of that id, if it measured this row."""
        return next((each for each in self.arms if each.result.arm.id == arm_id), None)


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """Five groups of bars: measured on the lower axis, published on the upper."""
    rows = find_rows(view, published)
    cases = [row.case for row in rows if row.case is not None]
    if not cases:
        return MissingChart(NAME, TOPIC, "VGG16 inference is not measured", COMMAND)
    arms = list(dict.fromkeys(arm.result.arm.id for row in rows for arm in row.arms))
    looks = style.arm_looks(arms)
    figure = style.new_figure(2.4 + len(rows) * (0.34 + 0.2 * len(arms)))
    (axes,) = style.panels(figure, 1)
    _draw_rows(axes, rows, looks)
    _draw_published_axis(axes, rows, published)
    runs = distinct_runs(cases)
    headline = _headline(rows)
    provenance = published.vgg16_provenance
    ghost = parts.published_handle(
        f"published {provenance.year}: {provenance.machine.partition(',')[0]}, "
        f"batch {published.vgg16_batch} (upper axis)"
    )
    handles = [*parts.arm_handles(looks), ghost]
    style.finish(figure, headline, foot_words(runs), handles)
    table = _table(rows, arms)
    described = "; ".join(" ".join(cell for cell in row if cell != "-") for row in table.rows)
    return Chart(
        NAME,
        TOPIC,
        headline,
        f"Grouped horizontal bars for the five rows of the slide. {described}.",
        figure,
        table,
        _notes(rows, published),
        runs,
    )


def find_rows(view: View, published: Published) -> tuple[Row, ...]:
    """The slide's rows with one batch, image size and width: those that fill most rows."""
    groups: dict[tuple[tuple[str, str], ...], dict[tuple[str, str], MeasuredCase]] = {}
    for case in view.of("vgg16"):
        if case.parameter("mode", "inference") != "inference" or not case.arms():
            continue
        variant = (case.parameter("layout"), case.parameter("head"))
        groups.setdefault(other_axes(case, "layout", "head"), {})[variant] = case
    size = str(published.vgg16_image_size)

    def fullness(shared: tuple[tuple[str, str], ...]) -> tuple[int, bool]:
        return len(groups[shared]), dict(shared).get("image_size") == size

    best = groups[max(groups, key=fullness)] if groups else {}
    return tuple(_row(figure, best.get((figure.layout, figure.head))) for figure in published.vgg16)


def _row(figure: PublishedVgg, case: MeasuredCase | None) -> Row:
    arms = () if case is None else case.arms()
    if figure.counterpart:
        arms = tuple(arm for arm in arms if arm.result.arm.engine == figure.counterpart)
    return Row(figure, case, arms)


def _headline(rows: Sequence[Row]) -> str:
    """The two things that the slide is about: the classifier's form, and the engine."""
    found = []
    by_variant = {
        (row.published.layout, row.published.head): row
        for row in rows
        if not row.published.counterpart
    }
    fc, conv = by_variant.get(("NHWC", "fc")), by_variant.get(("NHWC", "conv"))
    best = next((arm for arm in _ranked(fc)), None)
    if fc and conv and best:
        other = conv.arm(best.result.arm.id)
        speedup = unpaired("the fc head", best, "the conv head", other) if other else None
        if speedup:
            found.append(f"{speedup_sentence(speedup)} ({best.result.arm.id}, NHWC)")
    last = by_variant.get(("NCHW", "fc"))
    engines = winner(last.case) if last and last.case else None
    if engines:
        found.append(speedup_sentence(engines, "with NCHW and fc head"))
    if not found:
        return "VGG16, forward pass, measured and published"
    return capitalised("; ".join(found))


def _ranked(row: Row | None) -> list[ArmSummary]:
    return sorted(row.arms, key=_median) if row else []


def _median(arm: ArmSummary) -> float:
    return arm.median_seconds or 0.0


def _draw_rows(axes: Axes, rows: Sequence[Row], looks: dict[str, style.Look]) -> None:
    height = 0.8 / max(1, len(looks))
    longest = _longest(rows)
    for place, row in enumerate(rows):
        first = place - height * (len(row.arms) - 1) / 2
        for index, arm in enumerate(row.arms):
            at = first + index * height
            interval = interval_of(arm)
            parts.bars(axes, [at], [_median(arm)], looks[arm.result.arm.id], height=height * 0.8)
            if interval:
                parts.whiskers(axes, at, *interval)
            end = min(interval[1], longest) if interval else _median(arm)
            parts.end_label(axes, end, at, numbers.format_seconds(_median(arm), interval))
        if not row.arms:
            parts.end_label(axes, 0.0, place, "not measured", muted=True)
    parts.row_labels(
        axes, range(len(rows)), [f"{row.name}\n({row.published.name})" for row in rows]
    )
    parts.time_axis(axes, [longest], share=0.16)
    batches = {row.case.parameter("batch", "1") for row in rows if row.case}
    axes.set_xlabel(f"{axes.get_xlabel()}, measured, batch {'/'.join(sorted(batches))}")


def _draw_published_axis(axes: Axes, rows: Sequence[Row], published: Published) -> None:
    """Behind the bars, scaled so that the slowest row is as long as the slowest measured one."""
    slowest = max(row.published.seconds for row in rows)
    scale = _slowest(rows) / slowest
    lengths = [row.published.seconds * scale for row in rows]
    parts.published_bars(axes, range(len(rows)), lengths, height=0.94)
    for place, row in enumerate(rows):
        axes.annotate(
            f"{row.published.seconds * 1e3:g} ms",
            (row.published.seconds * scale, place - 0.47),
            xytext=(-3, -2),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=7.5,
            fontstyle="italic",
            color=style.MUTED,
            bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.5, "alpha": 0.85},
        )

    # matplotlib passes arrays; its types name all that could become one.
    def published_of(measured: Any) -> Any:
        return measured / scale

    def measured_of(published_seconds: Any) -> Any:
        return published_seconds * scale

    upper = axes.secondary_xaxis("top", functions=(published_of, measured_of))
    upper.xaxis.set_major_formatter(FuncFormatter(_milliseconds))
    upper.set_xlabel(f"time (ms), published, batch {published.vgg16_batch}", color=style.MUTED)
    upper.tick_params(colors=style.MUTED)


def _slowest(rows: Sequence[Row]) -> float:
    return max((_median(arm) for row in rows for arm in row.arms), default=1.0)


def _longest(rows: Sequence[Row]) -> float:
    """Where the axis must reach: the ends of the whiskers, unless one would squeeze the rest."""
    ends = [
        interval[1]
        for row in rows
        for arm in row.arms
        if (interval := interval_of(arm)) is not None
    ]
    slowest = _slowest(rows)
    return min(max([slowest, *ends]), 1.35 * slowest)


def _milliseconds(seconds: float, _position: int) -> str:
    return f"{seconds * 1e3:g}"


def _table(rows: Sequence[Row], arms: Sequence[str]) -> Table:
    titles = [
        "row of the slide",
        "in our words",
        "published",
        *(f"{arm}, measured" for arm in arms),
    ]
    cells = []
    for row in rows:
        measured = []
        for arm_id in arms:
            arm = row.arm(arm_id)
            measured.append(
                "-" if arm is None else numbers.format_seconds(_median(arm), interval_of(arm))
            )
        published = f"{row.published.seconds * 1e3:g} ms"
        cells.append([row.published.name, row.name, published, *measured])
    return text_table(titles, cells, words=["in our words"])


def _notes(rows: Sequence[Row], published: Published) -> tuple[str, ...]:
    provenance = published.vgg16_provenance
    title = next((row.case.case.title for row in rows if row.case), "")
    notes = [
        f"Published: {provenance.source}; {provenance.machine}; {provenance.method}. Another "
        "machine and another batch than measured here, hence an axis of its own: both axes are "
        "scaled so that their slowest rows are equally long. Compare shapes, not milliseconds.",
        "The row pytorch is answered by the eager engine here, in the layout and with the head "
        "that PyTorch used.",
    ]
    if title:
        notes.append(f"Measured: {title}, and the other variants named in the rows.")
    return tuple(notes)
