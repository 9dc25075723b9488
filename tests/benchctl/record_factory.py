"""Synthetic run records: seeded, small, of any shape a test needs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchctl.store.journal import Journal
from benchctl.store.reader import load_run
from benchctl.store.record import (
    ArmResult,
    ArmRound,
    ArmSpec,
    CaseResult,
    CaseSpec,
    Memory,
    OutputCheck,
    Phases,
    Plan,
    Run,
    Verification,
)

COLD = Phases("cold", 0.3, 1e-3, 0.4, 2e-5)
MACHINE = {"id": "0123456789ab", "cpu": "Test CPU", "cores": 2, "memory_bytes": 8_000_000_000}
ENVIRONMENT = {"load_average": [0.0, 0.0, 0.0], "environment": {}, "blas": "OpenBLAS 0.3 Test"}


@dataclass(frozen=True)
class FakeArm:
    """What an arm is to look like: its step, phases and memory, or its failure."""

    id: str
    step_seconds: float = 1e-3
    cold: Phases | None = COLD
    warm: Phases | None = None
    peak_bytes: int = 1_300_000
    error: float = 2e-8
    status: str = "ok"
    message: str = ""
    hint: str = ""
    equals: str = ""

    @property
    def spec(self) -> ArmSpec:
        body, _, device = self.id.partition("@")
        return ArmSpec(self.id, body.partition(":")[0], device or "cpu")


STATIC = FakeArm("static", 1.9e-6, warm=Phases("warm", 0.3, 1e-3, 0.012, 2e-5))
NUMPY = FakeArm("numpy", 4.4e-6, cold=Phases("cold", 0.1, None, None, 3e-5))
EAGER = FakeArm("eager", 14.1e-6, cold=Phases("cold", 0.12, 1e-6, 2e-7, 9e-5))


def wrong(arm_id: str, equals: str = "grad_y of x*y + z") -> FakeArm:
    """An arm whose results differ from the reference."""
    return FakeArm(arm_id, status="wrong", error=3.1, equals=equals, cold=None)


def make_case(
    workload: str = "xyz", step: str = "gradient", title: str = "", **parameters: str | int | float
) -> CaseSpec:
    """A case with its usual id."""
    given = parameters or {"expression": "product", "size": "3x4"}
    inside = ",".join(f"{name}={value}" for name, value in given.items())
    words = title or ", ".join(str(value) for value in given.values())
    return CaseSpec(f"{workload}[{inside}]", workload, given, words, step, 1000, 4000, 12)


def make_run(
    cases: Sequence[CaseSpec] | None = None,
    arms: Sequence[FakeArm] = (STATIC, NUMPY, EAGER),
    rounds: int = 12,
    spread: float = 0.01,
    seed: int = 0,
    complete: bool = True,
    started_utc: str = "2026-11-05T12:00:00Z",
    scale: Mapping[str, float] | None = None,
    path: Path | None = None,
) -> Run:
    """A run in which every arm's rounds scatter by `spread` around its step.

    `scale` multiplies the steps of a case, by case id.
    """
    cases = tuple(cases or (make_case(),))
    source = random.Random(seed)
    results = []
    for case in cases:
        factor = (scale or {}).get(case.id, 1.0)
        drift = [source.gauss(0, spread) for _ in range(rounds)]
        results.append(
            CaseResult(case, tuple(_make_arm(arm, factor, drift, spread, source) for arm in arms))
        )
    reference = next((arm.id for arm in arms if arm.id.startswith("numpy")), arms[0].id)
    plan = Plan(cases, tuple(arm.spec for arm in arms), rounds, seed, 2, reference)
    return Run(
        run_id=f"20261105T120000Z-0123456789ab-{seed:08x}",
        started_utc=started_utc,
        plan=plan,
        machine=MACHINE,
        environment=ENVIRONMENT,
        versions={"python": "3.11.7", "benchctl": "0.1.0"},
        git={"revision": "abc", "dirty": False},
        command=("benchctl", "run", "xyz"),
        cases=tuple(results),
        complete=complete,
        path=path,
    )


def _make_arm(
    arm: FakeArm, factor: float, drift: Sequence[float], spread: float, source: random.Random
) -> ArmResult:
    bad = arm.status == "wrong"
    checks = [OutputCheck("c", True, 1e-8, 1e-6, arm.error if not bad else 1e-8)]
    checks.append(OutputCheck("grad_x", not bad, arm.error, 1e-6, arm.error, (0, 1), arm.equals))
    measured = arm.status == "ok"
    rounds = tuple(
        ArmRound(
            round=index,
            seconds=tuple(
                arm.step_seconds * factor * (1 + shift + source.gauss(0, spread / 3))
                for _ in range(3)
            ),
            loops=100,
            position=index % 3,
            process=index // 5,
        )
        for index, shift in enumerate(drift)
    )
    phases = tuple(each for each in (arm.cold, arm.warm) if each is not None)
    return ArmResult(
        arm=arm.spec,
        status=arm.status,  # type: ignore[arg-type]
        message=arm.message,
        hint=arm.hint,
        verification=Verification(not bad, tuple(checks)) if measured or bad else None,
        phases=phases if measured else (),
        memory=Memory(arm.peak_bytes) if measured else Memory(),
        kernels=("multiply", "sum") if measured else (),
        counts={"launches": 5} if measured else {},
        versions={"numpy": "2.4"},
        rounds=rounds if measured else (),
    )


def write_run(store: Path, run: Run) -> Run:
    """Store a synthetic run as a journal would, and read it back."""
    with Journal.create(store, run) as journal:
        for case in run.cases:
            for arm in case.arms:
                journal.append_arm(case.case.id, arm)
            by_round = itertools.zip_longest(*(arm.rounds for arm in case.arms))
            for taken in by_round:
                pairs = zip(case.arms, taken, strict=True)
                finished = {arm.arm.id: each for arm, each in pairs if each is not None}
                if finished:
                    journal.append_rounds(case.case.id, finished)
        if run.complete:
            journal.finish()
        path = journal.path
    return load_run(path)
