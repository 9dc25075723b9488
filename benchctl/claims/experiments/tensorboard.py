"""TensorBoard shows the structure and how parameters change: is what we write read by it?"""

from __future__ import annotations

from benchctl.claims.claim import Claim, Facts
from benchctl.claims.evidence import Evidence, checked, missing
from benchctl.claims.verdicts import Observation
from benchctl.store.record import Plan


def probe(plan: Plan) -> Facts:
    """What TensorBoard's own reader finds in the files that `benchctl graph` wrote."""
    return {}


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """Graph and scalars read back."""
    return (missing("graph and scalars in TensorBoard", *evidence.skipped),)


CLAIM = Claim(
    name="tensorboard",
    says="TensorBoard shows the structure and how parameters change",
    asks="graph and scalars of a training written as TensorBoard's files, and read back",
    rule="every node and every scalar that was written is read back",
    kind="check",
    judge=judge,
    probe=probe,
)
