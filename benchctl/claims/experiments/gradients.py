"""Only computation and objective are written down; the gradients come by themselves."""

from __future__ import annotations

from benchctl.claims.claim import Claim
from benchctl.claims.evidence import Evidence
from benchctl.claims.experiments.networks import SMALL, case_words, product, vgg16
from benchctl.claims.verdicts import Observation

ENGINES = ("static", "eager")


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """Gradients and trained weights against float64, of programs that hold no derivative."""
    found = []
    products = evidence.cases("xyz", size=SMALL["size"][0])
    for case in (*products, *evidence.cases("vgg16", mode="training")):
        for engine in ENGINES:
            title = case_words(case.case)
            found.append(evidence.verified(f"{engine}: {title}", case, engine))
    return tuple(found)


CLAIM = Claim(
    name="gradients",
    says="only the computation and the objective are defined; gradients come by themselves",
    asks=(
        "gradients(c, [x, y, z]) in a graph and loss.backward() on a tape, of a product and of a "
        "network, against the float64 reference"
    ),
    rule="every gradient and every trained weight is that of float64, on both engines",
    kind="check",
    judge=judge,
    entries=(product(SMALL, *ENGINES), vgg16("training", *ENGINES)),
)
