"""A run as Markdown: the same tables and findings, never wrapped."""

from __future__ import annotations

from collections.abc import Sequence

from benchctl.compare.case_tables import CaseTables, tables_of_run
from benchctl.compare.peers import peer_names
from benchctl.compare.summary import CaseSummary, RunSummary
from benchctl.report.device_tables import device_sentences, device_table
from benchctl.report.energy_tables import energy_sentences, energy_table
from benchctl.report.frameworks import TITLE as FRAMEWORKS
from benchctl.report.frameworks import framework_table, frameworks_of
from benchctl.report.results import result_table, varying_axes
from benchctl.report.sentences import checking_words, failure_lines, notice_lines
from benchctl.report.table import Table
from benchctl.report.text import (
    MOST_FULL_TABLES,
    by_workload,
    case_findings,
    compact_tables,
    machine_words,
    workload_words,
)


def run_markdown(summary: RunSummary, full: bool = False) -> list[str]:
    """The lines of a Markdown document on one run."""
    run = summary.run
    lines = [f"Measured {run.started_utc} on {escape(machine_words(run))}."]
    for cases in by_workload(tables_of_run(summary)):
        if full or len(cases) <= MOST_FULL_TABLES:
            for case in cases:
                lines += ["", *_case_markdown(case)]
        else:
            first = cases[0].everything.case
            order = [arm.id for arm in run.plan.arms]
            lines += ["", f"### {escape(workload_words(first.workload))}: one {first.step} step"]
            for title, table in compact_tables(cases, order):
                lines += [*_titled(title), "", *table_markdown(table)]
            whole = [case.everything for case in cases]
            lines += _device_markdown(whole, varying_axes(whole))
            lines += _listed([line for case in cases for line in _failures(case)])
        everything = [case.everything for case in cases]
        if frameworks := frameworks_of(run.plan, peer_names(run), everything):
            lines += [*_titled(FRAMEWORKS), "", *table_markdown(framework_table(frameworks))]
    warnings = [_one_line(notice_lines([notice])) for notice in summary.warnings]
    return lines + _listed(warnings)


def _case_markdown(tables: CaseTables) -> list[str]:
    case = tables.everything
    lines = [f"### {escape(workload_words(case.case.workload))}: {escape(case.case.title)}"]
    for title, table in tables.named:
        if any(arm.median_seconds is not None for arm in table.arms):
            lines += [*_titled(title), "", *table_markdown(result_table(table))]
            lines += [f"\n{escape(sentence)}" for sentence in case_findings(table)]
    lines += _device_markdown([case], [])
    checked = ", ".join(checking_words(arm.result) for arm in case.arms)
    lines += ["", f"Checked against float64: {escape(checked)}."]
    warnings = [_one_line(notice_lines([notice])) for notice in tables.warnings]
    return lines + _listed(_failures(tables) + warnings)


def _titled(title: str) -> list[str]:
    return ["", f"#### {escape(title)}"] if title else []


def _device_markdown(cases: Sequence[CaseSummary], axes: Sequence[str]) -> list[str]:
    """The device times and energies of some cases; nothing where no arm has any."""
    lines: list[str] = []
    table = device_table(cases, axes)
    if table is not None:
        lines += ["", *table_markdown(table), *_listed(device_sentences(cases))]
    energies = energy_table(cases, axes)
    if energies is not None:
        lines += ["", *table_markdown(energies)]
    return lines + _listed(energy_sentences(cases))


def _failures(tables: CaseTables) -> list[str]:
    """One line for every failure, its hint behind it."""
    lines: list[str] = []
    for result in tables.failures:
        for line in failure_lines(result):
            if line.startswith(" ") and lines:
                lines[-1] = f"{lines[-1]} ({line.strip()})"
            else:
                lines.append(line)
    return lines


def _one_line(lines: list[str]) -> str:
    return f"{lines[0]} ({'; '.join(line.strip() for line in lines[1:])})"


def _listed(lines: list[str]) -> list[str]:
    return ["", *(f"- {escape(line)}" for line in lines)] if lines else []


def table_markdown(table: Table) -> list[str]:
    """A table in GitHub's Markdown; one line a row however long."""
    lines = [
        _row([escape(column.title) for column in table.columns]),
        _row(["---:" if column.align_right else ":---" for column in table.columns]),
    ]
    lines += [_row([escape(cell.strip()) for cell in row]) for row in table.rows]
    for text in table.notes:
        lines += ["", escape(text)]
    return lines


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """`text` so that Markdown shows it as it is."""
    for character in "\\|*_<>`[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.splitlines())
