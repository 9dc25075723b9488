"""What the engines for inference runtimes share: forward steps only, images in layout NCHW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import ClassVar

import numpy as np

from ..contract import AVAILABLE, Array, Availability, Case, Paradigm, Program, Switch
from .probed_program import ProbedCall, probe_program


class UnsupportedProgramError(ValueError):
    """A program that a runtime cannot express; `hint` says what to do about it."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class InferenceEngine:
    """Base of the engines; a subclass names itself and its packages and writes `prepare`."""

    name: str = ""
    paradigm: Paradigm = "peer"
    packages: ClassVar[tuple[str, ...]] = ()
    """The packages that it imports; each is imported under the name it is installed by."""

    def versions(self) -> Mapping[str, str]:
        """Versions of the packages that are installed."""
        found = {}
        for package in self.packages:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
        return found

    def availability(self, device: str) -> Availability:
        """Whether the packages are installed; the adapters compute on the CPU."""
        if device != "cpu":
            return Availability(
                False,
                f"the engine {self.name} computes on the CPU, not on device {device!r}",
                "choose --device cpu",
            )
        missing = [package for package in self.packages if find_spec(package) is None]
        if not missing:
            return AVAILABLE
        verb = "is" if len(missing) == 1 else "are"
        return Availability(
            False,
            f"{' and '.join(missing)} {verb} not installed",
            f"pip install 'benchctl[{self.name}]'",
        )

    def supports(self, workload: Program, case: Case) -> Availability:
        """Whether a case is a forward step that this runtime can express."""
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

    def switches(self) -> Mapping[str, Switch]:
        """None: the runtime runs as an expert sets it up."""
        return {}


def require_operation(engine: str, call: ProbedCall) -> None:
    """Raise `UnsupportedProgramError` for a call that no runtime here can do."""
    if call.arguments.get("layout") == "NHWC":
        raise UnsupportedProgramError(
            f"{engine} takes images in layout NCHW only", "choose -a layout=NCHW"
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
