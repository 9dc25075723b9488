"""What the engines for inference runtimes share: forward steps only, images in layout NCHW."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..contract import AVAILABLE, Array, Availability, Case, Program
from ..primitives.control_flow import CONTROL_FLOW
from .framework import PeerEngine, varying_shapes_refused
from .probed_program import ProbedCall, probe_program

_CONTROL_FLOW = {each.name for each in CONTROL_FLOW}


class UnsupportedProgramError(ValueError):
    """A program that a runtime cannot express; `hint` says what to do about it."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class InferenceEngine(PeerEngine):
    """Base of the engines that compute forward steps only."""

    def supports(self, workload: Program, case: Case) -> Availability:
        """Whether a case is a forward step that this runtime can express."""
        if getattr(workload, "varying_shapes", False):
            return varying_shapes_refused(self.name)
        if workload.step(case) != "forward":
            return Availability(
                False,
                f"{self.name} computes no gradients",
                "choose a forward case where the workload has one, or another engine",
            )
        try:
            self.require_expressible(workload, case)
        except UnsupportedProgramError as error:
            return Availability(False, str(error), error.hint)
        return AVAILABLE

    def require_expressible(self, workload: Program, case: Case) -> None:
        """Raise `UnsupportedProgramError` for a program that the runtime cannot compute."""
        for call in probe_program(workload, case).calls:
            require_operation(self.name, call)


def require_operation(engine: str, call: ProbedCall) -> None:
    """Raise `UnsupportedProgramError` for a call that no runtime here can do."""
    if call.arguments.get("layout") == "NHWC":
        raise UnsupportedProgramError(
            f"{engine} takes images in layout NCHW only", "choose -a layout=NCHW"
        )
    if call.operation in _CONTROL_FLOW:
        raise UnsupportedProgramError(
            f"{engine} is given one list of operations, and the program has a {call.operation}",
            "choose a case without branches and loops, or another engine",
        )
    if call.operation.startswith("random_"):
        raise UnsupportedProgramError(
            f"{engine} cannot make the random numbers of the other engines",
            "choose another engine",
        )


def require_float32(engine: str, arrays: Iterable[Array]) -> None:
    """Raise `UnsupportedProgramError` where a runtime would silently compute in less than asked."""
    if any(each.dtype == np.float64 for each in arrays):
        raise UnsupportedProgramError(
            f"{engine} computes in float32 only, and the case has float64 arrays",
            "choose a case in float32, or another engine",
        )
