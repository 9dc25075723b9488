"""An ablation as tables of text and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchctl.compare.ladder import Measured
from benchctl.report import numbers
from benchctl.report.table import Column, Table

_TITLES = (
    "time",
    "ratio",
    "interval",
    "launches",
    "moved",
    "peak",
    "compile",
    "pays after",
    "difference",
)
_MISSING = "-"
BASES = {
    "ladder": "static with all passes off",
    "without": "static with all passes on",
}


def split_rungs(rungs: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The cumulative ladder, and the passes left out one at a time."""
    return {
        "ladder": [each for each in rungs if each.rung.kind != "without"],
        "without": [each for each in rungs if each.rung.kind == "without"],
    }


def ladder_table(rungs: Sequence[Measured], part: str) -> Table:
    """One line a rung; ratios against the part's base, below 1 is faster."""
    unit = numbers.pick_time_unit(each.seconds for each in rungs if each.seconds)
    columns = (Column("rung", align_right=False), *(Column(title) for title in _TITLES))
    rows = tuple((each.rung.label, *_cells(each, unit)) for each in rungs)
    notes = (
        f"ratio: time over that of {BASES[part]}, below 1 is faster; * where the interval "
        "excludes 1, also after correction for the number of rungs",
        "moved: operands and results of all kernels of a step; peak: the arena or pool; "
        "pays after: steps until compiling has paid, against all off",
        "difference: the largest of the first step's results from those of all off, relative",
    )
    return Table(columns, rows, notes)


def _cells(each: Measured, unit: numbers.Unit) -> tuple[str, ...]:
    interval = _MISSING
    if each.low is not None and each.high is not None:
        interval = f"{each.low:.3f} - {each.high:.3f}"
    return (
        _MISSING if each.seconds is None else numbers.format_seconds(each.seconds, unit=unit),
        _MISSING if each.ratio is None else f"{each.ratio:.3f}{'*' if each.significant else ' '}",
        interval,
        _MISSING if each.launches is None else str(each.launches),
        _MISSING if each.bytes_moved is None else numbers.format_bytes(each.bytes_moved),
        _MISSING if each.peak_bytes is None else numbers.format_bytes(each.peak_bytes),
        _MISSING if each.compile_seconds is None else f"{each.compile_seconds:.2f} s",
        _MISSING if each.payback_steps is None else str(each.payback_steps),
        _MISSING if each.difference is None else numbers.format_error(each.difference),
    )


def ladder_document(rungs: Sequence[Measured]) -> list[dict[str, Any]]:
    """The rungs as plain data."""
    return [{**asdict(each), "rung": asdict(each.rung)} for each in rungs]
