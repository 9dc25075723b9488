"""Reasons to doubt that a result would come out the same again, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

Details = Mapping[str, str | int | float]
"""What fills the blanks of a sentence and its hint, by name."""


class Instability(Enum):
    """A reason to doubt a result: the sentence, with its blanks, and the hint."""

    DRIFT = (
        "the last third of its rounds took {percent:.1f} % {direction} than the first",
        "let the machine rest and measure again; what all arms share cancels in their ratios",
    )
    PROCESSES_DIFFER = (
        "its processes differ by {percent:.1f} %, {share:.0f} % of the variance of its rounds",
        "more rounds in one process do not help, more processes do: --rounds {more}",
    )
    BIMODAL_PROCESSES = (
        "its processes are of two kinds {percent:.1f} % apart: {fast} fast, {slow} slow",
        "a process keeps what it gets at its start, such as where memory lies: measure more "
        "processes (--rounds {more}) and quote both kinds",
    )
    BIMODAL_ROUNDS = (
        "its rounds are of two kinds {percent:.1f} % apart: {fast} fast, {slow} slow",
        "what a round gets decides, such as where its inputs lie in memory: its median is that of "
        "the kind with more rounds, so quote both",
    )
    POSITION = (
        "it takes {percent:.1f} % {direction} first in a round than later",
        "other arms leave caches and clock frequency changed: ratios hold, since places are "
        "balanced; measure it alone for its own time",
    )
    OUTLYING_ROUNDS = (
        "{outliers} of {rounds} rounds lie far from the others: {listed}",
        "medians and ranks hardly move; find out what else ran then",
    )
    INTERRUPTED = (
        "{percent:.0f} % of its samples took far longer than the others of their round",
        "something else interrupts it: close other programs, or leave them a core (--threads)",
    )
    NEVER_STEADY = (
        "it was still speeding up or slowing down in {unsteady} of {rounds} rounds",
        "benchctl doctor shows what disturbs this machine",
    )
    COLD_SAMPLES = (
        "the first sample of a round takes {percent:.1f} % longer than the rest",
        "it is not warm yet when it is sampled after other arms: measure it alone to compare",
    )
    ROUNDS_VARY = (
        "it varies by {percent:.0f} % from round to round",
        "close other programs (benchctl doctor names what disturbs), or take --rounds {more}",
    )
    SAMPLES_VARY = (
        "it varies by {percent:.0f} % from sample to sample within a round",
        "its steps differ from each other: benchctl profile shows which kernels do",
    )
    FEW_ROUNDS = (
        "{rounds} too few to show a difference of {effect:.0f} %",
        "{advice}",
    )
    FEW_SAMPLES = (
        "a round has only {samples}: one that is disturbed decides the round",
        "let benchctl choose the number of samples, or measure more rounds",
    )
    COARSE_CLOCK = (
        "its shortest sample lasted only {ticks:.0f} steps of the clock",
        "samples should last {least} steps: those of benchctl run do, unless benchctl doctor "
        "finds the clock coarse",
    )
    ONE_PROCESS = (
        "it was never restarted, so every round has the luck of one process",
        "run again and compare the two runs",
    )
    DIFFERENT_VERSIONS = (
        "the arms have different versions of {package}: {listed}",
        "measure them in one environment, or name the versions wherever the ratio is quoted",
    )
    FREQUENCY_GOVERNOR = (
        "the frequency governor was {governor}: the clock frequency follows the load",
        "sudo cpupower frequency-set -g performance",
    )
    CPU_QUOTA = (
        "{threads} threads were limited to {quota:g} cores of time",
        "raise the container's limit, or use fewer --threads",
    )

    def __init__(self, sentence: str, hint: str) -> None:
        self.sentence = sentence
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Observation:
    """One instability found; `details` fill the blanks of its sentence and hint."""

    instability: Instability
    details: Details = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What was found, in words."""
        return self.instability.sentence.format(**self.details)

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.instability.hint.format(**self.details)
