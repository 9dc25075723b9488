"""Steps of a workload with a feed: taking a batch and handing it over belongs to the timed step.

Where a workload prepares its batches, drawing inputs outside the clock would hide what that costs.
A fed step takes the next batch, loads it and computes: what a thread of the feed made meanwhile
costs nothing, what it did not is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchctl.measure.protocol import ArmFailure
from benchctl.measure.sampler import WarmUpRule

if TYPE_CHECKING:
    from benchctl_engines.contract import Array, Case, Runner

    Batches = Iterator[Mapping[str, Array]]
    Feed = Callable[[Case, Any], Batches]

FED_WARM_UP_STEPS = 16
"""Steps before a fed step is timed: they use up what was made ahead while nothing else ran."""


class FedStep:
    """A step that takes its inputs from the feed of a workload; calling it does one."""

    def __init__(self, runner: Runner, feed: Feed, case: Case, threads: int) -> None:
        self._load = runner.load
        self._step = runner.step
        self._feed = feed
        self._case = case
        self._threads = threads
        self._batches: Batches = iter(())

    def open(self, seed: int) -> None:
        """Begin the feed anew."""
        import numpy as np

        self.close()
        self._batches = self._feed(self._case, np.random.default_rng(seed))

    def check_first(self, inputs: Mapping[str, Array]) -> None:
        """Take the first batch of a feed; raises `ArmFailure` unless it is `inputs`.

        Those are what the engine's results were verified with.
        """
        import numpy as np

        first = self._next()
        if first.keys() != inputs.keys() or not all(
            np.array_equal(first[name], array) for name, array in inputs.items()
        ):
            raise ArmFailure(
                "wrong",
                f"the feed expected {', '.join(inputs)} of its first batch as `inputs` gives them "
                f"from the same generator, received others ({', '.join(first)})",
                "draw both in the same order: the inputs are the first batch of the feed",
            )

    def __call__(self) -> None:
        self._load(self._next())
        self._step()

    def close(self) -> None:
        """End the feed, and whatever works for it."""
        batches, self._batches = self._batches, iter(())
        if (close := getattr(batches, "close", None)) is not None:
            close()

    def note(self) -> str:
        """What a result says of it."""
        from benchctl.measure.environment import affinity

        threads, cores = self._threads, max(1, len(affinity()))
        text = "a step takes its batch from the workload's feed and loads it, both timed; "
        text += f"threads of the engine {threads}, cores {cores}"
        return text if threads < cores else f"{text}: none is left to prepare on"

    def _next(self) -> Mapping[str, Array]:
        try:
            return next(self._batches)
        except StopIteration:
            raise ArmFailure(
                "crashed",
                "the feed expected to give batches without end, received its end",
                "let it begin anew, such as Dataset.repeat()",
            ) from None


def fed_warm_up(rule: WarmUpRule) -> WarmUpRule:
    """The rule with enough steps for a feed to be as far ahead as it stays."""
    return replace(rule, min_steps=max(rule.min_steps, FED_WARM_UP_STEPS))
