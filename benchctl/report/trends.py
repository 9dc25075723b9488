"""The history of a store in words and tables, for the terminal, Markdown and the page."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchctl.history.changes import Change, State, can_confirm
from benchctl.history.machine_events import MachineEvent
from benchctl.history.overview import History, SeriesHistory, make_history
from benchctl.history.series import Event, Point
from benchctl.report import numbers
from benchctl.report.markdown import escape, table_markdown
from benchctl.report.table import Column, Table, render_table
from benchctl.report.text import INDENT, machine_words
from benchctl.report.wording import join_words
from benchctl.stats.change_points import FEWEST_POINTS
from benchctl.store.record import Run

if TYPE_CHECKING:
    from benchctl.history.acknowledgements import Acknowledgement
    from benchctl.report.charts.chart import Chart

MISSING = "-"
# From this ratio on a factor reads better than percent.
_MANY_TIMES = 2.0
_REVISION_DIGITS = 10
MOST_EVENTS = 8
"""So many changes of conditions are listed; those before are counted."""

MachineClass = tuple[str, int]
"""Machine id and threads."""


# Words ---------------------------------------------------------------------------------------


def effect_words(effect: float, low: float | None = None, high: float | None = None) -> str:
    """`5.2 % (4.6 - 5.9) slower` from ln(time / time before): percent of the time before.

    From twice the time on, `2.3x (2.2 - 2.4) slower`; an effect without an interval is `about` it.
    """
    word = "slower" if effect > 0 else "faster"
    interval = None if low is None or high is None else (math.exp(low), math.exp(high))
    ratio = math.exp(effect)
    if max(ratio, 1 / ratio) >= _MANY_TIMES:
        if effect < 0:
            ratio = 1 / ratio
            interval = None if interval is None else (1 / interval[1], 1 / interval[0])
        if interval is None:
            return f"about {numbers.format_ratio(ratio)} {word}"
        return f"{numbers.format_ratio_interval(ratio, interval)} {word}"
    percent = 100 * abs(ratio - 1)
    if interval is None:
        decimals = numbers.decimals_for(percent)
        return f"about {numbers.format_number(percent, decimals)} % {word}"
    ends = sorted(100 * (end - 1) * (1 if effect > 0 else -1) for end in interval)
    decimals = max(0, numbers.decimals_for(percent, (ends[0], ends[1]), 3))
    shown = [numbers.format_number(each, decimals) for each in (percent, *ends)]
    return f"{shown[0]} % ({shown[1]} - {shown[2]}) {word}"


def change_words(change: Change | MachineEvent) -> str:
    """How large a change is and in which direction."""
    if isinstance(change, MachineEvent):
        return effect_words(change.effect)
    return effect_words(change.effect, change.low, change.high)


def code_words(point: Point) -> str:
    """`abc1234567`, with `+` where files were changed; the day where no revision is known."""
    if not point.revision:
        return point.started_utc[:10]
    return point.revision[:_REVISION_DIGITS] + ("+" if point.dirty else "")


def since_words(change: Change | MachineEvent) -> str:
    """The revisions between which a change lies: `abc1234567..def1234567`."""
    if isinstance(change, MachineEvent):
        return code_words(change.first)
    before, after = code_words(change.good), code_words(change.bad)
    if before == after:
        days = change.good.started_utc[:10], change.bad.started_utc[:10]
        return f"{before}, {days[0]}" if days[0] == days[1] else f"{before}, {' to '.join(days)}"
    return f"{before}..{after}"


def state_words(change: Change | MachineEvent) -> str:
    """The state, with the reason that the user gave."""
    reason = change.reason if isinstance(change, Change) else ""
    return f"{change.state.value}: {reason}" if reason else change.state.value


def event_words(event: Event) -> str:
    """`numpy 2.4.6 -> 2.5.0, numba 0.61 -> 0.62`."""
    return ", ".join(f"{each.name} {each.before} -> {each.after}" for each in event.changes)


def finding_sentence(history: History) -> str:
    """The one sentence: what became slower and is not decided on, or that nothing did."""
    slower = history.open_slowdowns()
    if slower:
        shown = join_words([_subject(each) for each in slower[:3]])
        more = f" and {len(slower) - 3} more" if len(slower) > 3 else ""
        return f"Slower: {shown}{more}."
    suspected = [each for each in history.changes() if each.state is State.SUSPECTED]
    count = f"{len(history.series)} series"
    if suspected:
        shown = join_words([_subject(each) for each in suspected[:3]])
        return f"No slowdown is confirmed in {count}; suspected: {shown}."
    long_enough = sum(can_confirm(each.series) for each in history.series)
    if not long_enough:
        return (
            f"Nothing can be said yet of {count}: a change takes {FEWEST_POINTS} complete runs "
            "before it and as many after."
        )
    short = len(history.series) - long_enough
    rest = f"; {short} have too few runs yet" if short else ""
    return f"No slowdown is left to decide on in {count}{rest}."


def next_steps(history: History) -> list[str]:
    """The commands that go on from the first slowdown that nobody has decided on."""
    for change in history.open_slowdowns():
        lines = [f"accept it: benchctl history --ack {change.id} --reason TEXT"]
        if isinstance(change, Change) and _can_be_searched(change):
            lines.insert(0, f"find it: {bisect_command(history, change)}")
        return lines
    return []


def _can_be_searched(change: Change) -> bool:
    good, bad = change.good.revision, change.bad.revision
    return bool(good and bad) and good != bad


def bisect_command(history: History, change: Change) -> str:
    """The command that searches between the two revisions of a change."""
    case = next(each.series.case for each in history.series if each.series.key == change.key)
    engine, _, device = change.key.arm_id.partition("@")
    words = ["benchctl", "bisect", case.workload, "--engine", engine]
    words += ["--device", device] if device else []
    for name, value in case.parameters.items():
        words += ["-a", f"{name}={value}"]
    good, bad = (point.revision[:_REVISION_DIGITS] for point in (change.good, change.bad))
    return shlex.join([*words, "--good", good, "--bad", bad])


def _subject(change: Change | MachineEvent) -> str:
    if isinstance(change, MachineEvent):
        count = f"{len(change.changes)} of {change.series_measured} series of one machine"
        return f"{count}, {change_words(change)} at {since_words(change)}"
    key = change.key
    return f"{key.case_id} on {key.arm_id}, {change_words(change)} in {since_words(change)}"


# Tables --------------------------------------------------------------------------------------


def history_lines(history: History, machines: Mapping[MachineClass, str]) -> list[str]:
    """The finding, then for each machine its table, machine events and conditions that changed."""
    lines = [finding_sentence(history)]
    for machine, own in by_machine(history).items():
        lines += ["", machines.get(machine, machine[0])]
        lines += render_table(series_table(own), INDENT)
        lines += [INDENT + line for line in _beside(history, machine[0], own)]
    return lines


def history_markdown(history: History, machines: Mapping[MachineClass, str]) -> list[str]:
    """The same as a Markdown document, never wrapped."""
    lines = [escape(finding_sentence(history))]
    for machine, own in by_machine(history).items():
        lines += ["", f"### {escape(machines.get(machine, machine[0]))}", ""]
        lines += table_markdown(series_table(own))
        beside = _beside(history, machine[0], own)
        lines += ["", *(f"- {escape(line)}" for line in beside)] if beside else []
    return lines


def by_machine(history: History) -> dict[MachineClass, tuple[SeriesHistory, ...]]:
    """The series of each machine with so many threads, in the order of appearance."""
    found: dict[MachineClass, list[SeriesHistory]] = {}
    for each in history.series:
        found.setdefault((each.series.key.machine_id, each.series.key.threads), []).append(each)
    return {machine: tuple(own) for machine, own in found.items()}


def machine_headings(runs: Sequence[Run]) -> dict[MachineClass, str]:
    """The newest words on each machine."""
    return {
        (str(run.machine.get("id", "")), run.plan.threads): machine_words(run)
        for run in sorted(runs, key=lambda run: run.started_utc)
    }


def series_table(series: Sequence[SeriesHistory]) -> Table:
    """A row for each series, and one below for each further change, the newest first."""
    titles = ("case", "arm", "points", "last", "change", "since", "state", "id")
    columns = tuple(Column(title, align_right=title in ("points", "last")) for title in titles)
    rows: list[tuple[str, ...]] = []
    last_case = ""
    for each in series:
        case_id = each.series.key.case_id
        head = ("" if case_id == last_case else case_id, each.series.key.arm_id)
        rows += _series_rows(each, head)
        last_case = case_id
    return Table(columns, tuple(rows))


def _series_rows(history: SeriesHistory, head: tuple[str, str]) -> list[tuple[str, ...]]:
    points = history.series.points
    newest = points[-1]
    seconds = math.exp(newest.log_seconds)
    interval = newest.interval and (math.exp(newest.interval[0]), math.exp(newest.interval[1]))
    facts = (str(len(points)), numbers.format_seconds(seconds, interval))
    changes = history.own_changes[::-1]
    if not changes:
        return [(*head, *facts, MISSING, MISSING, _quiet_words(history), MISSING)]
    rows: list[tuple[str, ...]] = []
    for place, change in enumerate(changes):
        first = (*head, *facts) if place == 0 else ("", "", "", "")
        cells = (change_words(change), since_words(change), state_words(change), change.id)
        rows.append((*first, *cells))
    return rows


def _quiet_words(history: SeriesHistory) -> str:
    """The state of a series without a change of its own."""
    if history.changes:
        return f"machine event {history.changes[-1].event_id}"
    if can_confirm(history.series):
        return "steady"
    newest = len(history.series.segments()[-1])
    return f"{newest} of {2 * FEWEST_POINTS} points"


def _beside(history: History, machine_id: str, series: Sequence[SeriesHistory]) -> list[str]:
    """Machine events, then what else changed on the machine, the newest last."""
    lines = [
        f"machine event {each.id}: {_subject(each)}; machine, toolchain or code that all of them "
        f"run ({state_words(each)})"
        for each in history.machine_events
        if each.machine_id == machine_id
    ]
    concerned: dict[tuple[str, str, str], int] = {}
    for one in series:
        for event in one.series.events:
            point = one.series.points[event.index]
            key = (point.started_utc, code_words(point), event_words(event))
            concerned[key] = concerned.get(key, 0) + 1
    shown = sorted(concerned)[-MOST_EVENTS:]
    if len(concerned) > len(shown):
        lines.append(f"{len(concerned) - len(shown)} earlier changes of conditions are not listed")
    for started_utc, code, words in shown:
        count = concerned[started_utc, code, words]
        lines.append(f"{started_utc[:10]} {code}: {words} ({count} series begin anew)")
    return lines


# The page ------------------------------------------------------------------------------------


def trend_sections(
    runs: Sequence[Run], acknowledgements: Sequence[Acknowledgement] = ()
) -> dict[MachineClass, tuple[Chart, ...]]:
    """The charts of each machine's series, one a workload; none where nothing was measured twice.

    Keys are those of views: machine id and threads.
    """
    # matplotlib only where something is drawn.
    from benchctl.report.charts.trend import draw

    history = make_history(runs, acknowledgements)
    by_id = {run.run_id: run for run in runs}
    sections: dict[MachineClass, tuple[Chart, ...]] = {}
    for machine, own in by_machine(history).items():
        charts: list[Chart] = []
        for workload in dict.fromkeys(each.series.case.workload for each in own):
            shown = [
                each
                for each in own
                if each.series.case.workload == workload and len(each.series.points) > 1
            ]
            if shown:
                ids = dict.fromkeys(point.run_id for each in shown for point in each.series.points)
                used = sorted((by_id[each] for each in ids), key=lambda run: run.started_utc)
                charts.append(draw(workload, shown, used, taken={chart.name for chart in charts}))
        if charts:
            sections[machine] = tuple(charts)
    return sections
