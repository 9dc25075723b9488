"""A run by hand for the tests of the store; writer processes import it, so it stays light."""

from __future__ import annotations

from dataclasses import replace

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

CASE = "xyz[expression=product,size=3x4]"
ARMS = ("static", "eager@gpu")


def planned_run(run_id="", *, machine="a1b2c3d4e5f6", settings=None):
    """A run of one case on two arms with nothing measured."""
    arms = (
        ArmSpec("static", "static", switches={"prune": "off"}),
        ArmSpec("eager@gpu", "eager", "gpu"),
    )
    case = CaseSpec(
        CASE, "xyz", {"expression": "product", "size": "3x4"}, "product", "gradient", 72, 288, 0
    )
    plan = Plan((case,), arms, 8, 7, 2, "static", "slides", 12.5, settings or {})
    return Run(
        run_id=run_id,
        started_utc="2026-11-05T12:00:00Z",
        plan=plan,
        machine={"id": machine, "cpu": "Test CPU"},
        environment={"load_average": (0.1, 0.2, 0.3)},
        versions={"numpy": "2.4.0"},
        git={"revision": "0" * 40, "dirty": False},
        command=("benchctl", "run", "xyz"),
        cases=tuple(CaseResult(c, tuple(ArmResult(a) for a in arms)) for c in plan.cases),
        complete=False,
    )


def arm_result(arm, status="ok"):
    """An arm with something in every field but its rounds."""
    checks = (
        OutputCheck("grad_x", True, 1e-7, 1e-5, 2e-7, (1, 3)),
        OutputCheck("parameter/w", True, 4e-4, 5e-4, 1.9, (0,), absolute=True),
        OutputCheck("grad_y", False, float("nan"), 1e-5, float("inf"), (), "grad_x"),
    )
    return ArmResult(
        arm,
        status,
        "a message",
        "a hint",
        Verification(False, checks),
        (Phases("cold", 0.25, 0.5, None, 0.125), Phases("warm")),
        Memory(1024, None, 4096),
        ("mul", "add"),
        ("nothing to fuse",),
        {"launches": 3},
        {"numba": "0.61"},
    )


def round_of(number, arms=ARMS, samples=(1001, 999, 1003), loops=4):
    """One round with the same samples, whole nanoseconds of the inner loop, for every arm."""
    return {
        arm: ArmRound(number, tuple(ns / (loops * 1e9) for ns in samples), loops, True, place, 1)
        for place, arm in enumerate(arms)
    }


def write_run(journal, run):
    """Append every arm and round of a run, round by round."""
    for case in run.cases:
        for result in case.arms:
            journal.append_arm(case.case.id, result)
        numbers = sorted({taken.round for arm in case.arms for taken in arm.rounds})
        for number in numbers:
            taken = {
                arm.arm.id: each for arm in case.arms for each in arm.rounds if each.round == number
            }
            journal.append_rounds(case.case.id, taken)


def as_stored(run, loaded):
    """The run as the store returns it: under the id, path and completeness given there."""
    return replace(run, run_id=loaded.run_id, path=loaded.path, complete=loaded.complete)
