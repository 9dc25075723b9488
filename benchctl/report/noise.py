"""A machine's noise floor in words and as a table."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from benchctl.gate.decide import GateRule
from benchctl.gate.noise import NoiseFloor, Power
from benchctl.plan.cases import short_ids
from benchctl.report.gate import noise_sentence
from benchctl.report.table import Column, Table, render_table
from benchctl.stats.planner import rounds_needed

_EFFECTS = (0.03, 0.05, 0.10)


def noise_table(floor: NoiseFloor) -> Table:
    """How a round's ratio varies, case by case, and the rounds that small changes need."""
    columns = [Column("case", align_right=False), Column("spread of a round's ratio")]
    columns += [Column(f"rounds for +{effect:.0%}") for effect in _EFFECTS]
    short = short_ids(name.rpartition(" ")[0] for name in floor.spreads)
    rows = []
    for full_name, spread in sorted(floor.spreads.items()):
        case_id, _, label = full_name.rpartition(" ")
        name = f"{short[case_id]} {label}"
        needed = [
            rounds_needed(math.log1p(effect), spread, margin=GateRule().margin)
            for effect in _EFFECTS
        ]
        cells = ["-" if each is None else str(each) for each in needed]
        rows.append((name, f"{spread:.1%}", *cells))
    return Table(tuple(columns), tuple(rows))


def noise_lines(floor: NoiseFloor) -> list[str]:
    """The whole answer as text."""
    lines = [noise_sentence(floor)] if floor.gates else []
    if floor.contaminated:
        lines.append(
            f"{floor.contaminated} more were called disturbed by their controls and say nothing."
        )
    if floor.cases:
        lines.append(
            f"The screen alone would have been wrong in {floor.candidates} of {floor.cases} cases."
        )
    lines += [power_sentence(each) for each in floor.powers]
    return [*lines, "", *render_table(noise_table(floor))]


def power_sentence(power: Power) -> str:
    """How often a planted slowdown was found."""
    disturbed = f"; {power.contaminated} more were disturbed" if power.contaminated else ""
    return (
        f"A slowdown of {100 * power.share:g} % planted in one case was found by {power.found} of "
        f"{power.gates} gates, at least {power.found_bound:.0%} with 95 % confidence"
        f"{disturbed}; they took {power.seconds / 60:.0f} min."
    )


def noise_document(floor: NoiseFloor) -> dict[str, Any]:
    """The noise floor for programs; spreads are standard deviations of ln(head / base)."""
    return {
        "schema": "benchctl.noise/1",
        "gates": floor.gates,
        "red": floor.red,
        "red_bound": floor.red_bound,
        "contaminated": floor.contaminated,
        "candidates": floor.candidates,
        "cases": floor.cases,
        "spreads": dict(floor.spreads),
        "seconds": floor.seconds,
        "planted": [{**asdict(each), "found_bound": each.found_bound} for each in floor.powers],
    }
