"""The dynamic graph adapts to the data at any time: inputs of many shapes within a step."""

from __future__ import annotations

from benchctl.claims.claim import STEADY, Claim
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry

WORKLOAD = "dynamic_shapes"
LENGTHS = ("1", "4", "32")
JUDGED = LENGTHS[1:]


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """static / eager by the number of lengths; of one, to which nothing adapts, it is shown."""
    found = []
    for lengths in LENGTHS:
        for case in evidence.cases(WORKLOAD, lengths=lengths):
            words = "1 length" if lengths == "1" else f"{lengths} lengths"
            judged = lengths in JUDGED
            what = f"{words}: static / eager"
            found.append(evidence.times(what, case, "static", "eager", judged=judged))
            what = f"{words}: tf-function / torch"
            found.append(evidence.times(what, case, "tf-function", "torch", judged=False))
    return tuple(found) or (missing("static / eager", *evidence.skipped),)


CLAIM = Claim(
    name="shapes",
    says="the dynamic graph adapts to the data at any time",
    asks=(
        "sentences whose length changes within a step, of few lengths and of more than a session "
        "keeps programs for: a static graph compiles for each, an eager engine does nothing"
    ),
    rule="the static engine takes longer than eager as soon as lengths differ",
    kind="timing",
    judge=judge,
    entries=(
        SuiteEntry(
            WORKLOAD,
            {"lengths": LENGTHS},
            arms=("static", "eager", "torch", "tf-function"),
            rounds=7,
            measure=STEADY,
        ),
    ),
)
