"""Peak memory by engine: the worker's resident set and the engine's own arena or pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchctl.compare.summary import ArmSummary
from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import other_axes
from benchctl.report.published import Published
from benchctl.report.table import Table
from benchctl.report.views import MeasuredCase, View, distinct_runs
from benchctl.report.wording import foot_words

NAME = "memory"
TOPIC = "Memory by engine"
COMMAND = "benchctl run vgg16 -a mode=inference,training"
MODES = ("inference", "training")


@dataclass(frozen=True, slots=True)
class Panel:
    """One mode with the arms whose memory is known."""

    mode: str
    case: MeasuredCase
    arms: tuple[ArmSummary, ...]

    @property
    def name(self) -> str:
        """The panel's heading: mode, batch and size of the images."""
        size = self.case.parameter("image_size", "224")
        return f"{self.mode}, batch {self.case.parameter('batch', '1')}, images {size} x {size}"


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """Bars per engine for inference and for training of VGG16."""
    panels = find_panels(view)
    if not panels:
        return MissingChart(NAME, TOPIC, "memory is not measured for VGG16", COMMAND)
    figure = style.new_figure(2.0 + 0.55 * max(len(panel.arms) for panel in panels))
    arms = list(dict.fromkeys(arm.result.arm.id for panel in panels for arm in panel.arms))
    looks = style.arm_looks(arms)
    for axes, panel in zip(style.panels(figure, len(panels)), panels, strict=True):
        _draw_panel(axes, panel, looks)
    runs = distinct_runs(panel.case for panel in panels)
    headline = "; ".join(map(_sentence, panels))
    headline = headline[:1].upper() + headline[1:]
    handles = [
        Patch(facecolor=style.MUTED, edgecolor=style.PAPER, label="resident peak above import"),
        Patch(facecolor="none", edgecolor=style.INK, label="engine's own arena or pool peak"),
    ]
    style.finish(figure, headline, foot_words(runs), handles)
    missing = [mode for mode in MODES if mode not in {panel.mode for panel in panels}]
    notes = [
        "The resident peak holds weights, inputs and results too; the engine's own peak is what "
        "its arena or pool held at most. An engine without either has no second bar.",
        "Measured: "
        + "; ".join(each.case.case.title or each.case.case.id for each in panels)
        + ".",
    ]
    if len({other_axes(panel.case, "mode") for panel in panels}) > 1:
        notes.append("The panels differ in more than the mode: compare engines, not panels.")
    notes += [f"Not measured: {mode} (benchctl run vgg16 -a mode={mode})." for mode in missing]
    return Chart(
        NAME,
        TOPIC,
        headline,
        f"Horizontal bars of peak memory. {headline}.",
        figure,
        _table(panels),
        tuple(notes),
        runs,
    )


def find_panels(view: View) -> tuple[Panel, ...]:
    """Inference and training, with the same other axes where both were measured with some.

    Among those fc and NCHW come first; otherwise each mode is shown as it was measured.
    """
    groups: dict[tuple[tuple[str, str], ...], dict[str, Panel]] = {}
    for case in view.of("vgg16"):
        arms = tuple(arm for arm in case.arms() if resident(arm) is not None)
        mode = case.parameter("mode", "inference")
        if arms and mode in MODES:
            groups.setdefault(other_axes(case, "mode"), {})[mode] = Panel(mode, case, arms)

    def preference(shared: tuple[tuple[str, str], ...]) -> tuple[int, bool, bool]:
        values = dict(shared)
        return len(groups[shared]), values.get("head") == "fc", values.get("layout") == "NCHW"

    panels = []
    for mode in MODES:
        having = [shared for shared in groups if mode in groups[shared]]
        if having:
            panels.append(groups[max(having, key=preference)][mode])
    return tuple(panels)


def resident(arm: ArmSummary) -> int | None:
    """Resident-set peak above the level after import, bytes."""
    return arm.result.memory.resident_above_import


def _draw_panel(axes: Axes, panel: Panel, looks: dict[str, style.Look]) -> None:
    unit = numbers.pick_byte_unit([resident(arm) or 0 for arm in panel.arms])
    longest = 1.0
    for place, arm in enumerate(panel.arms):
        look = looks[arm.result.arm.id]
        peak, own = float(resident(arm) or 0), arm.result.memory.engine_peak
        parts.bars(axes, [place - 0.18], [peak], look, height=0.36)
        parts.end_label(axes, peak, place - 0.18, numbers.format_bytes(peak, unit))
        if own is not None:
            axes.barh(
                [place + 0.2], [own], height=0.3, facecolor="none", edgecolor=look.color, lw=1.6
            )
            parts.end_label(axes, own, place + 0.2, f"{numbers.format_bytes(own, unit)} own")
        longest = max(longest, peak, own or 0)

    def tick(value: float, _position: int) -> str:
        return f"{value / unit.size:g}"

    parts.row_labels(axes, range(len(panel.arms)), [arm.result.arm.id for arm in panel.arms])
    axes.set_xlim(0, longest / 0.68)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(tick))
    axes.set_xlabel(f"peak memory ({unit.symbol})")
    axes.set_title(panel.name)


def _sentence(panel: Panel) -> str:
    """Who needs least and who most; one peak each, hence no interval."""
    least = min(panel.arms, key=_resident_bytes)
    most = max(panel.arms, key=_resident_bytes)
    low, high = _resident_bytes(least), _resident_bytes(most)
    name, other = least.result.arm.id, most.result.arm.id
    if name == other or low <= 0:
        return f"in {panel.mode} {name} peaks at {numbers.format_bytes(high)}"
    if low == high:
        return f"in {panel.mode} every engine peaks at {numbers.format_bytes(low)}"
    return (
        f"in {panel.mode} {name} peaks at {numbers.format_bytes(low)}, "
        f"{other} at {numbers.format_bytes(high)} ({high / low:.2g}x)"
    )


def _resident_bytes(arm: ArmSummary) -> int:
    return resident(arm) or 0


def _table(panels: Sequence[Panel]) -> Table:
    rows = []
    for panel in panels:
        for arm in panel.arms:
            own = arm.result.memory.engine_peak
            rows.append(
                [
                    arm.result.arm.id,
                    panel.name,
                    numbers.format_bytes(resident(arm) or 0),
                    "-" if own is None else numbers.format_bytes(own),
                ]
            )
    return text_table(
        ["engine", "case", "resident peak", "engine's own peak"], rows, words=["case"]
    )
