"""Threads and queues: what a pipeline that prepares batches beside the step saves."""

from __future__ import annotations

from benchctl.claims.claim import ROUNDS, STEADY, Claim
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry

WORKLOAD = "input_pipeline"
ENGINE = "static"
AHEAD = ("0", "2")
PREPARED = {"numpy": "NumPy, which lets go of Python's lock", "python": "Python, which holds it"}


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """time with nothing ahead / time with batches ahead; how near that comes to ready ones."""
    found = []
    for prepare, words in PREPARED.items():
        none, ahead = (
            evidence.cases(WORKLOAD, prepare=prepare, prefetch=prefetch) for prefetch in AHEAD
        )
        ready = evidence.cases(WORKLOAD, prepare="none")
        if none and ahead:
            what = f"without a thread / {AHEAD[1]} batches ahead, prepared in {words}"
            found.append(evidence.times_of_cases(what, none[0], ahead[0], ENGINE))
        if ahead and ready:
            what = f"{AHEAD[1]} batches ahead, prepared in {prepare} / batches that were ready"
            found.append(evidence.times_of_cases(what, ahead[0], ready[0], ENGINE, judged=False))
    return tuple(found) or (missing("batches ahead", *evidence.skipped),)


def _entry(prepare: tuple[str, ...], prefetch: tuple[str, ...]) -> SuiteEntry:
    return SuiteEntry(
        WORKLOAD,
        {"prepare": prepare, "prefetch": prefetch},
        arms=(ENGINE,),
        rounds=ROUNDS,
        measure=STEADY,
    )


CLAIM = Claim(
    name="input-pipeline",
    says="threads and queues feed the graph while it computes",
    asks=(
        "a training step whose batches are prepared before it, or ahead of it by a thread, in code "
        "that lets go of Python's lock and in code that does not"
    ),
    rule="the step with its input is faster where a thread works ahead",
    kind="timing",
    judge=judge,
    entries=(_entry(("none",), ("0",)), _entry(tuple(PREPARED), AHEAD)),
)
