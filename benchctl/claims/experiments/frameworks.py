"""What a probe stores of an engine that is not here: the reason, and how to get it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchctl.plan.errors import PlanError
from benchctl.plan.registry import load_engine

_MISSING = "missing"


def gap_of(engine: str) -> dict[str, Any]:
    """{} where an engine can run on the CPU here, else what `told_gap` reads."""
    try:
        state = load_engine(engine).availability("cpu")
    except PlanError as error:
        return {_MISSING: [error.message, error.hint]}
    return {} if state.ok else {_MISSING: [state.reason, state.hint]}


def told_gap(facts: Mapping[str, Any], engine: str) -> tuple[str, str]:
    """Why a probe has nothing of an engine, and what to do."""
    told: Mapping[str, Any] = facts.get(engine, {})
    if "failed" in told:
        return f"{engine}: {told['failed']}", ""
    reason, hint = told.get(_MISSING, (f"{engine} was not tried", ""))
    return str(reason), str(hint)
