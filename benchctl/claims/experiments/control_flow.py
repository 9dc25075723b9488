"""Conditional layers are slow in the static graph: cond and scan against Python's if and for."""

from __future__ import annotations

from benchctl.claims.claim import ROUNDS, STEADY, Claim
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry

WORKLOAD = "conditional"
FORMS = ("branch", "loop", "while")
OURS = ("static", "eager")


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """static / eager form by form; what control flow costs against none is shown beside it."""
    found = []
    for form in FORMS:
        written, without = (
            evidence.cases(WORKLOAD, form=form, written=written)
            for written in ("control_flow", "branchless")
        )
        if not written:
            continue
        case = written[0]
        found.append(evidence.times(f"{form}: static / eager", case, "static", "eager"))
        what = f"{form}: tf-function / torch"
        found.append(evidence.times(what, case, "tf-function", "torch", judged=False))
        for engine in OURS if without else ():
            what = f"{form} on {engine}: control flow / where and unrolled"
            found.append(evidence.times_of_cases(what, case, without[0], engine, judged=False))
    return tuple(found) or (missing("static / eager", *evidence.skipped),)


def _entry(written: str, *arms: str) -> SuiteEntry:
    axes = {"form": FORMS, "written": (written,)}
    return SuiteEntry(WORKLOAD, axes, arms=arms, rounds=ROUNDS, measure=STEADY)


CLAIM = Claim(
    name="control-flow",
    says="conditional layers are slow in the static graph",
    asks=(
        "branches and loops that depend on data: cond, scan and while_loop recorded in a graph, "
        "Python's own if and for where operations run as they are called"
    ),
    rule="the static engine takes longer than eager, for branches and for loops",
    kind="timing",
    judge=judge,
    entries=(
        _entry("control_flow", *OURS, "torch", "tf-function"),
        _entry("branchless", *OURS),
    ),
)
