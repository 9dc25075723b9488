"""An ablation in figures: every rung against its base, and when its compilation has paid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchctl.compare.summary import (
    CONFIDENCE,
    ArmSummary,
    CaseSummary,
    one_off_seconds,
    paired_log_ratios,
)
from benchctl.plan.ladder import ALL_OFF, ALL_ON, Rung
from benchctl.stats.multiplicity import holm
from benchctl.stats.verdict import judge


@dataclass(frozen=True, slots=True)
class Measured:
    """One rung as measured.

    `ratio` is time / time of the base: all passes off for the ladder, all on for passes left out;
    `low` and `high` are None where the rounds are too few, all three for the base itself.
    `payback_steps` is after how many steps the rung has made up for what it costs before the
    first, against all off; None where it never does. `difference` is the largest relative one of
    its results from those of all off.
    """

    rung: Rung
    seconds: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    significant: bool = False
    launches: int | None = None
    bytes_moved: int | None = None
    peak_bytes: int | None = None
    compile_seconds: float | None = None
    payback_steps: int | None = None
    difference: float | None = None


def measured_rungs(
    case: CaseSummary,
    rungs: Sequence[Rung],
    arm_ids: Mapping[str, str],
    differences: Mapping[str, float],
    counts: Mapping[str, Mapping[str, int]],
) -> list[Measured]:
    """The rungs of a case; `arm_ids` by the rung's arm, `counts` for arms that keep none."""
    arms = {rung.arm: case.arm(arm_ids[rung.arm]) for rung in rungs}
    off, on = arms.get(ALL_OFF), arms.get(ALL_ON)
    bases = {id(rung): on if rung.kind == "without" else off for rung in rungs}
    ratios = _ratios(rungs, arms, bases)
    return [
        _measured(rung, arms[rung.arm], off, ratios.get(id(rung)), differences, counts)
        for rung in rungs
    ]


_Ratio = tuple[float, float | None, float | None, bool]


def _ratios(
    rungs: Sequence[Rung],
    arms: Mapping[str, ArmSummary | None],
    bases: Mapping[int, ArmSummary | None],
) -> dict[int, _Ratio]:
    """Ratios with intervals from paired rounds; significance holds for all rungs together."""
    found = {}
    for rung in rungs:
        arm, base = arms[rung.arm], bases[id(rung)]
        if arm is None or base is None or arm is base:
            continue
        pairs = paired_log_ratios(arm.result, base.result)
        if pairs:
            found[id(rung)] = judge(pairs, confidence=CONFIDENCE)
    adjusted = holm([each.p_value for each in found.values()])
    result: dict[int, _Ratio] = {}
    for (key, each), p_value in zip(found.items(), adjusted, strict=True):
        low = None if each.low is None else math.exp(each.low)
        high = None if each.high is None else math.exp(each.high)
        shown = low is not None and high is not None and not low <= 1 <= high
        result[key] = math.exp(each.estimate), low, high, shown and p_value <= 1 - CONFIDENCE
    return result


def _measured(
    rung: Rung,
    arm: ArmSummary | None,
    off: ArmSummary | None,
    ratio: _Ratio | None,
    differences: Mapping[str, float],
    counts: Mapping[str, Mapping[str, int]],
) -> Measured:
    if arm is None:
        return Measured(rung)
    result = arm.result
    own = {**result.counts, **counts.get(result.arm.id, {})}
    phases = result.phases_with("cold") or result.phases_with("warm")
    memory = result.memory
    peak = memory.engine_peak if memory.engine_peak is not None else memory.resident_above_import
    return Measured(
        rung=rung,
        seconds=arm.median_seconds,
        ratio=None if ratio is None else ratio[0],
        low=None if ratio is None else ratio[1],
        high=None if ratio is None else ratio[2],
        significant=ratio is not None and ratio[3],
        launches=own.get("launches"),
        bytes_moved=own.get("bytes_moved"),
        peak_bytes=peak,
        compile_seconds=None if phases is None else phases.compile_seconds,
        payback_steps=_payback(arm, off),
        difference=differences.get(result.arm.id),
    )


def _payback(arm: ArmSummary, off: ArmSummary | None) -> int | None:
    """Steps until the arm's start and steps together take less than those of all off."""
    if off is None or arm is off or not arm.median_seconds or not off.median_seconds:
        return None
    gain_seconds = off.median_seconds - arm.median_seconds
    cache = "cold" if arm.result.phases_with("cold") else "warm"
    once = one_off_seconds(arm.result.phases_with(cache))
    off_once = one_off_seconds(off.result.phases_with(cache))
    if gain_seconds <= 0 or once is None or off_once is None:
        return None
    return 1 + max(0, math.ceil((once - off_once) / gain_seconds))
