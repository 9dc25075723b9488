"""Two views of one run: our engines among themselves, and everyone against the static engine.

Engines of ours share their kernels, so a difference between them is one of paradigm; frameworks
share nothing with them, so they never stand in the same table.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from benchctl.plan.interpreters import INTERPRETERS
from benchctl.plan.schedule import FRAMEWORKS
from benchctl.store.record import ArmResult, CaseResult, Run

PEER_ENGINES = (
    "torch",
    "torch-compile",
    "tf-function",
    "tf-eager",
    "tf-graph",
    "keras",
    "jax",
    "tinygrad",
    "onnxruntime",
    "openvino",
    "ncnn",
)
"""The adapters of this package, for records that do not name the frameworks of their plan."""
YARDSTICK = "static"


def peer_names(run: Run) -> frozenset[str]:
    """The engines of a run that are frameworks: under another interpreter and plug-ins too."""
    elsewhere = run.plan.settings.get(INTERPRETERS, {})
    named = {name for name, each in elsewhere.items() if each.get("engine") in PEER_ENGINES}
    return frozenset({*PEER_ENGINES, *named, *run.plan.settings.get(FRAMEWORKS, ())})


def is_peer(arm: ArmResult, names: Collection[str] = PEER_ENGINES) -> bool:
    """Whether an arm ran on a framework; `names` are those of its run."""
    return arm.arm.engine in names


def in_house(run: Run) -> Run:
    """The run without the arms of frameworks, and without cases that had no others."""
    names = peer_names(run)
    cases = (_without_peers(case, names) for case in run.cases)
    return replace(run, cases=tuple(case for case in cases if case.arms))


def with_peers(run: Run) -> Run:
    """The cases in which a framework takes part, measured or not."""
    names = peer_names(run)
    cases = (case for case in run.cases if any(is_peer(arm, names) for arm in case.arms))
    return replace(run, cases=tuple(cases))


def against_static(run: Run) -> Run:
    """The cases in which a framework and the static engine took part, compared with the latter."""
    cases = tuple(
        case
        for case in with_peers(run).cases
        if any(each.arm.id == YARDSTICK for each in case.arms)
    )
    return replace(run, cases=cases, plan=replace(run.plan, reference_arm=YARDSTICK))


def _without_peers(case: CaseResult, names: Collection[str]) -> CaseResult:
    return replace(case, arms=tuple(arm for arm in case.arms if not is_peer(arm, names)))
