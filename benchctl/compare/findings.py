"""What a reader must know before trusting a summary: every warning, with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from benchctl.store.record import Run


class Finding(Enum):
    """A warning: the sentence, with its blanks, and the hint."""

    INCOMPLETE = (
        "the run did not finish: {done} of {planned} rounds are there",
        "benchctl run --resume measures the rest",
    )
    OPENBLAS_OVERRIDE = (
        "OPENBLAS_CORETYPE={value} chooses the BLAS kernels by hand",
        "unset OPENBLAS_CORETYPE to measure what this machine would choose",
    )
    SPEED_VARIABLES = (
        "environment variables that change speed are set: {names}",
        "unset them, or name them wherever these figures are quoted",
    )
    BUSY_MACHINE = (
        "the machine was busy before the run: load {load:.1f} on {cores} cores",
        "close other programs and measure again",
    )
    REFERENCE_MISSING = (
        "the reference {planned} was not measured: {arm} stands in for it",
        "see the status of {planned}, or choose another reference",
    )
    FEW_ROUNDS = (
        "{arm}: {rounds} too few for an answer at {percent:.0f} %",
        "measure at least {needed} rounds: {how}",
    )
    NEVER_STEADY = (
        "{arm}: still speeding up or slowing down in {unsteady} of {rounds} rounds",
        "benchctl doctor shows what disturbs this machine",
    )
    NOISY = (
        "{arm} varies by {percent:.0f} % from round to round",
        "close other programs, or measure more rounds: --rounds {more}",
    )
    MANY_THREADS = (
        "{threads} threads were asked for on {cores} usable cores",
        "threads wait for each other there: --threads {cores}, or leave it out",
    )
    ONE_PROCESS = (
        "{arm}: never restarted, so the luck of one process is not in the interval",
        "run again and compare the two runs",
    )
    UNVERIFIED = (
        "{arm}: timed without a check of the results",
        "benchctl verify checks them",
    )

    def __init__(self, sentence: str, hint: str) -> None:
        self.sentence = sentence
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Notice:
    """One finding about a run, a case or an arm; `details` fill the blanks of its sentence."""

    finding: Finding
    arm_id: str = ""
    details: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The warning in words."""
        return self.finding.sentence.format(arm=self.arm_id, **self.details)

    @property
    def hint(self) -> str:
        """What to do about it."""
        return self.finding.hint.format(arm=self.arm_id, **self.details)


_BLAS_CHOICE = "OPENBLAS_CORETYPE"
_SPEED_VARIABLE = re.compile(r"(OPENBLAS|MKL|OMP|NUMBA|CUDA|NPY)_|XLA_FLAGS$")
# Thread counts are part of the plan and cache folders change no steady step.
HARMLESS_VARIABLE = re.compile(r"\w*_(NUM_)?THREADS$|\w*_CACHE_(DIR|PATH)$|CUDA_(PATH|HOME)$")
OWN_SETTINGS = {"OPENBLAS_THREAD_TIMEOUT": "18"}
"""What the engines set themselves when they are imported, in every process alike."""
_BUSY_LOAD_PER_CORE = 0.5


def run_notices(run: Run, done_rounds: int, planned_rounds: int) -> tuple[Notice, ...]:
    """What is to be known of the whole run: completeness, environment, load."""
    notices = []
    if not run.complete:
        details: dict[str, str | int | float] = {"done": done_rounds, "planned": planned_rounds}
        notices.append(Notice(Finding.INCOMPLETE, details=details))
    notices.extend(_environment_notices(run.environment.get("environment")))
    usable = _usable_cores(run)
    if usable is not None and run.plan.threads > usable:
        details = {"threads": run.plan.threads, "cores": usable}
        notices.append(Notice(Finding.MANY_THREADS, details=details))
    load = _one_minute_load(run.environment.get("load_average"))
    cores = run.machine.get("cores")
    if isinstance(cores, int) and load is not None and load > _BUSY_LOAD_PER_CORE * cores:
        notices.append(Notice(Finding.BUSY_MACHINE, details={"load": load, "cores": cores}))
    return tuple(notices)


def _usable_cores(run: Run) -> int | None:
    """The cores that the run might use; None of a record that does not tell."""
    cores, allowed = run.machine.get("cores"), run.environment.get("affinity")
    if not isinstance(cores, int):
        return None
    return min(cores, len(allowed)) if isinstance(allowed, list | tuple) and allowed else cores


def _environment_notices(variables: object) -> list[Notice]:
    if not isinstance(variables, Mapping):
        return []
    notices = []
    if variables.get(_BLAS_CHOICE):
        value = str(variables[_BLAS_CHOICE])
        notices.append(Notice(Finding.OPENBLAS_OVERRIDE, details={"value": value}))
    names = [
        str(name)
        for name, value in variables.items()
        if value
        and name != _BLAS_CHOICE
        and _SPEED_VARIABLE.match(str(name))
        and not HARMLESS_VARIABLE.match(str(name))
        and OWN_SETTINGS.get(str(name)) != value
    ]
    if names:
        notices.append(Notice(Finding.SPEED_VARIABLES, details={"names": ", ".join(names)}))
    return notices


def _one_minute_load(load: object) -> float | None:
    if isinstance(load, list | tuple) and load:
        load = load[0]
    return float(load) if isinstance(load, int | float) else None
