"""Slowdowns planted on purpose, to see whether a gate finds them.

A plan names them under `settings["planted"]`: case id -> arm id -> share of the time added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchctl.store.record import ArmSpec, CaseSpec, Plan

PLANTED = "planted"


def with_slowdown(plan: Plan, case_id: str, arm_id: str, share: float) -> Plan:
    """The plan with one arm of one case slower by `share`; 0.05 is 5 %."""
    return replace(plan, settings={**plan.settings, PLANTED: {case_id: {arm_id: share}}})


def planted_share(plan: Plan, case: CaseSpec, arm: ArmSpec) -> float:
    """By what share an arm of a case is to be slower than it is."""
    planted: Mapping[str, Any] = plan.settings.get(PLANTED, {})
    return float(planted.get(case.id, {}).get(arm.id, 0.0))
