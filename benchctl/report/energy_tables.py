"""The extra table of arms on a GPU whose energy was measured: joules a step and their spread."""

from __future__ import annotations

from collections.abc import Sequence

from benchctl.compare.energy import EnergySummary, summarise_energy
from benchctl.compare.summary import ArmSummary, CaseSummary
from benchctl.report import numbers
from benchctl.report.table import Column, Table

MISSING = "-"

ENERGY_CAVEAT = (
    "Energy is that of the whole card, its idle part included. The sensor looks at the power a "
    "part of the time only (about a quarter on A100 and H100): the figures are those of steady "
    "blocks of at least 5 s, and their spread is part of them."
)


def energy_table(
    cases: Sequence[CaseSummary], axes: Sequence[str], *, by_id: bool = False
) -> Table | None:
    """One row for each arm whose energy is told; None where there is none.

    `axes`, or with `by_id` the id, tell the cases apart.
    """
    rows = []
    for case in cases:
        labels = [str(case.case.parameters.get(axis, MISSING)) for axis in axes]
        labels = [case.case.id] if by_id else labels
        rows += [(*labels, *_cells(arm, found)) for arm, found in _told(case)]
    if not rows:
        return None
    columns = (
        *(Column(title, align_right=False) for title in (["case"] if by_id else axes)),
        Column("engine", align_right=False),
        Column("joules a step"),
        Column("least to most"),
        Column("blocks"),
        Column("power"),
        Column("idle"),
        Column("read from", align_right=False),
    )
    return Table(columns, tuple(rows))


def energy_sentences(cases: Sequence[CaseSummary]) -> list[str]:
    """What the figures are worth, and which arms have none."""
    lines = [ENERGY_CAVEAT] if any(_told(case) for case in cases) else []
    problems = dict.fromkeys(
        (arm.result.arm.id, arm.result.energy.problem)
        for case in cases
        for arm in case.arms
        if arm.result.energy is not None and arm.result.energy.problem
    )
    return [*lines, *(f"{arm_id}: no energy, {problem}." for arm_id, problem in problems)]


def _told(case: CaseSummary) -> list[tuple[ArmSummary, EnergySummary]]:
    pairs = ((arm, summarise_energy(arm.result)) for arm in case.arms)
    return [(arm, found) for arm, found in pairs if found is not None]


def _cells(arm: ArmSummary, found: EnergySummary) -> list[str]:
    figures, unit = numbers.format_energies((found.joules_per_step, found.low, found.high))
    typical, low, high = figures
    return [
        arm.result.arm.id,
        f"{typical} {unit}",
        f"{low} to {high} {unit}",
        f"{found.blocks} of {found.seconds:.1f} s",
        f"{found.watts:.0f} W",
        MISSING if found.idle_watts is None else f"{found.idle_watts:.0f} W",
        found.source,
    ]
