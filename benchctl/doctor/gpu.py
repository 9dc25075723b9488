"""Checks of the GPU: each piece that an engine of ours needs of it is a line of its own."""

from __future__ import annotations

from benchctl.doctor.check import Check

ASKED_ENGINE = "eager"
"""Our engines share their devices, so one of them answers for all."""


def gpu_checks() -> list[Check]:
    """What the engine finds; an engine that cannot be loaded is the business of another check."""
    from benchctl.plan.registry import load_engine
    from benchctl_engines.contract import DiagnosedEngine

    engine = load_engine(ASKED_ENGINE)
    if not isinstance(engine, DiagnosedEngine):
        return []
    return [Check(each.piece, each.status, each.found, each.hint) for each in engine.gpu_findings()]
