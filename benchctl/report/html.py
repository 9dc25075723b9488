"""The report as one HTML file: no network, no script, light, dark and on paper."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from benchctl.compare.case_tables import IMPLEMENTATION, PARADIGM
from benchctl.compare.findings import Finding, Notice
from benchctl.compare.peers import peer_names
from benchctl.compare.summary import ArmSummary
from benchctl.report import numbers
from benchctl.report.charts.chart import Chart, MissingChart, text_table
from benchctl.report.charts.inline import inline_svg
from benchctl.report.device_tables import device_table
from benchctl.report.energy_tables import ENERGY_CAVEAT, energy_table
from benchctl.report.findings import interval_of
from benchctl.report.frameworks import framework_table, frameworks_of
from benchctl.report.sentences import UNMEASURED, relative_words, winner_sentence
from benchctl.report.table import Table
from benchctl.report.text import machine_words, workload_words
from benchctl.report.views import MeasuredCase, View
from benchctl.report.wording import command_words, plural
from benchctl.store.record import Run
from benchctl.store.schema import arm_document, header_document, round_document


@dataclass(frozen=True, slots=True)
class Section:
    """One topic of the page: a drawn chart, or what to do to get it."""

    anchor: str
    chart: Chart | None
    missing: MissingChart | None
    picture: Markup


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """One of the two tables, or the only one; `winners` has a sentence for each case."""

    title: str
    winners: Table
    everything: Table


@dataclass(frozen=True, slots=True)
class MachinePart:
    """What the page says of one machine with one number of threads."""

    anchor: str
    heading: str
    findings: tuple[tuple[str, str], ...]
    """(anchor of the section, finding)."""
    sections: tuple[Section, ...]
    measured: tuple[MeasuredPart, ...]
    frameworks: Table | None
    devices: Table | None
    energies: Table | None
    """What arms on a GPU took on its own clock; None where there were none."""
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def render_page(
    views: Sequence[tuple[View, Sequence[Chart | MissingChart]]], *, embed_records: bool
) -> str:
    """The page of all views with their charts, the view measured last first."""
    parts = [
        _machine_part(view, charts, place) for place, (view, charts) in enumerate(views, start=1)
    ]
    runs = _distinct(run for view, _ in views for run in view.runs())
    records = (
        [(run.run_id, script_json(record_lines(run))) for run in runs] if embed_records else []
    )
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=PackageLoader("benchctl.report"),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        parts=parts,
        runs=runs,
        records=records,
        command_words=command_words,
        newest=max((run.started_utc for run in runs), default=""),
        energy_caveat=ENERGY_CAVEAT,
    )


def _machine_part(view: View, charts: Sequence[Chart | MissingChart], place: int) -> MachinePart:
    sections = []
    for each in charts:
        anchor = each.name if place == 1 else f"{each.name}-{place}"
        if isinstance(each, Chart):
            svg = inline_svg(each.figure, anchor, each.headline, each.description)
            # The one place where text is not escaped: the SVG is ours, its words are escaped.
            sections.append(Section(anchor, each, None, Markup(svg)))
        else:
            sections.append(Section(anchor, None, each, Markup("")))
    findings = [(each.anchor, each.chart.headline) for each in sections if each.chart is not None]
    latest = view.runs()[-1]
    return MachinePart(
        f"machine-{place}",
        machine_words(latest),
        tuple(findings),
        tuple(sections),
        measured_parts(view),
        frameworks_table(view.implementations),
        device_table([each.summary for each in view.cases], (), by_id=True),
        energy_table([each.summary for each in view.cases], (), by_id=True),
        machine_facts(latest),
        warning_lines(view),
    )


def measured_parts(view: View) -> tuple[MeasuredPart, ...]:
    """Our engines and every engine, each where it is measured; titles only where both can be."""
    if not view.implementations:
        return (MeasuredPart("", winners_table(view.cases), everything_table(view.cases)),)
    beside = [case for case in view.implementations if case.has_measured_framework()]
    told = {case.case.id for case in beside}
    ours = [case for case in view.cases if len(case.arms()) > 1 or case.case.id not in told]
    found = ((PARADIGM, ours), (IMPLEMENTATION, beside))
    return tuple(
        MeasuredPart(title[:1].upper() + title[1:], winners_table(cases), everything_table(cases))
        for title, cases in found
        if cases
    )


def winners_table(cases: Sequence[MeasuredCase]) -> Table:
    """The winner of every case that has one, with its interval."""
    rows = [
        [_case_name(case), winner_sentence(case.summary.winner)]
        for case in cases
        if case.summary.winner is not None
    ]
    return text_table(["case", "finding"], rows, words=["finding"])


def frameworks_table(cases: Sequence[MeasuredCase]) -> Table | None:
    """How each framework ran, workload by workload; None where there is no framework."""
    groups: dict[tuple[str, str, str], list[MeasuredCase]] = {}
    for case in cases:
        key = (case.run.run_id, case.case.workload, case.case.step)
        groups.setdefault(key, []).append(case)
    rows: list[tuple[str, ...]] = []
    for (_, workload, step), group in groups.items():
        run = group[0].run
        found = frameworks_of(run.plan, peer_names(run), [case.summary for case in group])
        for row in framework_table(found).rows:
            rows.append((row[0], f"{workload_words(workload)}, {step}", *row[1:]))
    if not rows:
        return None
    titles = [column.title for column in framework_table(()).columns]
    titles.insert(1, "work")
    return text_table(titles, rows, words=titles)


def everything_table(cases: Sequence[MeasuredCase]) -> Table:
    """Every arm of every case: what was measured, or why nothing was."""
    rows = [_everything_row(case, arm) for case in cases for arm in case.summary.arms]
    titles = ["case", "engine", "one step", "95 % interval", "against the reference"]
    return text_table(
        [*titles, "worst relative error", "resident peak"],
        rows,
        words=["engine", "one step", "against the reference"],
    )


NO_BREAK = "\u00a0"
"""Keeps a number and its unit on one line."""


def _everything_row(case: MeasuredCase, arm: ArmSummary) -> list[str]:
    name, result = _case_name(case), arm.result
    checked = result.verification
    error = "-" if checked is None else numbers.format_error(checked.worst_relative_error)
    if arm.median_seconds is None or result.status != "ok":
        why = UNMEASURED.get(result.status, "no rounds")
        reasons = [each for each in (result.message, result.hint) if each]
        told = f"{why}: {'; '.join(reasons)}" if reasons else why
        return [name, result.arm.id, told, "-", "-", error, "-"]
    interval = interval_of(arm)
    unit = numbers.pick_time_unit([arm.median_seconds])
    between = "-"
    if interval:
        between = f"{numbers.format_interval(arm.median_seconds, interval, unit)} {unit.symbol}"
    is_reference = result.arm.id == case.summary.reference_id
    peak = result.memory.resident_above_import
    return [
        name,
        result.arm.id,
        numbers.format_seconds(arm.median_seconds, interval, unit).replace(" ", NO_BREAK),
        between,
        "reference" if is_reference else relative_words(arm.relative),
        error,
        "-" if peak is None else numbers.format_bytes(peak),
    ]


def _case_name(case: MeasuredCase) -> Markup:
    """The id of a case; it has many axes, and its line may break after each."""
    return escape(case.case.id).replace(",", Markup(",<wbr>"))


def machine_facts(run: Run) -> tuple[tuple[str, str], ...]:
    """The facts of machine, environment, software and revision, as (name, value)."""
    groups = (run.machine, run.environment, run.versions, run.git)
    return tuple(
        (str(name).replace("_", " "), value if isinstance(value, str) else json.dumps(value))
        for group in groups
        for name, value in json.loads(json.dumps(dict(group), default=_plain)).items()
    )


def _plain(value: Any) -> Any:
    """Frozen mappings and tuples as JSON knows them."""
    return dict(value) if hasattr(value, "items") else list(value)


def warning_lines(view: View) -> tuple[str, ...]:
    """Every kind of warning once, with its hint and the number of cases that it concerns."""
    lines = [f"{notice.text}. {_sentence(notice.hint)}" for notice in view.notices]
    kinds: dict[Finding, dict[str, Notice]] = {}
    for case in (*view.cases, *view.implementations):
        for notice in case.summary.warnings:
            kinds.setdefault(notice.finding, {}).setdefault(case.case.id, notice)
    for concerned in kinds.values():
        case_id, notice = next(iter(concerned.items()))
        more = len(concerned) - 1
        others = f" and in {plural(more, 'more case')}" if more else ""
        lines.append(f"{notice.text} (in {case_id}{others}). {_sentence(notice.hint)}")
    return tuple(dict.fromkeys(lines))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def record_lines(run: Run) -> list[dict[str, Any]]:
    """The run as the lines of its file: header, arms, rounds; times in integer nanoseconds."""
    lines = [header_document(run)]
    for case in run.cases:
        lines.extend(arm_document(case.case.id, arm) for arm in case.arms)
        numbers_of_rounds = sorted({each.round for arm in case.arms for each in arm.rounds})
        for number in numbers_of_rounds:
            taken = {
                arm.arm.id: each for arm in case.arms for each in arm.rounds if each.round == number
            }
            lines.append(round_document(case.case.id, number, taken))
    return lines


def script_json(document: object) -> Markup:
    """JSON that can stand inside a script element: no character of it can end the element."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _distinct(runs: Iterable[Run]) -> tuple[Run, ...]:
    return tuple({run.run_id: run for run in runs}.values())
