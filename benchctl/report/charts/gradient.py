"""The gradient slide: one cold run in its phases beside the steady step, and the published one."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Patch

from benchctl.compare.summary import ArmSummary
from benchctl.report import numbers
from benchctl.report.charts import parts, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import (
    COLD_PHASES,
    cold_total,
    interval_of,
    phase_seconds,
    winner,
)
from benchctl.report.published import Published
from benchctl.report.table import Table
from benchctl.report.views import MeasuredCase, View
from benchctl.report.wording import capitalised, foot_words, speedup_sentence

NAME = "gradient"
TOPIC = "Gradient of a small product"


@style.styled
def draw(view: View, published: Published) -> Chart | MissingChart:
    """Bars per engine at the slide's size."""
    case = find_case(view, published)
    if case is None:
        size = published.gradient_size
        return MissingChart(
            NAME,
            TOPIC,
            f"xyz is not measured at {size} on this machine",
            f"benchctl run xyz -a size={size}",
        )
    arms = case.arms()
    headline = capitalised(_headline(case))
    figure = style.new_figure(2.4 + 0.36 * (len(arms) + len(published.gradient)))
    cold, steady = style.panels(figure, 2, (1.25, 1.0))
    _draw_cold(cold, arms, published)
    _draw_steady(steady, arms, published)
    style.finish(figure, headline, foot_words([case.run]), _legend(published))
    return Chart(
        NAME,
        TOPIC,
        headline,
        _describe(case, arms, published),
        figure,
        _table(arms, published),
        _notes(published),
        (case.run,),
    )


def find_case(view: View, published: Published) -> MeasuredCase | None:
    """The case of the slide's size: the default expression, or else what there is."""
    found = [
        case
        for case in view.of("xyz")
        if case.parameter("size") == published.gradient_size and case.arms()
    ]
    found.sort(key=_is_default)
    return found[-1] if found else None


def _is_default(case: MeasuredCase) -> tuple[bool, bool]:
    return (
        case.parameter("expression", "product") == "product",
        case.parameter("legacy_seed", "none") == "none",
    )


def _headline(case: MeasuredCase) -> str:
    arms = {arm.result.arm.id: arm for arm in case.arms()}
    size = case.parameter("size")
    best = winner(case)
    first = speedup_sentence(best, f"at {size}") if best else f"one arm is measured at {size}"
    totals = {name: cold_total(arm.result) for name, arm in arms.items()}
    cold = {name: seconds for name, seconds in totals.items() if seconds is not None}
    if best is None or len(cold) < 2 or best.faster not in cold:
        return first
    quickest = min(cold, key=cold.__getitem__)
    if quickest == best.faster:
        return f"{first}, and the one cold run of {best.faster} is the shortest too"
    own, other = numbers.format_seconds(cold[best.faster]), numbers.format_seconds(cold[quickest])
    return f"{first}; in one cold run {best.faster} takes {own}, {quickest} {other}"


def _draw_cold(axes: Axes, arms: Sequence[ArmSummary], published: Published) -> None:
    places = range(len(arms))
    starts = [0.0] * len(arms)
    for name in COLD_PHASES:
        lengths = [_phase(arm, name) or 0.0 for arm in arms]
        parts.bars(axes, places, lengths, style.PHASE_LOOKS[name], starts=starts, height=0.62)
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    for place, (arm, total) in enumerate(zip(arms, starts, strict=True)):
        missing = cold_total(arm.result) is None
        text = "not measured" if missing else numbers.format_seconds(total)
        parts.end_label(axes, total, place, text, muted=missing)
    figures = published.gradient
    below = [len(arms) + index for index in range(len(figures))]
    seconds = [each.seconds for each in figures]
    parts.published_bars(axes, below, seconds, height=0.62)
    for place, value in zip(below, seconds, strict=True):
        parts.end_label(axes, value, place, f"{value * 1e3:g} ms", muted=True)
    names = [arm.result.arm.id for arm in arms]
    names += [f"{each.name}\n({each.device.upper()}, {_year(published)})" for each in figures]
    parts.row_labels(axes, [*places, *below], names)
    axes.axhline(len(arms) - 0.5, color=style.MUTED, linewidth=0.8, linestyle=":")
    if parts.wide_time_axis(axes, [*starts, *seconds]):
        axes.set_xlabel("time since the start (logarithmic)")
    axes.set_title("One cold run, as on the slide")


def _draw_steady(axes: Axes, arms: Sequence[ArmSummary], published: Published) -> None:
    looks = style.arm_looks([arm.result.arm.id for arm in arms])
    medians = [arm.median_seconds or 0.0 for arm in arms]
    for place, (arm, median) in enumerate(zip(arms, medians, strict=True)):
        interval = interval_of(arm)
        parts.bars(axes, [place], [median], looks[arm.result.arm.id], height=0.62)
        if interval:
            parts.whiskers(axes, place, *interval)
        end = interval[1] if interval else median
        parts.end_label(axes, end, place, numbers.format_seconds(median, interval))
    below = range(len(arms), len(arms) + len(published.gradient))
    for place in below:
        parts.end_label(axes, 0.0, place, "not published", muted=True)
    parts.row_labels(axes, range(len(arms) + len(below)), [""] * (len(arms) + len(below)))
    axes.axhline(len(arms) - 0.5, color=style.MUTED, linewidth=0.8, linestyle=":")
    parts.time_axis(axes, medians)
    axes.set_title("One steady step, with its 95 % interval")


def _legend(published: Published) -> list[Patch]:
    year = _year(published)
    ghost = parts.published_handle(f"published, {year} lecture, other machine")
    return [*parts.phase_handles(COLD_PHASES), ghost]


def _year(published: Published) -> int:
    return published.gradient_provenance.year


def _phase(arm: ArmSummary, name: str) -> float | None:
    phases = arm.result.phases_with("cold")
    return None if phases is None else phase_seconds(phases, name)


def _table(arms: Sequence[ArmSummary], published: Published) -> Table:
    unit = numbers.pick_time_unit([arm.median_seconds or 0.0 for arm in arms])
    rows = []
    for arm in arms:
        phases = [_time_or_dash(_phase(arm, name)) for name in COLD_PHASES]
        interval = interval_of(arm)
        step = numbers.format_seconds(arm.median_seconds or 0.0, interval, unit)
        between = (
            numbers.format_interval(arm.median_seconds or 0.0, interval, unit) if interval else "-"
        )
        total = _time_or_dash(cold_total(arm.result))
        rows.append([arm.result.arm.id, *phases, total, step, between, "measured"])
    source = f"published, {_year(published)}, other machine"
    for each in published.gradient:
        name = f"{each.name} ({each.device.upper()})"
        rows.append([name, "-", "-", "-", f"{each.seconds * 1e3:g} ms", "-", "-", source])
    titles = [
        "engine",
        *(style.PHASE_NAMES[name] for name in COLD_PHASES),
        "one cold run",
        "steady step",
        f"95 % interval ({unit.symbol})",
        "origin",
    ]
    return text_table(titles, rows, words=["origin"])


def _time_or_dash(seconds: float | None) -> str:
    return "-" if seconds is None else numbers.format_seconds(seconds)


def _notes(published: Published) -> tuple[str, ...]:
    provenance = published.gradient_provenance
    timed = "; ".join(f"{each.name}: {each.timed_region}" for each in published.gradient)
    return (
        "The cold run is build + compile + first run with an empty cache of compiled kernels; "
        "importing the libraries is outside of it.",
        f"Published figures: {provenance.source}. Machine: {provenance.machine}. "
        f"{provenance.method[:1].upper()}{provenance.method[1:]}. Timed there: {timed}. "
        "They stand here for the story, not for comparison.",
    )


def _describe(case: MeasuredCase, arms: Sequence[ArmSummary], published: Published) -> str:
    measured = ", ".join(
        f"{arm.result.arm.id} {_time_or_dash(cold_total(arm.result))} cold and "
        f"{_time_or_dash(arm.median_seconds)} a steady step"
        for arm in arms
    )
    others = ", ".join(f"{each.name} {each.seconds * 1e3:g} ms" for each in published.gradient)
    return (
        f"Horizontal bars for {case.case.title or case.case.id}. Left: one cold run with its "
        f"phases stacked. Right: one steady step. Measured: {measured}. Published: {others}."
    )
