"""How much of preparing batches hides behind the step that trains on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from benchctl.compare.overlap import HiddenShare, Timing, hidden_share
from benchctl.compare.summary import ArmSummary
from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import interval_of, other_axes
from benchctl.report.published import Published
from benchctl.report.table import Table
from benchctl.report.views import MeasuredCase, View, distinct_runs
from benchctl.report.wording import foot_words

NAME = "overlap"
WORKLOAD = "input_pipeline"
TOPIC = "Preparing batches beside the step"
COMMAND = f"benchctl run {WORKLOAD} -a prepare=none,numpy,python -a prefetch=0,2"
READY, NOTHING_AHEAD = "none", "0"
STEP_LOOK = style.Look(style.BLUE)
WAITED_LOOK = style.Look(style.ORANGE, hatch="///", hatch_color=style.EDGE)
MOST_ROWS = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One arm with a thread that works ahead: the same step with ready batches, and without it."""

    arm_id: str
    prepare: str
    words: str
    alone: Timing
    one_by_one: Timing
    together: Timing
    hidden: HiddenShare
    cases: tuple[MeasuredCase, ...]


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """A bar per engine and way of preparing: the step, and what is still waited for."""
    rows = find_rows(view)
    if not rows:
        reason = "no step is measured with ready batches, without a thread and with one"
        return MissingChart(NAME, TOPIC, reason, COMMAND)
    shown = rows[:MOST_ROWS]
    figure = style.new_figure(2.0 + 0.55 * len(shown))
    (axes,) = style.panels(figure, 1)
    _draw_rows(axes, shown)
    runs = distinct_runs(case for row in rows for case in row.cases)
    headline = "; ".join(_sentence(row) for row in _ends(rows))
    looks = {"the step, batches ready": STEP_LOOK, "waited for, with a thread ahead": WAITED_LOOK}
    handles = [
        *parts.arm_handles(looks),
        Patch(facecolor="none", edgecolor=style.INK, label="without a thread"),
    ]
    style.finish(figure, headline, foot_words(runs), handles, columns=3)
    notes = [
        "The engine has one thread fewer than the run, in all of these cases. They shared no "
        "rounds, so the interval of a share is the widest that the medians' 95 % intervals allow."
    ]
    if len(rows) > len(shown):
        notes.append(f"{len(rows) - len(shown)} more are in the table only.")
    return Chart(
        NAME,
        TOPIC,
        headline,
        f"Horizontal bars of the step and of what it waits for. {headline}.",
        figure,
        _table(rows),
        tuple(notes),
        runs,
    )


def find_rows(view: View) -> tuple[Row, ...]:
    """Every arm of a case that works ahead, where the two it is compared with were measured too."""
    ready: dict[tuple[tuple[str, str], ...], MeasuredCase] = {}
    waiting: dict[tuple[tuple[str, str], ...], MeasuredCase] = {}
    for case in view.of(WORKLOAD):
        if case.parameter("prefetch") != NOTHING_AHEAD:
            continue
        if case.parameter("prepare") == READY:
            # The size of pictures that nobody prepares does not matter.
            ready[other_axes(case, "prepare", "prefetch", "side")] = case
        else:
            waiting[other_axes(case, "prefetch")] = case
    rows = []
    for case in view.of(WORKLOAD):
        alone = ready.get(other_axes(case, "prepare", "prefetch", "side"))
        one_by_one = waiting.get(other_axes(case, "prefetch"))
        if alone is not None and one_by_one is not None and one_by_one is not case:
            rows += _rows_of(alone, one_by_one, case)
    return tuple(rows)


def _rows_of(alone: MeasuredCase, one_by_one: MeasuredCase, together: MeasuredCase) -> list[Row]:
    rows = []
    cases = (alone, one_by_one, together)
    prepare, side = together.parameter("prepare"), together.parameter("side")
    words = f"{prepare}, {side}x{side}, {together.parameter('prefetch')} ahead"
    for arm in together.arms():
        name = arm.result.arm.id
        first, second, third = (_timing(case.arm(name)) for case in cases)
        if first is None or second is None or third is None:
            continue
        hidden = hidden_share(first, second, third)
        if hidden is not None:
            rows.append(Row(name, prepare, words, first, second, third, hidden, cases))
    return rows


def _timing(arm: ArmSummary | None) -> Timing | None:
    if arm is None or arm.median_seconds is None:
        return None
    return Timing(arm.median_seconds, interval_of(arm))


def _ends(rows: Sequence[Row]) -> list[Row]:
    """The row of each way of preparing that hides most, in the order measured."""
    best: dict[str, Row] = {}
    for row in rows:
        known = best.get(row.prepare)
        if known is None or row.hidden.share > known.hidden.share:
            best[row.prepare] = row
    return list(best.values())


def _draw_rows(axes: Axes, rows: Sequence[Row]) -> None:
    longest = []
    for place, row in enumerate(rows):
        alone, together = row.alone.seconds, row.together.seconds
        parts.bars(axes, [place], [min(alone, together)], STEP_LOOK, height=0.5)
        if together > alone:
            waited = together - alone
            parts.bars(axes, [place], [waited], WAITED_LOOK, height=0.5, starts=[alone])
        axes.barh(
            [place], [row.one_by_one.seconds], height=0.7, facecolor="none", edgecolor=style.INK
        )
        if row.together.interval:
            parts.whiskers(axes, place, *row.together.interval)
        end = max(row.one_by_one.seconds, *(row.together.interval or (together,)))
        parts.end_label(axes, end, place, f"{share_text(row.hidden.share)} hidden")
        longest.append(end)
    parts.row_labels(axes, range(len(rows)), [f"{row.arm_id}: {row.words}" for row in rows])
    parts.time_axis(axes, longest, share=0.2)


def share_text(share: float) -> str:
    """`83 %`, also below 0."""
    return f"{round(100 * share)} %"


def share_words(hidden: HiddenShare) -> str:
    """`83 % (71 - 90)`, or `about 83 %` where there is no interval."""
    if hidden.interval is None:
        return f"about {share_text(hidden.share)}"
    low, high = (round(100 * each) for each in hidden.interval)
    return f"{share_text(hidden.share)} ({low} - {high})"


def _sentence(row: Row) -> str:
    share = share_words(row.hidden)
    return f"{share} of preparing hides behind the step ({row.arm_id}, {row.words})"


def _table(rows: Sequence[Row]) -> Table:
    cells = [
        [
            row.arm_id,
            row.words,
            *(
                numbers.format_seconds(each.seconds, each.interval)
                for each in (row.alone, row.one_by_one, row.together)
            ),
            share_words(row.hidden),
        ]
        for row in rows
    ]
    titles = ["engine", "prepared in", "batches ready", "no thread", "a thread ahead", "hidden"]
    return text_table(titles, cells, words=["prepared in"])
