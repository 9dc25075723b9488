"""A run as plain text: headings, tables, findings, warnings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from benchctl.compare.summary import CaseSummary, RunSummary
from benchctl.report import numbers
from benchctl.report.device_tables import device_sentences, device_table
from benchctl.report.results import compact_table, result_table, varying_axes
from benchctl.report.sentences import (
    checking_words,
    cold_sentence,
    failures_lines,
    notice_lines,
    payback_sentence,
    winner_sentence,
)
from benchctl.report.table import cell_width, render_table
from benchctl.store.record import Run

INDENT = "  "
HEADING_WIDTH = 100
# More cases of one workload than this are shown one a row.
MOST_FULL_TABLES = 3


def run_lines(summary: RunSummary, full: bool = False) -> list[str]:
    """Everything a run found; `full` gives every case its own table however many there are."""
    machine = machine_words(summary.run)
    lines: list[str] = []
    groups = by_workload(summary.cases)
    single = len(summary.cases) == 1
    if not single:
        lines.append(machine)
    for cases in groups:
        if full or len(cases) <= MOST_FULL_TABLES:
            for case in cases:
                lines += ["", *case_lines(case, machine if single else "")]
        else:
            lines += ["", *workload_lines(cases, [arm.id for arm in summary.run.plan.arms])]
    lines += _paragraph(notice_lines(summary.warnings))
    return lines[1:] if lines and not lines[0] else lines


def by_workload(cases: Sequence[CaseSummary]) -> list[list[CaseSummary]]:
    """The cases in groups of one workload and one kind of step, in the order of appearance."""
    groups: dict[tuple[str, str], list[CaseSummary]] = {}
    for case in cases:
        groups.setdefault((case.case.workload, case.case.step), []).append(case)
    return list(groups.values())


def case_lines(case: CaseSummary, machine: str = "") -> list[str]:
    """One case: heading, verification, table, findings, failures and warnings."""
    lines = [heading(workload_words(case.case.workload), case.case.title, machine)]
    checked = [checking_words(arm.result) for arm in case.arms]
    if case.arms and all(arm.result.status == "planned" for arm in case.arms):
        lines.append(f"{INDENT}not measured: the run ended before this case")
    elif checked:
        lines.append(f"{INDENT}checking   {'   '.join(checked)}      against float64")
    if any(arm.median_seconds is not None for arm in case.arms):
        lines += ["", *render_table(result_table(case), INDENT)]
        lines += _paragraph(case_findings(case))
        lines += _device_lines([case], [])
    lines += _paragraph(failures_lines([arm.result for arm in case.arms]))
    lines += _paragraph(notice_lines(case.warnings))
    return lines


def _device_lines(cases: Sequence[CaseSummary], axes: Sequence[str]) -> list[str]:
    """The device times of some cases and what they show; nothing where no arm has any."""
    table = device_table(cases, axes)
    if table is None:
        return []
    return ["", *render_table(table, INDENT), *_paragraph(device_sentences(cases))]


def _paragraph(lines: list[str]) -> list[str]:
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


def workload_lines(cases: Sequence[CaseSummary], arm_order: Sequence[str]) -> list[str]:
    """Many cases of one workload: what they share, one row each, and what went wrong."""
    axes = varying_axes(cases)
    shared = [
        f"{name} {value}" for name, value in cases[0].case.parameters.items() if name not in axes
    ]
    words = ", ".join([*shared, f"time of one {cases[0].case.step} step"])
    lines = [heading(workload_words(cases[0].case.workload), words, "")]
    lines += render_table(compact_table(cases, arm_order), INDENT)
    lines += _device_lines(cases, axes)
    for case in cases:
        label = ", ".join(f"{axis} {case.case.parameters.get(axis)}" for axis in axes)
        failures = failures_lines([arm.result for arm in case.arms])
        lines += [f"{INDENT}{label}: {line}" for line in failures if not line.startswith(" ")]
    lines += [INDENT + line for line in _counted_warnings(cases)]
    return lines


def _counted_warnings(cases: Sequence[CaseSummary]) -> list[str]:
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
    """`AMD EPYC 9R14, 2 threads, OpenBLAS 0.3.31 SkylakeX`."""
    count = run.plan.threads
    # Results of other tools do not say how many.
    threads = f"{count} thread{'' if count == 1 else 's'}" if count else ""
    parts = [str(run.machine.get("cpu", "")), threads, blas_words(run)]
    return ", ".join(part for part in parts if part)


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
    """A wait in words: `about 11 s`, `about 4 min`."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {numbers.format_number(seconds / 60, 0)} min"
