"""Steps that go through several sets of inputs, such as batches of different shapes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from benchctl_engines.contract import (
        Array,
        Case,
        LaunchTime,
        Runner,
        RunnerFacts,
        StepProfile,
    )
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
    """A runner whose step takes one set of inputs after another, and does a step on each.

    It has `device_memory`, `graphs` and `profile` where the runner has them: the memory of all that
    is held, the graphs of the batch that was loaded last, the launches of all batches. It has no
    `issue`: between batches a step loads, which is the host's work, and waits.
    """

    def __init__(self, runner: Runner, batches: Sequence[Inputs]) -> None:
        self._runner = runner
        self._batches = batches
        # Asked for by name, as the engines of another revision may not know them.
        for name in ("device_memory", "graphs"):
            if hasattr(runner, name):
                setattr(self, name, getattr(runner, name))
        if hasattr(runner, "profile"):
            self.profile = partial(self._profile, runner)

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

    def _profile(self, runner: Any, steps: int) -> StepProfile:
        """The launches of every batch, one batch after another; loading is the rest of a step."""
        times = []
        for _ in range(steps):
            start = time.perf_counter_ns()
            self.step()
            times.append(time.perf_counter_ns() - start)
        launches: list[LaunchTime] = []
        phases: dict[str, float] = {}
        begin = 0.0
        for inputs in self._batches:
            self._runner.load(inputs)
            found: StepProfile = runner.profile(steps)
            launches += [
                replace(each, start_seconds=begin + each.start_seconds) for each in found.launches
            ]
            begin += found.step_seconds
            for phase, seconds in getattr(found, "phases", {}).items():
                phases[phase] = phases.get(phase, 0.0) + seconds
        whole = replace(
            found, step_seconds=statistics.median(times) / 1e9, launches=tuple(launches)
        )
        return replace(whole, phases=phases) if phases else whole

    def facts(self) -> RunnerFacts:
        """Those of the runner."""
        return self._runner.facts()

    def close(self) -> None:
        """Close the runner."""
        self._batches = ()
        self._runner.close()
