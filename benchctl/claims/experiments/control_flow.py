"""Conditional layers are slow in the static graph: cond and scan against Python's if and for."""

from __future__ import annotations

from benchctl.claims.claim import ROUNDS, STEADY, Claim
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry

WORKLOAD = "conditional"


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """static / eager on every case; TensorFlow's graph against torch beside them."""
    found = []
    for case in evidence.cases(WORKLOAD):
        title = case.case.title
        found.append(evidence.times(f"static / eager: {title}", case, "static", "eager"))
        what = f"tf-function / torch: {title}"
        found.append(evidence.times(what, case, "tf-function", "torch", judged=False))
    return tuple(found) or (missing("static / eager", *evidence.skipped),)


CLAIM = Claim(
    name="control-flow",
    says="conditional layers are slow in the static graph",
    asks=(
        "control flow that depends on data: cond and scan recorded in a graph, if and for run in "
        "Python"
    ),
    rule="the static engine takes longer than eager in every case",
    kind="timing",
    judge=judge,
    entries=(
        SuiteEntry(
            WORKLOAD,
            {},
            arms=("static", "eager", "torch", "tf-function"),
            rounds=ROUNDS,
            measure=STEADY,
        ),
    ),
)
