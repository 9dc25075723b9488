"""Steps that go through several sets of inputs, such as batches of different shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from benchctl_engines.contract import Array, Case, Runner, RunnerFacts
    from benchctl_workloads import Workload

Inputs = Mapping[str, "Array"]
_OF_BATCH = " of batch "


class BatchesError(ValueError):
    """Batches that no step can go through."""


def draw_batches(workload: Workload, case: Case, rng: np.random.Generator) -> list[Inputs]:
    """The sets of inputs of one step; raises `BatchesError`."""
    own = getattr(workload, "batches", None)
    batches: list[Inputs] = [workload.inputs(case, rng)] if own is None else own(case, rng)
    if not batches or (len(batches) > 1 and workload.step(case) == "training"):
        expected = "one set of inputs in a training step" if batches else "at least one"
        raise BatchesError(f"batches expected {expected}, received {len(batches)}")
    return batches


def batch_name(output: str, place: int) -> str:
    """What an output of one of several batches is called."""
    return f"{output}{_OF_BATCH}{place + 1}"


def output_of(name: str) -> str:
    """The program's own name of an output."""
    return name.partition(_OF_BATCH)[0]


class BatchesRunner:
    """A runner whose step takes one set of inputs after another, and does a step on each."""

    def __init__(self, runner: Runner, batches: Sequence[Inputs]) -> None:
        self._runner = runner
        self._batches = batches

    def build(self) -> None:
        """Build the runner, for the first batch."""
        self._runner.build()

    def compile(self) -> None:
        """Compile the runner, for the first batch: what others need is made when they come."""
        self._runner.compile()

    def load(self, batches: Any) -> None:
        """Keep the batches of the next steps."""
        self._batches = batches

    def step(self) -> None:
        """Load and run all batches."""
        runner = self._runner
        for inputs in self._batches:
            runner.load(inputs)
            runner.step()

    def outputs(self) -> dict[str, Array]:
        """Results of every batch, each done once more."""
        results = {}
        for place, inputs in enumerate(self._batches):
            self._runner.load(inputs)
            self._runner.step()
            for name, array in self._runner.outputs().items():
                results[batch_name(name, place)] = array.copy()
        return results

    def facts(self) -> RunnerFacts:
        """Those of the runner."""
        return self._runner.facts()

    def close(self) -> None:
        """Close the runner."""
        self._batches = ()
        self._runner.close()
