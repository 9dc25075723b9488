"""Where the first second goes: import, build, compile and first run, cold and warm, per engine."""

from __future__ import annotations

from dataclasses import dataclass

from benchctl.compare.summary import ArmSummary
from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.charts.gradient import find_case
from benchctl.report.findings import ALL_PHASES, interval_of, phase_seconds
from benchctl.report.published import Published
from benchctl.report.table import Table
from benchctl.report.views import MeasuredCase, View
from benchctl.report.wording import foot_words, share_words
from benchctl.store.record import Phases

NAME = "phases"
TOPIC = "From start to first result"


@dataclass(frozen=True, slots=True)
class Row:
    """One start of one arm: with an empty ("cold") or a filled ("warm") cache."""

    arm: ArmSummary
    phases: Phases

    @property
    def name(self) -> str:
        """The row's label."""
        return f"{self.arm.result.arm.id}, {self.phases.cache}"

    @property
    def total_seconds(self) -> float:
        """All phases together, import included."""
        found = (phase_seconds(self.phases, name) for name in ALL_PHASES)
        return sum(value for value in found if value is not None)

    @property
    def longest_phase(self) -> str:
        """The phase that took most of the time."""
        seconds = {name: phase_seconds(self.phases, name) or 0.0 for name in ALL_PHASES}
        return max(seconds, key=seconds.__getitem__)


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """Stacked bars, a row for each arm and each state of the cache."""
    case = find_case(view, published)
    rows = [] if case is None else phase_rows(case)
    if case is None or not rows:
        return MissingChart(
            NAME,
            TOPIC,
            f"the phases of xyz are not measured at {published.gradient_size}",
            f"benchctl run xyz -a size={published.gradient_size}",
        )
    figure = style.new_figure(1.9 + 0.36 * len(rows))
    (axes,) = style.panels(figure, 1)
    starts = [0.0] * len(rows)
    places = range(len(rows))
    for name in ALL_PHASES:
        lengths = [phase_seconds(row.phases, name) or 0.0 for row in rows]
        parts.bars(axes, places, lengths, style.PHASE_LOOKS[name], starts=starts, height=0.66)
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    for place, row in enumerate(rows):
        step = numbers.format_seconds(row.arm.median_seconds or 0.0, interval_of(row.arm))
        text = f"{numbers.format_seconds(row.total_seconds)}, then {step} a step"
        parts.end_label(axes, row.total_seconds, place, text)
    parts.row_labels(axes, places, [row.name for row in rows])
    parts.time_axis(axes, [row.total_seconds for row in rows], share=0.34)
    headline = _headline(case, rows)
    style.finish(figure, headline, foot_words([case.run]), parts.phase_handles(ALL_PHASES))
    described = "; ".join(
        f"{row.name}: {numbers.format_seconds(row.total_seconds)} in all" for row in rows
    )
    return Chart(
        NAME,
        TOPIC,
        headline,
        f"Stacked horizontal bars of the phases up to the first result. {described}.",
        figure,
        phase_table(rows),
        (
            "Cold: the engine's cache of compiled kernels is empty. Warm: it is as an earlier run "
            "left it. A row is left out where that start was not measured.",
        ),
        (case.run,),
    )


def phase_rows(case: MeasuredCase) -> list[Row]:
    """The starts of every measured arm, cold before warm, in the plan's order."""
    rows = []
    for arm in case.arms():
        for cache in ("cold", "warm"):
            phases = arm.result.phases_with(cache)
            if phases is not None:
                rows.append(Row(arm, phases))
    return rows


def _headline(case: MeasuredCase, rows: list[Row]) -> str:
    cold = [row for row in rows if row.phases.cache == "cold"] or rows
    slowest = max(cold, key=_total)
    name = slowest.longest_phase
    seconds = phase_seconds(slowest.phases, name) or 0.0
    share = seconds / slowest.total_seconds if slowest.total_seconds else 0.0
    return (
        f"{slowest.arm.result.arm.id} takes longest to its first result at "
        f"{case.parameter('size')}, {numbers.format_seconds(slowest.total_seconds)}: "
        f"{share_words(share)} of it is {style.PHASE_NAMES[name]}"
    )


def _total(row: Row) -> float:
    return row.total_seconds


def phase_table(rows: list[Row]) -> Table:
    titles = ["engine", "cache", *(style.PHASE_NAMES[name] for name in ALL_PHASES)]
    cells = []
    for row in rows:
        found = [phase_seconds(row.phases, name) for name in ALL_PHASES]
        times = ["-" if value is None else numbers.format_seconds(value) for value in found]
        step = numbers.format_seconds(row.arm.median_seconds or 0.0, interval_of(row.arm))
        total = numbers.format_seconds(row.total_seconds)
        cells.append([row.arm.result.arm.id, row.phases.cache, *times, total, step])
    return text_table([*titles, "to first result", "steady step"], cells, words=["cache"])
