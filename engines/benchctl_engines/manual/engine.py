"""The engine `numpy`: calls the step that a workload's author wrote by hand, and nothing else.

On a GPU the same step is called with CuPy's arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..contract import (
    AVAILABLE,
    Array,
    Availability,
    ByHand,
    Case,
    EngineOptions,
    Paradigm,
    Program,
    RunnerFacts,
    Switch,
)
from ..devices.availability import device_availability, gpu_index


class ManualRunner:
    """One case of a hand-written step. `step` is one call, so that NumPy's own cost is measured."""

    def __init__(
        self,
        by_hand: ByHand,
        parameters: dict[str, Array],
        inputs: Mapping[str, Array],
        training: bool,
    ) -> None:
        self._by_hand = by_hand
        self._parameters = parameters
        self._inputs = inputs
        self._training = training
        self._results: Mapping[str, Array] | None = None

    def build(self) -> None:
        """Nothing exists before the first step."""

    def compile(self) -> None:
        """Nothing is compiled."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Take the inputs of the next steps."""
        self._inputs = dict(inputs)

    def step(self) -> None:
        """Do one step."""
        self._results = self._by_hand(self._parameters, self._inputs)

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; the parameters among them change with the next step."""
        if self._results is None:
            raise RuntimeError("outputs expected at least one step before it, received none")
        results = {name: np.asarray(value) for name, value in self._results.items()}
        if self._training:
            for name, value in self._parameters.items():
                results[f"parameter/{name}"] = value
        return results

    def facts(self) -> RunnerFacts:
        """One kernel by name: NumPy does not say what it runs inside."""
        return RunnerFacts(kernels=("numpy",))

    def close(self) -> None:
        """Drop the arrays."""
        self._parameters = {}
        self._inputs = {}
        self._results = None


class ManualEngine:
    """NumPy with gradients derived by hand."""

    name = "numpy"
    paradigm: Paradigm = "manual"

    def versions(self) -> Mapping[str, str]:
        """NumPy and the BLAS it was built with."""
        blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
        versions = {"numpy": np.__version__}
        if "name" in blas:
            versions[str(blas["name"])] = str(blas.get("version", "unknown"))
        return versions

    def availability(self, device: str) -> Availability:
        """NumPy computes on the CPU, CuPy in its place on a GPU."""
        return device_availability(device)

    def supports(self, workload: Program, case: Case) -> Availability:
        """Whether the workload's author wrote the step of this case by hand."""
        if workload.by_hand(case) is not None:
            return AVAILABLE
        return Availability(
            False,
            "the workload has no hand-written NumPy step",
            f"write by_hand in the workload {workload.name}, or choose another engine",
        )

    def switches(self) -> Mapping[str, Switch]:
        """None: there is nothing between the author's code and NumPy."""
        return {}

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> ManualRunner:
        """A runner; a training step changes the arrays of `parameters`."""
        by_hand = workload.by_hand(case)
        if by_hand is None:
            support = self.supports(workload, case)
            raise ValueError(f"{support.reason}; {support.hint}")
        training = workload.step(case) == "training"
        if gpu_index(options.device) is None:
            return ManualRunner(by_hand, dict(parameters), dict(inputs), training)
        from .cupy_runner import CupyRunner

        return CupyRunner(by_hand, dict(parameters), dict(inputs), training, options)


def make_engine() -> ManualEngine:
    """The factory behind the entry point `numpy`."""
    return ManualEngine()
