"""TensorFlow wastes memory: the resident peak of every engine, inference and training."""

from __future__ import annotations

from benchctl.claims.claim import Claim
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry
from benchctl.store.record import CaseResult

WORKLOAD = "memory"
DEPTHS = ("8", "32")
MODES = ("inference", "training")
TENSORFLOW = ("tf-function", "tf-graph")
OURS = ("static", "eager", "numpy")
OTHERS = (*OURS, "torch")


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """TensorFlow over the leanest of the others; eager over static, and deep over shallow."""
    found = []
    for case in evidence.cases(WORKLOAD):
        leanest = _leanest(evidence, case)
        for engine in TENSORFLOW:
            found.append(_compared(evidence, case, engine, leanest, judged=True))
        found.append(_compared(evidence, case, "eager", "static", judged=False))
    for mode in MODES:
        found += _by_depth(evidence, mode)
    return tuple(found) or (missing("peaks of memory", *evidence.skipped),)


def _compared(
    evidence: Evidence, case: CaseResult, engine: str, over: str, *, judged: bool
) -> Observation:
    what = f"{engine} / {over}: {case.case.title}"
    return evidence.peaks(what, case, engine, case, over, judged=judged)


def _by_depth(evidence: Evidence, mode: str) -> list[Observation]:
    """Peak of the deep network over that of the shallow one: who keeps activations grows."""
    shallow, deep = (evidence.cases(WORKLOAD, mode=mode, depth=depth) for depth in DEPTHS)
    if not shallow or not deep:
        return []
    return [
        evidence.peaks(
            f"{engine}, {mode}: {DEPTHS[1]} layers / {DEPTHS[0]}",
            deep[0],
            engine,
            shallow[0],
            engine,
            judged=False,
        )
        for engine in OURS
    ]


def _leanest(evidence: Evidence, case: CaseResult) -> str:
    """The engine with the smallest peak that is not TensorFlow; torch where nothing is known."""
    arms = [arm for arm in case.arms if arm.arm.id in OTHERS and arm.memory.resident_above_import]
    if not arms:
        return "torch"
    return min(arms, key=lambda arm: arm.memory.resident_above_import or 0).arm.id


CLAIM = Claim(
    name="memory",
    says="TensorFlow wastes memory",
    asks=(
        "the resident peak above import of every engine, in inference and training, at two depths "
        "of one network; the depth shows who keeps activations"
    ),
    rule=(
        "TensorFlow's peak is more than 5 % above that of the leanest other engine in every case; "
        "one peak an engine and case, so there is no interval"
    ),
    kind="count",
    judge=judge,
    entries=(
        SuiteEntry(
            WORKLOAD,
            {"mode": MODES, "depth": DEPTHS},
            arms=(*OTHERS, *TENSORFLOW),
            rounds=3,
            measure={"cold": False, "restart_every": 100, "warm_up": {"limit_seconds": 2.0}},
        ),
    ),
)
