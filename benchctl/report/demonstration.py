"""The opening demonstration: the lecture's tenfold difference taken apart, as a Markdown page.

Every sentence follows from the numbers of one run; none assumes who is faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchctl.compare.summary import ArmSummary
from benchctl.report import numbers
from benchctl.report.build import write_pictures
from benchctl.report.charts import gradient, phases, sizes, style
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.findings import (
    Speedup,
    cold_total,
    crossings,
    interval_of,
    largest_phase,
    payback_steps,
    size_sweep,
    sweep_arms,
    unpaired,
    winner,
)
from benchctl.report.markdown import escape, table_markdown
from benchctl.report.published import Published, PublishedGradient, load_published
from benchctl.report.table import Table
from benchctl.report.text import machine_words
from benchctl.report.views import MeasuredCase, View, make_views
from benchctl.report.wording import (
    capitalised,
    command_words,
    crossing_sentence,
    join_words,
    share_words,
    speedup_sentence,
)
from benchctl.store.record import Run

PICTURES_NAME = "pictures"


class DemonstrationError(Exception):
    """The run does not hold what the demonstration is about; the message says what to measure."""


def write_demonstration(run: Run, out: Path) -> tuple[Path, ...]:
    """Write the page of `run` to the file `out`, its pictures to the folder `pictures` beside it.

    Returns every file written. Raises `DemonstrationError` where the run lacks the slide's size.
    """
    published = load_published()
    view = _only_view(run)
    case = gradient.find_case(view, published)
    if case is None or len(case.arms()) < 2:
        raise DemonstrationError(
            f"run {run.run_id} expected xyz at {published.gradient_size} on two engines or more, "
            "received neither; benchctl run slides measures it"
        )
    charts = [draw(view, published) for draw in (gradient.draw, phases.draw, sizes.draw)]
    folder = out.parent / PICTURES_NAME
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for chart in charts:
        if isinstance(chart, Chart):
            written.extend(write_pictures(chart, folder, chart.name))
    lines = demonstration_lines(run, view, case, published, charts)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return (out, *written)


def _only_view(run: Run) -> View:
    views = make_views([run])
    if not views:
        raise DemonstrationError(
            f"run {run.run_id} holds no measured case; benchctl run slides measures what is needed"
        )
    return views[0]


def demonstration_lines(
    run: Run,
    view: View,
    case: MeasuredCase,
    published: Published,
    charts: Sequence[Chart | MissingChart],
) -> list[str]:
    """The lines of the page."""
    pictures = {chart.name: _picture(chart) for chart in charts if isinstance(chart, Chart)}
    sections = [
        _question(published),
        _taken_apart(case, pictures),
        _steady(case),
        _payback(case),
        _by_size(view, pictures),
        _answer(case),
        _method(run),
    ]
    lines = ["# Why was TensorFlow ten times slower?"]
    for section in sections:
        lines += ["", *section]
    return lines


def _picture(chart: Chart) -> str:
    return f"![{escape(chart.headline)}]({PICTURES_NAME}/{chart.name}.png)"


# The sections --------------------------------------------------------------------------------


def _question(published: Published) -> list[str]:
    provenance = published.gradient_provenance
    figures = sorted(published.gradient, key=_published_seconds)
    quickest, slowest = figures[0], figures[-1]
    rows = [
        [
            f"{each.name} ({each.device.upper()})",
            f"{each.seconds * 1e3:g} ms",
            f"{each.seconds / quickest.seconds:.1f}x",
            each.timed_region,
        ]
        for each in published.gradient
    ]
    titles = ["engine", "published", "against the quickest", "what the clock covered"]
    table = text_table(titles, rows, words=titles)
    ratio = f"{slowest.seconds / quickest.seconds:.1f}"
    return [
        f"In {provenance.source}, one run of the gradient of a small product "
        f"({published.gradient_size}) took {slowest.name} {slowest.seconds * 1e3:g} ms and "
        f"{quickest.name} {quickest.seconds * 1e3:g} ms: {ratio} times as long. Is a static graph "
        "slow, then?",
        "",
        *table_markdown(table),
        "",
        f"Published figures; machine {provenance.machine}; {provenance.method}. The three regions "
        "do not cover the same things, and one cold run says nothing about the second. This page "
        "takes such a run apart on one machine, with engines that differ in their paradigm and in "
        "little else: `static` defines and runs, `eager` defines by run, `numpy` is written by "
        "hand.",
    ]


def _published_seconds(figure: PublishedGradient) -> float:
    return figure.seconds


def _taken_apart(case: MeasuredCase, pictures: dict[str, str]) -> list[str]:
    lines = ["## One run, taken apart", ""]
    rows = phases.phase_rows(case)
    if rows:
        lines += [*table_markdown(phases.phase_table(rows)), ""]
    for arm in case.arms():
        sentence = _cold_sentence(arm)
        if sentence:
            lines.append(f"- {sentence}")
    compared = _cold_comparison(case)
    if compared:
        lines += ["", compared]
    for name in ("phases", "gradient"):
        if name in pictures:
            lines += ["", pictures[name]]
    return lines


def _cold_sentence(arm: ArmSummary) -> str:
    """What one cold run of an arm consists of, and what a warm cache changes."""
    total, largest = cold_total(arm.result), largest_phase(arm.result)
    if total is None or largest is None or arm.result.phases_with("cold") is None:
        return ""
    name = f"`{arm.result.arm.id}`"
    phase, share = style.PHASE_NAMES[largest[0]], largest[1]
    sentence = (
        f"{name}: {numbers.format_seconds(total)} from build to first result, "
        f"{share_words(share)} of it {phase}"
    )
    if arm.result.phases_with("warm") is None:
        return f"{sentence}; a start with a warm cache was not measured."
    warm = cold_total(arm.result, "warm")
    if warm is None or warm <= 0:
        return f"{sentence}."
    change = numbers.format_ratio(max(total / warm, warm / total))
    word = "less" if warm < total else "more"
    return f"{sentence}; with a warm cache {numbers.format_seconds(warm)}, {change} {word}."


def _cold_comparison(case: MeasuredCase) -> str:
    """The lecture's own comparison, one cold run each, made here."""
    totals = {arm.result.arm.id: cold_total(arm.result) for arm in case.arms()}
    known = {name: seconds for name, seconds in totals.items() if seconds}
    if len(known) < 2:
        return ""
    quickest, slowest = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    ratio = known[slowest] / known[quickest]
    return (
        f"Timed as in the lecture, in one cold run, `{slowest}` takes "
        f"{numbers.format_count(ratio)} times as long as `{quickest}` here "
        f"({numbers.format_seconds(known[slowest])} against "
        f"{numbers.format_seconds(known[quickest])}). Each phase was timed once: these figures "
        "have no interval."
    )


def _steady(case: MeasuredCase) -> list[str]:
    arms = sorted(case.arms(), key=_median)
    unit = numbers.pick_time_unit([_median(arm) for arm in arms])
    rows = []
    for arm in arms:
        median, interval = _median(arm), interval_of(arm)
        between = numbers.format_interval(median, interval, unit) if interval else "-"
        rows.append(
            [arm.result.arm.id, numbers.format_seconds(median, interval, unit, False), between]
        )
    table = text_table(["engine", f"one step ({unit.symbol})", "95 % interval"], rows)
    best = winner(case)
    lines = ["## The steady step", "", *table_markdown(table)]
    if best:
        size = case.parameter("size")
        sentence = capitalised(speedup_sentence(best, f"at {size}, once it runs"))
        lines += ["", f"{sentence}."]
    return lines


def _median(arm: ArmSummary) -> float:
    return arm.median_seconds or 0.0


def _payback(case: MeasuredCase) -> list[str]:
    """When each arm with the faster step has made good a dearer start."""
    lines = []
    arms = case.arms()
    for arm in arms:
        for other in arms:
            cold = payback_steps(arm, other, "cold")
            warm = payback_steps(arm, other, "warm")
            if cold is None or cold <= 1 or arm.result.arm.engine == other.result.arm.engine:
                continue
            name, rival = arm.result.arm.id, other.result.arm.id
            sentence = f"`{name}` is ahead of `{rival}` from step {numbers.format_count(cold)} on"
            if warm is not None and arm.result.phases_with("warm") is not None:
                sentence += f" ({numbers.format_count(warm)} with a warm cache)"
            lines.append(f"- {sentence}.")
    head = ["## When a dear start pays", ""]
    if not lines:
        return [*head, "No engine with a dearer start is shown to have the faster step here."]
    return [*head, "Build, compilation and first run included:", "", *lines]


def _by_size(view: View, pictures: dict[str, str]) -> list[str]:
    points = size_sweep(view)
    lines = ["## And with larger arrays", ""]
    if len(points) < 2:
        return [*lines, "This run measured one size only."]
    arms = sweep_arms(points)
    lines += table_markdown(_sizes_table(view, arms))
    found = crossings(points)
    first, last = points[0].size, points[-1].size
    lines.append("")
    if found:
        lines += [f"- {capitalised(crossing_sentence(each))}." for each in found]
    else:
        lines.append(f"No engine is shown to overtake another between {first} and {last}.")
    steadfast = _never_overtaken(view, arms)
    if steadfast:
        lines += ["", f"At every size from {first} to {last}: {join_words(steadfast)}."]
    if "sizes" in pictures:
        lines += ["", pictures["sizes"]]
    return lines


def _sizes_table(view: View, arms: Sequence[str]) -> Table:
    rows = []
    for point in size_sweep(view):
        cells = [point.size]
        for arm_id in arms:
            arm = point.case.arm(arm_id)
            cells.append(
                "-" if arm is None else numbers.format_seconds(_median(arm), interval_of(arm))
            )
        best = winner(point.case)
        rows.append([*cells, speedup_sentence(best) if best else "-"])
    return text_table(["size", *arms, "fastest"], rows, words=["fastest"])


def _never_overtaken(view: View, arms: Sequence[str]) -> list[str]:
    """Pairs of arms of which one is shown to be faster at every size."""
    points = size_sweep(view)
    found = []
    for one in arms:
        for two in arms:
            if one != two and all(_is_faster(point.case, one, two) for point in points):
                found.append(f"`{one}` is faster than `{two}`")
    return found


def _is_faster(case: MeasuredCase, one: str, two: str) -> bool:
    first, second = case.arm(one), case.arm(two)
    if first is None or second is None:
        return False
    speedup = unpaired(one, first, two, second)
    return speedup is not None and speedup.significant and speedup.faster == one


def _answer(case: MeasuredCase) -> list[str]:
    """The lecture's conclusion beside what was found, in as many words as the numbers allow."""
    lines = ["## The answer", ""]
    totals = {arm.result.arm.id: cold_total(arm.result) for arm in case.arms()}
    known = {name: seconds for name, seconds in totals.items() if seconds is not None}
    best = winner(case)
    if not known or best is None:
        return [*lines, "This run did not time what one cold run consists of."]
    slowest, quickest = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    arm = case.arm(slowest)
    largest = largest_phase(arm.result) if arm else None
    share = ""
    if largest:
        share = f", {share_words(largest[1])} of it {style.PHASE_NAMES[largest[0]]}"
    return [
        *lines,
        f"One cold run measures the start: `{slowest}` has the longest, "
        f"{numbers.format_seconds(known[slowest])}{share}.",
        f"In the steady step, {speedup_sentence(best)}.",
        _turn(case, best, slowest, quickest),
        "In the lecture the regions under the clock differed as well, as the first table shows.",
    ]


def _turn(case: MeasuredCase, best: Speedup, slowest: str, quickest: str) -> str:
    """What the order of the starts says about the order of the steady steps."""
    engines = {arm.result.arm.id: arm.result.arm.engine for arm in case.arms()}
    fastest = engines.get(best.faster, "")
    if not best.significant:
        return (
            "As no difference is shown between the two, the one cold figure says something about "
            "starts only."
        )
    if fastest == engines.get(slowest):
        winning, starting = case.arm(best.faster), case.arm(quickest)
        steps = payback_steps(winning, starting) if winning and starting else None
        reach = "runs long enough"
        if steps is not None:
            reach = f"runs {numbers.format_count(steps)} steps or more"
        return (
            "The slowest start and the fastest step belong to the same engine: the one cold "
            f"figure ranks the engines the wrong way round for whoever {reach}."
        )
    if fastest == engines.get(quickest):
        return "The engine that starts soonest is also the one with the fastest step here."
    return "The engine with the fastest step is not the one that starts soonest."


def _method(run: Run) -> list[str]:
    revision = str(run.git.get("revision", ""))[:12]
    facts = [
        f"- machine: {escape(machine_words(run))}",
        f"- run: `{run.run_id}`, {run.started_utc}",
        f"- command: `{command_words(run)}`",
    ]
    if revision:
        facts.append(f"- revision: `{revision}`")
    return [
        "## How this was measured",
        "",
        *facts,
        "",
        "Every engine was checked against a float64 reference before it was timed; steady times "
        "are medians over rounds that the engines took in turn, with intervals from the exact "
        "signed-rank distribution. This page is generated from the stored run; `benchctl run "
        "slides` measures the same on another machine.",
    ]
