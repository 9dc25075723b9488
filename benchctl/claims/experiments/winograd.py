"""PyTorch applies Winograd convolution by default: is it the better choice, layer by layer?"""

from __future__ import annotations

from benchctl.claims.claim import STEADY, Claim
from benchctl.claims.evidence import Evidence, checked, missing
from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry
from benchctl.report.numbers import format_error
from benchctl.store.record import CaseResult

WORKLOAD = "layout"
LAYERS = ("conv1_2", "conv2_2", "conv4_2", "conv5_1")
WINOGRAD = "static"
IM2COL = "static:convolution=im2col"
DIRECT = "static:convolution=direct"
LIBRARY = "torch"


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """im2col and direct sums over Winograd on our kernels; a library's convolution beside them."""
    found = []
    for case in evidence.cases(WORKLOAD, layout="NHWC", direction="forward"):
        layer = str(case.case.parameters["layer"])
        for name, arm, judged in (
            ("im2col", IM2COL, True),
            ("direct sums", DIRECT, False),
            ("torch", LIBRARY, False),
        ):
            what = f"{layer}: {name} / Winograd"
            found.append(evidence.times(what, case, arm, WINOGRAD, judged=judged))
        found.append(_errors(evidence, case, f"{layer}: error of the largest element"))
    return tuple(found)


def _errors(evidence: Evidence, case: CaseResult, what: str) -> Observation:
    """How far each is from float64: what Winograd's fewer multiplications cost."""
    named = {"Winograd": WINOGRAD, "im2col": IM2COL, "direct sums": DIRECT, "torch": LIBRARY}
    errors = []
    for name, arm_id in named.items():
        arm = evidence.arm(case, arm_id)
        if arm is not None and arm.verification is not None:
            errors.append(f"{name} {format_error(arm.verification.worst_relative_error)}")
    if not errors:
        return missing(what, "nothing was checked", judged=False)
    return checked(what, True, ", ".join(errors), judged=False)


CLAIM = Claim(
    name="winograd",
    says="PyTorch applies Winograd convolution by default",
    asks=(
        "Winograd's filtering against im2col and direct sums on our kernels, and against torch's "
        "convolution, layer by layer: time, and error against float64"
    ),
    rule="Winograd is faster than im2col on every layer shape, so that the default is a good one",
    kind="timing",
    judge=judge,
    entries=(
        SuiteEntry(
            WORKLOAD,
            {"layer": LAYERS, "layout": ("NHWC",), "direction": ("forward",)},
            arms=(WINOGRAD, IM2COL, DIRECT, LIBRARY),
            rounds=8,
            measure=STEADY,
        ),
    ),
)
