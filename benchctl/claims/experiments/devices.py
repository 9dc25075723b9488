"""The same code on CPU and GPU: one workload, two places, both checked against float64."""

from __future__ import annotations

from benchctl.claims.claim import Claim
from benchctl.claims.evidence import Evidence
from benchctl.claims.experiments.networks import LARGE, case_words, product, vgg16
from benchctl.claims.verdicts import Observation

ENGINES = ("static", "eager")
DEVICE = "gpu"


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """The results on a GPU; those on the CPU are shown beside them."""
    size = LARGE["size"][0]
    observations = []
    for case in (*evidence.cases("xyz", size=size), *evidence.cases("vgg16", mode="training")):
        title = case_words(case.case)
        for engine in ENGINES:
            gpu = f"{engine}@{DEVICE}"
            observations += [
                evidence.verified(f"{gpu}: {title}", case, gpu),
                evidence.verified(f"{engine}: {title}", case, engine, judged=False),
            ]
    return tuple(observations)


_ARMS = (*ENGINES, *(f"{engine}@{DEVICE}" for engine in ENGINES))

CLAIM = Claim(
    name="devices",
    says="the same code runs on CPU and GPU",
    asks="the same workloads with --device cpu and --device gpu, unchanged",
    rule="what each engine computes on the GPU is what float64 gives",
    kind="check",
    judge=judge,
    entries=(product(LARGE, *_ARMS), vgg16("training", *_ARMS)),
)
