"""A run as plain text: headings, tables, findings, warnings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from benchctl.compare.case_tables import IMPLEMENTATION, PARADIGM, CaseTables, tables_of_run
from benchctl.compare.peers import peer_names
from benchctl.compare.summary import CaseSummary, RunSummary
from benchctl.report import numbers
from benchctl.report.device_tables import device_sentences, device_table
from benchctl.report.energy_tables import energy_sentences, energy_table
from benchctl.report.frameworks import framework_lines, frameworks_of
from benchctl.report.results import compact_table, result_table, varying_axes
from benchctl.report.sentences import (
    checking_words,
    cold_sentence,
    failures_lines,
    notice_lines,
    payback_sentence,
    winner_sentence,
)
from benchctl.report.table import Table, cell_width, render_table
from benchctl.store.record import Run

INDENT = "  "
CELL_GAP = "   "
HEADING_WIDTH = 100
# More cases of one workload than this are shown one a row.
MOST_FULL_TABLES = 3
# As the in-house engines note it, `device_words` in their devices/cuda/opening.py.
_ON_CARD = re.compile(r"on (.+) \(gpu:\d+, compute capability ")


def run_lines(summary: RunSummary, full: bool = False) -> list[str]:
    """Everything a run found; `full` gives every case its own table however many there are."""
    plan, names = summary.run.plan, peer_names(summary.run)
    machine = machine_words(summary.run)
    lines: list[str] = []
    single = len(summary.cases) == 1
    if not single:
        lines.append(machine)
    for cases in by_workload(tables_of_run(summary)):
        frameworks = framework_lines(
            frameworks_of(plan, names, [case.everything for case in cases])
        )
        if full or len(cases) <= MOST_FULL_TABLES:
            for case in cases:
                below = frameworks if case is cases[-1] else []
                lines += ["", *case_lines(case, machine if single else "", below)]
        else:
            lines += ["", *workload_lines(cases, [arm.id for arm in plan.arms], frameworks)]
    lines += _paragraph(notice_lines(summary.warnings))
    return lines[1:] if lines and not lines[0] else lines


def by_workload(cases: Sequence[CaseTables]) -> list[list[CaseTables]]:
    """The cases in groups of one workload and one kind of step, in the order of appearance."""
    groups: dict[tuple[str, str], list[CaseTables]] = {}
    for case in cases:
        spec = case.everything.case
        groups.setdefault((spec.workload, spec.step), []).append(case)
    return list(groups.values())


def case_lines(tables: CaseTables, machine: str = "", frameworks: Sequence[str] = ()) -> list[str]:
    """One case: heading, verification, tables with findings, failures and warnings.

    `frameworks` are lines on those of the case and of others before it, below the last table.
    """
    case = tables.everything
    lines = [heading(workload_words(case.case.workload), case.case.title, machine)]
    checked = [checking_words(arm.result) for arm in case.arms]
    if case.arms and all(arm.result.status == "planned" for arm in case.arms):
        lines.append(f"{INDENT}not measured: the run ended before this case")
    elif checked:
        lines += checking_lines(checked)
    for title, table in tables.named:
        if any(arm.median_seconds is not None for arm in table.arms):
            lines += _titled(title, render_table(result_table(table), INDENT))
            lines += _paragraph(case_findings(table))
    lines += _device_lines([case], [])
    lines += _paragraph(frameworks)
    lines += _paragraph(failures_lines(tables.failures))
    lines += _paragraph(notice_lines(tables.warnings))
    return lines


def checking_lines(checked: Sequence[str]) -> list[str]:
    """The words on the results of every arm, as many in a line as there is room for."""
    first = f"{INDENT}checking   "
    lines = [first]
    for words in checked:
        if lines[-1].strip() not in ("", "checking"):
            if cell_width(lines[-1]) + cell_width(words) <= HEADING_WIDTH - len(CELL_GAP):
                lines[-1] += CELL_GAP
            else:
                lines.append(" " * len(first))
        lines[-1] += words
    return [*lines[:-1], f"{lines[-1]}      against float64"]


def _titled(title: str, lines: Sequence[str]) -> list[str]:
    """A table with an empty line before and, where it has one, its title."""
    return ["", *([INDENT + title] if title else []), *lines]


def _device_lines(cases: Sequence[CaseSummary], axes: Sequence[str]) -> list[str]:
    """The device times and energies of some cases and what they show; nothing where none has."""
    lines: list[str] = []
    table = device_table(cases, axes)
    if table is not None:
        lines += ["", *render_table(table, INDENT), *_paragraph(device_sentences(cases))]
    energies = energy_table(cases, axes)
    if energies is not None:
        lines += ["", *render_table(energies, INDENT)]
    return [*lines, *_paragraph(energy_sentences(cases))]


def _paragraph(lines: Sequence[str]) -> list[str]:
    """The lines indented, with an empty one before; nothing where there are none."""
    return ["", *(INDENT + line for line in lines)] if lines else []


def case_findings(case: CaseSummary) -> list[str]:
    """What the case shows, in sentences; empty where nothing can be compared."""
    sentences = [winner_sentence(case.winner)] if case.winner is not None else []
    if cold := cold_sentence(case):
        sentences.append(cold)
    if payback := payback_sentence(case.payback):
        sentences.append(payback)
    return sentences


def workload_lines(
    cases: Sequence[CaseTables], arm_order: Sequence[str], frameworks: Sequence[str] = ()
) -> list[str]:
    """Many cases of one workload: what they share, one row each, and what went wrong."""
    whole = [case.everything for case in cases]
    axes = varying_axes(whole)
    spec = whole[0].case
    shared = [f"{name} {value}" for name, value in spec.parameters.items() if name not in axes]
    words = ", ".join([*shared, f"time of one {spec.step} step"])
    lines = [heading(workload_words(spec.workload), words, "")]
    for title, table in compact_tables(cases, arm_order):
        rendered = render_table(table, INDENT)
        lines += _titled(title, rendered) if title else rendered
    lines += _device_lines(whole, axes)
    lines += _paragraph(frameworks)
    below = []
    for case in cases:
        parameters = case.everything.case.parameters
        label = ", ".join(f"{axis} {parameters.get(axis)}" for axis in axes)
        failures = failures_lines(case.failures)
        below += [f"{label}: {line}" for line in failures if not line.startswith(" ")]
    below += _counted_warnings(cases)
    # Without a block of text before them they belong to the table.
    return [*lines, *(_paragraph(below) if frameworks else [INDENT + line for line in below])]


def compact_tables(
    cases: Sequence[CaseTables], arm_order: Sequence[str]
) -> list[tuple[str, Table]]:
    """One table for each kind that any of the cases has, with its title."""
    paradigm = [case.paradigm for case in cases if case.paradigm is not None]
    implementation = [case.implementation for case in cases if case.implementation is not None]
    if not any(case.peers for case in cases):
        return [("", compact_table(paradigm, arm_order))]
    found = ((PARADIGM, paradigm), (IMPLEMENTATION, implementation))
    return [(title, compact_table(each, arm_order)) for title, each in found if each]


def _counted_warnings(cases: Sequence[CaseTables]) -> list[str]:
    """Every kind of warning once, with the number of cases that it concerns."""
    kinds = dict.fromkeys(notice.finding for case in cases for notice in case.warnings)
    lines = []
    for kind in kinds:
        concerned = [
            case for case in cases if any(notice.finding is kind for notice in case.warnings)
        ]
        first = next(notice for notice in concerned[0].warnings if notice.finding is kind)
        text = notice_lines([first])
        if len(concerned) > 1:
            text[0] += f" (and so in {len(concerned) - 1} more of {len(cases)} cases)"
        lines += text
    return lines


def heading(name: str, title: str, machine: str) -> str:
    """`xyz  product, 3x4 float32      AMD EPYC, 2 threads`; the machine goes below if too long."""
    left = f"{name}  {title}".rstrip()
    if not machine:
        return left
    if cell_width(left) + 6 + cell_width(machine) <= HEADING_WIDTH:
        return f"{left}      {machine}"
    return f"{left}\n{INDENT}{machine}"


def workload_words(workload: str) -> str:
    """The name of a workload; of a file, its name without the folders."""
    return PurePath(workload).name if "/" in workload else workload


def machine_words(run: Run) -> str:
    """`AMD EPYC 9R14, 2 threads, OpenBLAS 0.3.31 SkylakeX`; a GPU that was used comes first."""
    count = run.plan.threads
    # Results of other tools do not say how many.
    threads = f"{count} thread{'' if count == 1 else 's'}" if count else ""
    parts = [*cards_of(run), str(run.machine.get("cpu", "")), threads, blas_words(run)]
    return ", ".join(part for part in parts if part)


def cards_of(run: Run) -> list[str]:
    """The names of the GPUs that its arms ran on, from the words of the in-house engines."""
    notes = (
        note
        for case in run.cases
        for result in case.arms
        if result.arm.device != "cpu"
        for note in result.notes
    )
    return list(dict.fromkeys(found[1] for note in notes if (found := _ON_CARD.match(note))))


def blas_words(run: Run) -> str:
    """The BLAS that NumPy used and its kernel family, where the run recorded them."""
    for facts in (run.environment, run.machine, run.versions):
        blas: Any = facts.get("blas")
        if isinstance(blas, Mapping):
            return " ".join(str(value) for value in blas.values() if value)
        if isinstance(blas, str):
            return blas
    return ""


def duration_words(seconds: float) -> str:
    """A wait in words: `about 11 s`, `about 4 min`, `about 3 h`, `about 5 days`."""
    for unit, length, most in (("s", 1, 90), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < most * length:
            return f"about {max(1, round(seconds / length))} {unit}"
    return f"about {numbers.format_number(seconds / 86400, 0)} days"
