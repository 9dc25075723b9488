"""The tables of a run: one for a case with its phases, or one row a case for a whole workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchctl.compare.summary import ArmSummary, CaseSummary
from benchctl.report import numbers
from benchctl.report.sentences import UNMEASURED, interval_of, relative_words
from benchctl.report.table import Column, Table
from benchctl.store.record import Memory, Phases

MISSING = "-"
NOT_HERE = UNMEASURED["unavailable"]
# More values of an axis are not listed.
MOST_VALUES = 3
# A phase this short did nothing: the call and the two clock readings take about as long.
NOTHING_SECONDS = 20e-6
# A warm phase is worth a footnote where it takes at most this part of the cold one.
CLEARLY_WARMER = 0.7

PhaseSeconds = Callable[[Phases], float | None]


def peak_bytes(memory: Memory) -> int | None:
    """The peak of a worker above its imports; the engine's own count where that is missing."""
    if memory.resident_above_import is not None:
        return memory.resident_above_import
    return memory.engine_peak


def result_table(case: CaseSummary) -> Table:
    """Phases, steady step, comparison and memory of every arm of one case."""
    arms = case.arms
    columns: list[tuple[Column, list[str]]] = [
        (Column("engine", align_right=False), [arm.result.arm.id for arm in arms])
    ]
    notes: list[str] = []
    for title, phase in PHASES:
        cells, note = _phase_cells(arms, phase, may_be_nothing=title in ("build", "compile"))
        if any(cell != MISSING for cell in cells):
            columns.append((Column(title), cells))
        if note:
            notes.append(note)
    columns.extend(_step_columns(arms))
    if case.reference_id:
        against = [_relative_cell(arm, case.reference_id) for arm in arms]
        columns.append((Column(f"vs {case.reference_id}"), against))
    for title, sizes in (
        ("memory", [peak_bytes(arm.result.memory) for arm in arms]),
        ("card memory", [arm.result.memory.on_device for arm in arms]),
    ):
        if any(size is not None for size in sizes):
            columns.append((Column(title), _size_cells(sizes)))
    rows = tuple(zip(*(cells for _, cells in columns), strict=True))
    return Table(tuple(column for column, _ in columns), rows, tuple(notes))


def _import_seconds(phases: Phases) -> float | None:
    return phases.import_seconds


def _build_seconds(phases: Phases) -> float | None:
    return phases.build_seconds


def _compile_seconds(phases: Phases) -> float | None:
    return phases.compile_seconds


def _first_run_seconds(phases: Phases) -> float | None:
    return phases.first_run_seconds


PHASES: tuple[tuple[str, PhaseSeconds], ...] = (
    ("import", _import_seconds),
    ("build", _build_seconds),
    ("compile", _compile_seconds),
    ("first run", _first_run_seconds),
)


def _phase_cells(
    arms: Sequence[ArmSummary], phase: PhaseSeconds, may_be_nothing: bool
) -> tuple[list[str], str]:
    """One column of cold phase times, and the footnote on warm ones for the compile column."""
    cold = [_phase(arm, "cold", phase) for arm in arms]
    warm = [_phase(arm, "warm", phase) for arm in arms]
    shown = [value if value is not None else other for value, other in zip(cold, warm, strict=True)]
    if may_be_nothing:
        shown = [None if value is None or value < NOTHING_SECONDS else value for value in shown]
    unit = numbers.pick_time_unit([value for value in shown if value is not None])
    marked = phase is _compile_seconds
    cells, cached = [], []
    for arm, value, after in zip(arms, shown, warm, strict=True):
        text = MISSING if value is None else numbers.format_seconds(value, unit=unit)
        if marked and value and after is not None and after < CLEARLY_WARMER * value:
            text += "*"
            cached.append((arm.result.arm.id, numbers.format_seconds(after)))
        elif marked and text != MISSING:
            text += " "
        cells.append(text)
    if not cached:
        return [cell.rstrip() for cell in cells], ""
    padded = [cell + " " if cell == MISSING else cell for cell in cells]
    return padded, _cached_note(cached)


def _cached_note(cached: list[tuple[str, str]]) -> str:
    if len(cached) == 1:
        return f"* cold; {cached[0][1]} when cached"
    return f"* cold; when cached: {', '.join(f'{arm} {time}' for arm, time in cached)}"


def _phase(arm: ArmSummary, cache: str, phase: PhaseSeconds) -> float | None:
    phases = arm.result.phases_with(cache)
    return None if phases is None else phase(phases)


def _step_columns(arms: Sequence[ArmSummary]) -> list[tuple[Column, list[str]]]:
    """The steady step and its interval, all in one unit."""
    unit = numbers.pick_time_unit([arm.median_seconds for arm in arms if arm.median_seconds])
    steps = [step_cell(arm, unit) for arm in arms]
    intervals = [
        MISSING
        if arm.median_seconds is None or arm.interval_seconds is None
        else numbers.format_interval(arm.median_seconds, arm.interval_seconds, unit)
        for arm in arms
    ]
    return [(Column("step"), steps), (Column("95 % interval"), intervals)]


def step_cell(arm: ArmSummary, unit: numbers.Unit) -> str:
    """The steady step of an arm, or in words why there is none."""
    if arm.median_seconds is None:
        return UNMEASURED.get(arm.result.status, MISSING)
    return numbers.format_seconds(arm.median_seconds, arm.interval_seconds, unit)


def _relative_cell(arm: ArmSummary, reference_id: str) -> str:
    if arm.result.arm.id == reference_id:
        return "reference"
    return relative_words(arm.relative)


def _size_cells(sizes: Sequence[int | None]) -> list[str]:
    unit = numbers.pick_byte_unit([size for size in sizes if size is not None])
    return [MISSING if size is None else numbers.format_bytes(size, unit) for size in sizes]


# One row a case ------------------------------------------------------------------------------


def varying_axes(cases: Sequence[CaseSummary]) -> tuple[str, ...]:
    """The axes that take more than one value among `cases`, in their order."""
    names = dict.fromkeys(name for case in cases for name in case.case.parameters)
    return tuple(
        name for name in names if len({case.case.parameters.get(name) for case in cases}) > 1
    )


def where_words(some: Sequence[CaseSummary], among: Sequence[CaseSummary]) -> str:
    """Which of the cases: `layout NHWC` where an axis tells, else `2 of 5 cases`; empty for all."""
    if len(some) == len(among):
        return ""
    chosen = {case.case.id for case in some}
    for axis in varying_axes(among):
        values = dict.fromkeys(case.case.parameters.get(axis) for case in some)
        alike = {case.case.id for case in among if case.case.parameters.get(axis) in values}
        if alike == chosen and len(values) <= MOST_VALUES:
            return f"{axis} {', '.join(map(str, values))}"
    return f"{len(some)} of {len(among)} cases"


def compact_table(cases: Sequence[CaseSummary], arm_order: Sequence[str]) -> Table:
    """One row a case: the axes that vary, the steady step of every arm, and the fastest.

    `arm_order` is the plan's. The unit is chosen for each row: the arms beside each other are what
    is compared. A note says where an arm was not planned.
    """
    axes = varying_axes(cases)
    present = {arm.result.arm.id for case in cases for arm in case.arms}
    arm_ids = [arm_id for arm_id in arm_order if arm_id in present]
    rows = []
    for case in cases:
        measured = [arm.median_seconds for arm in case.arms if arm.median_seconds]
        unit = numbers.pick_time_unit(measured)
        labels = [str(case.case.parameters.get(axis, MISSING)) for axis in axes]
        steps = []
        for arm_id in arm_ids:
            arm = case.arm(arm_id)
            steps.append(NOT_HERE if arm is None else step_cell(arm, unit))
        rows.append((*labels, *steps, _fastest_cell(case)))
    columns = (
        *(Column(axis, align_right=False) for axis in axes),
        *(Column(arm_id) for arm_id in arm_ids),
        Column("fastest", align_right=False),
    )
    return Table(columns, tuple(rows), tuple(_unplanned_notes(cases, arm_ids)))


def _unplanned_notes(cases: Sequence[CaseSummary], arm_ids: Sequence[str]) -> list[str]:
    """`n/a: jax, ncnn: not planned for layout NHWC`, one line for arms that lack the same cases."""
    lacking: dict[str, list[str]] = {}
    for arm_id in arm_ids:
        if lacks := [case for case in cases if case.arm(arm_id) is None]:
            lacking.setdefault(where_words(lacks, cases), []).append(arm_id)
    return [
        f"{NOT_HERE}: {', '.join(arm_ids)}: not planned for {where}"
        for where, arm_ids in lacking.items()
    ]


def _fastest_cell(case: CaseSummary) -> str:
    winner = case.winner
    if winner is None:
        return MISSING
    if not winner.significant:
        return f"unclear ({winner.arm_id}, {winner.over_id})"
    interval = interval_of(winner.low, winner.high)
    ratio = (
        numbers.format_ratio(winner.ratio)
        if interval is None
        else numbers.format_ratio_interval(winner.ratio, interval)
    )
    return f"{winner.arm_id} {ratio} faster than {winner.over_id}"
