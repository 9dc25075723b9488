"""Controls: work that no change of the code under test can touch.

Both arms of a control run the very same code. What differs between them is the machine's doing, and
would show in every other case too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from benchctl_engines.contract import (
    AVAILABLE,
    Array,
    Availability,
    Case,
    EngineOptions,
    Outputs,
    Program,
    RunnerFacts,
    Switch,
)
from benchctl_workloads import Axis, Workload

__benchctl_reference__ = "benchctl.measure.controls:ControlWorkload"
CONTROL_WORKLOAD = __benchctl_reference__
CONTROL_ENGINE = "benchctl.measure.controls:make_engine"
KINDS = ("python", "matmul")

# About a millisecond each.
_LOOP_TURNS = 20_000
_MATRIX_SIDE = 320


class ControlWorkload(Workload):
    """A loop of the interpreter, or a matrix product of NumPy."""

    name = "control"
    axes: ClassVar[tuple[Axis, ...]] = (Axis("kind", KINDS[0], values=KINDS, sweep=KINDS),)
    summary = "Work that a change cannot touch, to tell a disturbed machine"

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """x: [side, side]."""
        size = (_MATRIX_SIDE, _MATRIX_SIDE) if case["kind"] == "matmul" else (1, 1)
        return {"x": rng.standard_normal(size, dtype=np.float32)}

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        """The product; the loop is no engine's."""
        return Outputs({"y": ops.matmul(inputs["x"], inputs["x"])})

    def reference(
        self, case: Case, parameters: Mapping[str, Array], inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        """The product in float64; the sum of squares below n is n (n - 1) (2 n - 1) / 6."""
        if case["kind"] == "matmul":
            return {"y": inputs["x"] @ inputs["x"]}
        n = _LOOP_TURNS
        return {"y": np.array(n * (n - 1) * (2 * n - 1) // 6, np.float64)}

    def title(self, case: Case) -> str:
        """What it does."""
        return "a loop of the interpreter" if case["kind"] == "python" else "a product of NumPy"


def _loop() -> int:
    total = 0
    for turn in range(_LOOP_TURNS):
        total += turn * turn
    return total


class ControlRunner:
    """One of the two, again and again."""

    def __init__(self, kind: str, inputs: Mapping[str, Array]) -> None:
        self._kind = kind
        self._result: Any = None
        self._step: Callable[[], Any] = _loop
        self.load(inputs)

    def build(self) -> None:
        """Nothing."""

    def compile(self) -> None:
        """Nothing."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Take the factor of the product."""
        if self._kind == "matmul":
            x = inputs["x"]
            out = np.empty((len(x), len(x)), x.dtype)
            self._step = lambda: np.matmul(x, x, out=out)

    def step(self) -> None:
        """Run it once."""
        self._result = self._step()

    def outputs(self) -> dict[str, Array]:
        """The sum, or the product."""
        return {"y": np.asarray(self._result, None if self._kind == "matmul" else np.float64)}

    def facts(self) -> RunnerFacts:
        """Nothing of interest."""
        return RunnerFacts()

    def close(self) -> None:
        """Nothing is held."""


class ControlEngine:
    """Runs controls."""

    name = "control"
    paradigm = "manual"

    def versions(self) -> Mapping[str, str]:
        """NumPy's."""
        return {"numpy": np.__version__}

    def availability(self, device: str) -> Availability:
        """Everywhere."""
        return AVAILABLE

    def supports(self, workload: Program, case: Case) -> Availability:
        """Controls only."""
        if workload.name == ControlWorkload.name:
            return AVAILABLE
        return Availability(False, "the control engine runs controls", "choose another engine")

    def switches(self) -> Mapping[str, Switch]:
        """None."""
        return {}

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> ControlRunner:
        """A runner of the case's kind."""
        return ControlRunner(case["kind"], inputs)


def make_engine() -> ControlEngine:
    """The factory behind `CONTROL_ENGINE`."""
    return ControlEngine()
