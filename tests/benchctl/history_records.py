"""Synthetic histories: one run a day on one machine, with steps, machines and versions planted."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from record_factory import FakeArm, make_case, make_run, write_run

from benchctl.store.record import CaseSpec, Run

START = datetime(2026, 1, 5, 3, 0, 0, tzinfo=UTC)
STATIC = FakeArm("static", 2e-6)
NUMPY = FakeArm("numpy", 5e-6)
SMALL = make_case(size="3x4")
LARGE = make_case(size="64x64")

Factor = Callable[[int, str, str], float]
"""(day, case id, arm id) -> time over the usual time."""


def revision_of(day: int) -> str:
    """The commit of a day: 40 hexadecimal digits."""
    return f"{day + 1:010x}" + "c" * 30


def step_at(day: int, factor: float, arm: str = "", case: str = "") -> Factor:
    """A lasting change from a day on, of one arm and one case, or of all."""

    def factor_of(when: int, case_id: str, arm_id: str) -> float:
        concerned = arm in ("", arm_id) and case in ("", case_id)
        return factor if concerned and when >= day else 1.0

    return factor_of


def steps(*parts: Factor) -> Factor:
    """Several changes one on top of the other."""

    def factor_of(day: int, case_id: str, arm_id: str) -> float:
        product = 1.0
        for part in parts:
            product *= part(day, case_id, arm_id)
        return product

    return factor_of


def unchanged(day: int, case_id: str, arm_id: str) -> float:
    """No change at all."""
    return 1.0


def day_run(
    day: int,
    factor: Factor = unchanged,
    *,
    cases: Sequence[CaseSpec] = (SMALL,),
    arms: Sequence[FakeArm] = (STATIC, NUMPY),
    revision: str | None = None,
    dirty: bool = False,
    complete: bool = True,
    threads: int = 2,
    machine: Mapping[str, object] | None = None,
    versions: Mapping[str, str] | None = None,
    rounds: int = 8,
    noise: float = 0.005,
    minute: int = 0,
) -> Run:
    """The run of one day; its times scatter by `noise` from run to run."""
    source = random.Random(f"{day} {minute}")
    started = START + timedelta(days=day, minutes=minute)
    results = []
    for case in cases:
        taken = [
            replace(
                arm,
                step_seconds=arm.step_seconds
                * factor(day, case.id, arm.id)
                * (1 + source.gauss(0, noise)),
            )
            for arm in arms
        ]
        run = make_run([case], taken, rounds=rounds, spread=0.004, seed=day, complete=complete)
        results += run.cases
    usual = make_run(list(cases), arms, rounds=1)
    machine_facts = {**usual.machine, **(machine or {})}
    return replace(
        usual,
        run_id=f"{started:%Y%m%dT%H%M%SZ}-{machine_facts['id']}-{day:08x}",
        started_utc=f"{started:%Y-%m-%dT%H:%M:%SZ}",
        plan=replace(usual.plan, rounds=rounds, threads=threads, seed=0),
        machine=machine_facts,
        versions={
            "python": "3.11.7",
            "benchctl": f"0.1.{day}",
            "numpy": "2.4.0",
            **(versions or {}),
        },
        git={"revision": revision_of(day) if revision is None else revision, "dirty": dirty},
        cases=tuple(results),
        complete=complete,
    )


def history_runs(days: int, factor: Factor = unchanged, **facts: object) -> list[Run]:
    """One run a day."""
    return [day_run(day, factor, **facts) for day in range(days)]  # type: ignore[arg-type]


def write_history(store: Path, runs: Sequence[Run]) -> list[Run]:
    """Real run files, as a journal writes them."""
    return [write_run(store, run) for run in runs]
