"""The lecture's claims in its own order."""

from __future__ import annotations

from benchctl.claims.claim import Claim
from benchctl.claims.experiments import (
    control_flow,
    devices,
    errors,
    export,
    gradients,
    graph,
    input_pipeline,
    intermediates,
    layers,
    memory,
    paradigms,
    shapes,
    tensorboard,
    winograd,
)
from benchctl.plan.errors import UnknownNameError

CLAIMS: tuple[Claim, ...] = tuple(
    experiment.CLAIM
    for experiment in (
        graph,
        paradigms,
        devices,
        gradients,
        memory,
        intermediates,
        control_flow,
        errors,
        tensorboard,
        input_pipeline,
        export,
        winograd,
        shapes,
        layers,
    )
)


def claims_named(names: tuple[str, ...]) -> tuple[Claim, ...]:
    """The claims of these names in the lecture's order, all for none; raises `PlanError`."""
    known = {claim.name: claim for claim in CLAIMS}
    for name in names:
        if name not in known:
            raise UnknownNameError("claim", name, known)
    return tuple(claim for claim in CLAIMS if not names or claim.name in names)
