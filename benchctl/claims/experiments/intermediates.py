"""Getting at intermediate layers takes work: what fetching an inner activation costs."""

from __future__ import annotations

from benchctl.claims.claim import ROUNDS, STEADY, Claim
from benchctl.claims.evidence import Evidence, missing
from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry

WORKLOAD = "intermediates"
ENGINES = ("static", "eager", "torch", "tf-function")
JUDGED = ("static", "eager")


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """time with the inner activation / time without, engine by engine."""
    without = evidence.cases(WORKLOAD, fetch="none")
    found = []
    for fetch in ("inner", "every"):
        having = evidence.cases(WORKLOAD, fetch=fetch)
        words = "an inner activation" if fetch == "inner" else "every activation"
        for engine in ENGINES:
            what = f"{engine}: fetching {words} / fetching the logits alone"
            judged = engine in JUDGED
            if having and without:
                found.append(
                    evidence.times_of_cases(what, having[0], without[0], engine, judged=judged)
                )
            else:
                found.append(missing(what, *evidence.skipped, judged=judged))
    return tuple(found)


CLAIM = Claim(
    name="intermediates",
    says="getting at intermediate layers takes work",
    asks="VGG16 asked for its logits alone, for one activation within it as well, and for all",
    rule="an engine takes longer where an activation is fetched too",
    kind="timing",
    judge=judge,
    entries=(
        SuiteEntry(
            WORKLOAD,
            {
                "fetch": ("none", "inner", "every"),
                "batch": ("4",),
                "image_size": ("96",),
                "width": ("16",),
            },
            arms=ENGINES,
            rounds=ROUNDS,
            measure=STEADY,
        ),
    ),
)
