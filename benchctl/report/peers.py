"""Two views of one run: our engines among themselves, and everyone against the static engine.

Engines of ours share their kernels, so a difference between them is one of paradigm; frameworks
share nothing with them, so they never stand in the same table.
"""

from __future__ import annotations

from dataclasses import replace

from benchctl.store.record import ArmResult, CaseResult, Run

PEER_ENGINES = ("torch", "tf-function", "jax", "onnxruntime", "openvino", "ncnn")
"""The engines of this package that are adapters to a framework, as records name them."""
YARDSTICK = "static"


def is_peer(arm: ArmResult) -> bool:
    """Whether an arm ran on a framework."""
    return arm.arm.engine in PEER_ENGINES


def in_house(run: Run) -> Run:
    """The run without the arms of frameworks, and without cases that had no others."""
    cases = (_without_peers(case) for case in run.cases)
    return replace(run, cases=tuple(case for case in cases if case.arms))


def against_static(run: Run) -> Run:
    """The cases in which a framework and the static engine took part, compared with the latter."""
    cases = tuple(
        case
        for case in run.cases
        if any(map(is_peer, case.arms)) and any(each.arm.id == YARDSTICK for each in case.arms)
    )
    return replace(run, cases=cases, plan=replace(run.plan, reference_arm=YARDSTICK))


def _without_peers(case: CaseResult) -> CaseResult:
    return replace(case, arms=tuple(arm for arm in case.arms if not is_peer(arm)))
