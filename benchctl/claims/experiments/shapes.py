"""The dynamic graph adapts to the data at any time: shapes that change from step to step."""

from __future__ import annotations

from benchctl.claims.claim import ROUNDS, STEADY, Claim
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry

WORKLOAD = "dynamic_shapes"


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """static / eager where every step has another shape."""
    found = []
    for case in evidence.cases(WORKLOAD):
        title = case.case.title
        found.append(evidence.times(f"static / eager: {title}", case, "static", "eager"))
        what = f"tf-function / torch: {title}"
        found.append(evidence.times(what, case, "tf-function", "torch", judged=False))
    return tuple(found) or (missing("static / eager", *evidence.skipped),)


CLAIM = Claim(
    name="shapes",
    says="the dynamic graph adapts to the data at any time",
    asks="sequences whose length changes: a static graph compiles anew, eager does nothing",
    rule="the static engine takes longer than eager where shapes change",
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
