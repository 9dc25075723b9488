"""Every fault that the method promises to tell apart: its own status, exit code and message.

The faults happen: processes touch bad pointers, outgrow a limit, hang and vanish. Only the clock
that goes back is a virtual one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from measure_plans import (
    QUICK,
    RecordingObserver,
    fake_arm,
    fake_plan,
    new_journal,
    results_of,
    virtual_settings,
)

from benchctl.cli import main
from benchctl.cli.output import exit_code
from benchctl.measure import session
from benchctl.measure.clock import VirtualClock
from benchctl.measure.fake import FakeEngine
from benchctl.measure.sampler import WarmUpRule
from benchctl.measure.session import measure
from benchctl.measure.settings import settings_of
from benchctl.measure.worker_client import LocalWorker
from benchctl.store.reader import load_run
from benchctl.store.record import ArmResult, ArmSpec, ArmStatus, CaseResult, Plan, Run

FAULTY_ENGINE = '''
"""The fake engine with faults that happen and are not only told."""

import ctypes
import os
import resource
import signal

import numpy as np

from benchctl.measure import fake

GIBIBYTE = 2**30


def touch_a_bad_pointer(clock):
    ctypes.string_at(0)


def abort(clock):
    os.abort()


def be_ended_as_by_the_kernel(clock):
    os.kill(os.getpid(), signal.SIGKILL)


def outgrow_the_address_space(clock):
    with open("/proc/self/statm") as file:
        used_bytes = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used_bytes + GIBIBYTE,) * 2)
    np.ones(GIBIBYTE)


fake.FAULTS.update(
    segfault=touch_a_bad_pointer,
    abort=abort,
    killed=be_ended_as_by_the_kernel,
    memory=outgrow_the_address_space,
)
make_engine = fake.make_engine
'''


@dataclass(frozen=True)
class Promise:
    """What a fault comes to; `exit_code` is that of a run in which nothing else was measured."""

    status: ArmStatus
    exit_code: int
    message: str
    hint: str = ""


# The faults of the method, by the method's own words.
PROMISED = (
    "worker segfault",
    "hang",
    "exit 0 without a result",
    "wrong output",
    "clock stepping back",
    "missing device",
    "out of memory",
)
PROMISES = {
    "worker segfault": Promise(
        "crashed", 5, "the worker was ended by SIGSEGV during first run, without a result"
    ),
    "hang": Promise("timeout", 5, "no answer within 3 s during first run", "--timeout"),
    "exit 0 without a result": Promise(
        "crashed", 5, "the worker ended with exit status 0 during first run, without a result"
    ),
    "wrong output": Promise("wrong", 5, "y differs from the float64 reference by 3.1"),
    "clock stepping back": Promise("crashed", 5, "the clock stands still or goes back"),
    "missing device": Promise(
        "unavailable", 6, "the fake engine has no device 'gpu'", "--device cpu"
    ),
    "out of memory": Promise(
        "crashed",
        5,
        "out of memory during first run (Unable to allocate 8.00 GiB",
        "choose a smaller size or batch",
    ),
    "ended for want of memory": Promise(
        "crashed",
        5,
        "the worker was ended by SIGKILL during first run",
        "when memory runs out; choose a smaller size or batch",
    ),
    "abort": Promise("crashed", 5, "the worker was ended by SIGABRT during first run"),
    "error in the engine": Promise(
        "crashed", 5, "ValueError during first run: expected (3, 4), received (4, 3)"
    ),
    "output that is no number": Promise("wrong", 5, "y is not finite at [3]"),
    "missing package": Promise("unavailable", 6, "No module named 'a_framework'", "install"),
}


def arms_with_faults() -> dict[str, ArmSpec]:
    """The arms that are measured side by side in one run of real processes."""
    faults = {
        "worker segfault": "segfault",
        "exit 0 without a result": "exit",
        "wrong output": "wrong",
        "out of memory": "memory",
        "ended for want of memory": "killed",
        "abort": "abort",
        "error in the engine": "error",
        "output that is no number": "nan",
    }
    faulty = {
        name: replace(fake_arm(name, fault=fault), engine="faulty_engine:make_engine")
        for name, fault in faults.items()
    }
    missing = "benchctl.measure.fake:make_broken_engine"
    return {
        **faulty,
        "missing device": replace(fake_arm("missing device"), device="gpu"),
        "missing package": replace(fake_arm("missing package"), engine=missing),
    }


def run_processes(folder: Path, *arms: ArmSpec, **settings: object) -> Run:
    """A run of two rounds in real worker processes."""
    rules = {**QUICK, "cache_directory": str(folder / "cache"), "cold": False, **settings}
    plan = fake_plan(*arms, rounds=2, settings={"measure": rules})
    journal = new_journal(folder, plan)
    measure(plan, journal, RecordingObserver(), settings=settings_of(plan))
    return load_run(journal.path)


class BackwardClock:
    """What an engine sleeps by: after some steps, the clock goes back by each.

    With `once` it goes back by one step only.
    """

    def __init__(self, clock: VirtualClock, good_steps: int, once: bool = False) -> None:
        self._clock = clock
        self._good_steps = good_steps
        self._once = once
        self._steps = 0

    def sleep(self, seconds: float) -> None:
        self._steps += 1
        late = self._steps - self._good_steps
        goes_back = late == 1 if self._once else late >= 1
        self._clock.sleep(-seconds if goes_back else seconds)


def run_backwards(folder: Path, good_steps: int, once: bool = False) -> Run:
    """A run of an engine whose clock goes back, beside one whose clock does not."""
    clock = VirtualClock(read_ns=70)

    def find(name: str) -> FakeEngine:
        own = BackwardClock(clock, good_steps, once) if name == "backward" else clock
        return FakeEngine(own)

    arm = replace(fake_arm("clock stepping back", step_us=30_000), engine="backward")
    plan = fake_plan(arm, fake_arm("good", step_us=30_000), rounds=3)
    journal = new_journal(folder, plan)
    measure(
        plan,
        journal,
        RecordingObserver(),
        settings=virtual_settings(
            folder / "cache", cold=False, restart_every=5, warm_up=WarmUpRule()
        ),
        launch=lambda environment: LocalWorker(clock, find),
        clock=clock,
    )
    return load_run(journal.path)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ArmResult]]:
    """What each fault came to, by its name; `good` is an arm without one."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "faulty_engine.py").write_text(FAULTY_ENGINE)
    sys.path.insert(0, str(folder))
    try:
        together = run_processes(folder, *arms_with_faults().values(), fake_arm("good"))
        hang = run_processes(
            folder,
            fake_arm("hang", fault="hang"),
            check_outputs=False,
            prepare_timeout_seconds=3.0,
        )
    finally:
        sys.path.remove(str(folder))
    backwards = run_backwards(folder, good_steps=20)
    assert together.complete and hang.complete and backwards.complete
    yield {
        **results_of(backwards),
        **results_of(hang),
        **results_of(together),
    }


def alone(result: ArmResult) -> Run:
    """A run in which only this arm was tried."""
    plan = fake_plan(result.arm)
    cases = (CaseResult(plan.cases[0], (result,)),)
    return Run("run", "2026-01-01T00:00:00Z", plan, {}, {}, {}, {}, (), cases, True)


# One table -------------------------------------------------------------------------------------


def test_every_promise_of_the_method_is_in_the_table() -> None:
    assert set(PROMISED) <= set(PROMISES)


@pytest.mark.parametrize("name", PROMISES)
def test_a_fault_has_its_status_exit_code_and_message(
    outcomes: dict[str, ArmResult], name: str
) -> None:
    result, promise = outcomes[name], PROMISES[name]
    assert result.status == promise.status
    assert exit_code(alone(result)) == promise.exit_code
    assert promise.message in result.message
    assert promise.hint in result.hint
    assert result.rounds == ()


@pytest.mark.parametrize("name", PROMISES)
def test_no_two_faults_have_one_message(outcomes: dict[str, ArmResult], name: str) -> None:
    others = [each.message for other, each in outcomes.items() if other != name]
    assert not any(PROMISES[name].message in message for message in others)


def test_a_fault_spoils_no_other_arm(outcomes: dict[str, ArmResult]) -> None:
    good = outcomes["good"]
    assert (good.status, len(good.rounds)) == ("ok", 2)
    assert good.verification is not None
    assert good.verification.ok


def test_a_crash_keeps_what_the_process_said_last(outcomes: dict[str, ArmResult]) -> None:
    for name, fault in (("worker segfault", "touch_a_bad_pointer"), ("abort", "in abort")):
        assert any(fault in note for note in outcomes[name].notes), name


@pytest.mark.parametrize("name", PROMISES)
def test_the_command_line_tells_the_fault(
    outcomes: dict[str, ArmResult], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Message and hint reach the screen word for word, and the exit code the shell."""
    result = outcomes[name]

    def fail(plan: Plan, journal, observer, **how: object) -> None:
        journal.append_arm(plan.cases[0].id, replace(result, arm=plan.arms[0]))
        journal.finish()

    monkeypatch.setattr(session, "measure", fail)
    arguments = ["run", "xyz", "--engine", "numpy", "--store", str(tmp_path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == PROMISES[name].exit_code, done.output
    message = PROMISES[name].message.partition(" (")[0]
    # Outputs that are off by a number are told one by one, in other words.
    off_by_a_number = result.status == "wrong" and "not finite" not in message
    assert ("wrong: numpy" if off_by_a_number else message) in done.stdout
    assert PROMISES[name].hint in done.stdout
    assert "Traceback" not in done.output


# The clock -------------------------------------------------------------------------------------


@pytest.mark.parametrize("good_steps", [1, 2, 17, 18, 19, 20, 22, 23, 24])
def test_a_clock_that_keeps_going_back_is_told_wherever_it_begins(
    tmp_path: Path, good_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the warm-up, between rounds and in the middle of a sample, and it always ends."""
    monkeypatch.setattr("gc.collect", lambda: 0)
    results = results_of(run_backwards(tmp_path, good_steps))
    bad, good = results["clock stepping back"], results["good"]
    assert bad.status == "crashed"
    assert "ClockError during" in bad.message
    assert "goes back" in bad.message
    assert all(seconds > 0 for taken in bad.rounds for seconds in taken.seconds)
    assert (good.status, len(good.rounds)) == ("ok", 3)


@pytest.mark.parametrize("good_steps", [1, 2, 10, 18, 19, 20, 22, 23, 24])
def test_a_clock_that_goes_back_once_changes_no_result(
    tmp_path: Path, good_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gc.collect", lambda: 0)
    results = results_of(run_backwards(tmp_path, good_steps, once=True))
    bad = results["clock stepping back"]
    assert bad.status == "ok"
    assert len(bad.rounds) == 3
    for taken in bad.rounds:
        assert taken.seconds == pytest.approx([0.03] * len(taken.seconds), rel=1e-5)
