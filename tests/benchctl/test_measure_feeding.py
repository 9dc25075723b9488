"""Fed steps: what is timed under a virtual clock, what is refused, how many threads are left."""

from __future__ import annotations

import json
from itertools import count

import numpy as np
import pytest
from measure_plans import QUICK, RecordingObserver, new_journal, results_of

from benchctl.measure import worker as worker_module
from benchctl.measure.arm import CaseContext
from benchctl.measure.clock import VirtualClock
from benchctl.measure.fake import FAKE_ENGINE, FakeEngine, FakeWorkload
from benchctl.measure.feeding import FED_WARM_UP_STEPS, FedStep, fed_warm_up
from benchctl.measure.protocol import ArmFailure
from benchctl.measure.sampler import WarmUpRule
from benchctl.measure.session import measure
from benchctl.measure.settings import settings_of
from benchctl.measure.worker import WorkerService
from benchctl.plan.schedule import build_plan, plan_of_case, threads_of_case
from benchctl.plan.suites import SuiteEntry
from benchctl.store.reader import load_run

STEP_SECONDS, TAKE_SECONDS = 0.001, 0.003
CASE = {"elements": 4, "mode": "training"}
SMALL = {"batch": ("4",), "width": ("8",), "side": ("28",)}


class Runner:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def load(self, inputs):
        self.done.append(inputs["x"])

    def step(self):
        self.done.append("step")


def test_each_step_loads_the_next_batch_of_a_feed_that_is_closed_in_the_end():
    closed = []

    def feed(case, rng):
        first = int(rng.integers(100))
        try:
            for number in count(first):
                yield {"x": number}
        finally:
            closed.append(case)

    runner = Runner()
    step = FedStep(runner, feed, "a case", 1)
    first = int(np.random.default_rng(7).integers(100))
    step.open(7)
    step()
    step()
    assert runner.done == [first, "step", first + 1, "step"]
    step.open(7)
    assert closed == ["a case"]
    step()
    assert runner.done[-2:] == [first, "step"]
    step.close()
    assert len(closed) == 2


def test_a_feed_that_ends_is_a_failure():
    step = FedStep(Runner(), lambda case, rng: iter([{"x": 1}]), {}, 1)
    step.open(0)
    step()
    with pytest.raises(ArmFailure, match="batches without end") as caught:
        step()
    assert "repeat" in caught.value.hint


def test_a_fed_warm_up_uses_up_what_was_made_ahead():
    rule = fed_warm_up(WarmUpRule(min_steps=1, settle=False))
    assert rule == WarmUpRule(min_steps=FED_WARM_UP_STEPS, settle=False)
    assert fed_warm_up(WarmUpRule(min_steps=99)).min_steps == 99


# In a worker -----------------------------------------------------------------------------------


class Fed(FakeWorkload):
    """Each batch takes 3 ms to make, on the test's clock."""

    clock = VirtualClock()
    off_by = 0.0

    def feed(self, case, rng):
        while True:
            self.clock.sleep(TAKE_SECONDS)
            batch = self.inputs(case, rng)
            yield {"x": batch["x"] + np.float32(self.off_by)}


@pytest.fixture
def service(monkeypatch):
    """A worker in this process that measures `Fed` on the fake engine, and its engine's runner."""
    clock = VirtualClock()
    workload = Fed()
    workload.clock = clock
    monkeypatch.setattr(worker_module, "load_workload", lambda name: workload)
    made = WorkerService(clock, find=lambda name: FakeEngine(clock))
    answer(made, "import", engine=FAKE_ENGINE, device="cpu")
    answer(
        made,
        "prepare",
        workload="fed",
        case=CASE,
        parameter_seed=1,
        input_seed=2,
        options={"switches": {"step_us": "1000"}, "threads": 1},
    )
    yield made, workload
    made.close()


def answer(service, op, **fields):
    found = service.answer({"op": op, **fields})
    if "failure" in found:
        raise ArmFailure(**{**found["failure"], "notes": tuple(found["failure"]["notes"])})
    return found["result"]


SAMPLE = {"min_sample_seconds": 0.02, "round_seconds": 0.06}


def test_taking_a_batch_belongs_to_the_timed_step(service):
    """And a workload without a feed is not charged for its inputs."""
    made, _ = service
    warm = answer(made, "warm_up", rule={"min_seconds": 0.0})
    assert warm["steps"] >= FED_WARM_UP_STEPS
    assert warm["seconds"] == pytest.approx(warm["steps"] * (STEP_SECONDS + TAKE_SECONDS))
    answer(made, "load", seed=5)
    taken = answer(made, "sample", warm_up_rule={"settle": False}, rule=SAMPLE)
    each = {nanoseconds / taken["loops"] for nanoseconds in taken["nanoseconds"]}
    assert {round(value) for value in each} == {round((STEP_SECONDS + TAKE_SECONDS) * 1e9)}
    (note,) = [each for each in answer(made, "facts")["notes"] if "feed" in each]
    assert "both timed" in note and "threads of the engine 1" in note


def test_a_workload_without_a_feed_is_timed_without_its_inputs(service, monkeypatch):
    made, _ = service
    monkeypatch.delattr(Fed, "feed")
    fields = {"workload": "fed", "case": CASE, "parameter_seed": 1, "input_seed": 2}
    answer(made, "prepare", **fields, options={"switches": {"step_us": "1000"}})
    answer(made, "load", seed=5)
    taken = answer(made, "sample", warm_up_rule={"settle": False}, rule=SAMPLE)
    each = {round(ns / taken["loops"]) for ns in taken["nanoseconds"]}
    assert each == {round(STEP_SECONDS * 1e9)}
    assert not any("feed" in note for note in answer(made, "facts")["notes"])


def test_a_feed_that_does_not_begin_with_the_verified_inputs_is_wrong(service):
    made, workload = service
    workload.off_by = 0.5
    with pytest.raises(ArmFailure, match="as `inputs` gives them") as caught:
        answer(made, "warm_up", rule={})
    assert caught.value.status == "wrong" and "first batch" in caught.value.hint


# Threads ---------------------------------------------------------------------------------------


def plan_for(threads: int):
    entries = [SuiteEntry("input_pipeline", SMALL), SuiteEntry("xyz", {"size": ("3x4",)})]
    return build_plan(entries, threads=threads, arms=["numpy"])


@pytest.mark.parametrize(("threads", "left"), [(1, 1), (2, 1), (8, 7)])
def test_of_the_threads_of_a_run_one_is_left_to_a_feed(threads, left):
    plan = plan_for(threads)
    fed, plain = plan.cases
    assert threads_of_case(plan, fed.id) == left and threads_of_case(plan, plain.id) == threads
    assert json.loads(json.dumps(plan.settings)) == plan.settings
    for case, expected in ((fed, left), (plain, threads)):
        own = settings_of(plan_of_case(plan, case.id))
        assert CaseContext(plan, case, own, None, VirtualClock()).threads == expected


def test_a_real_run_is_checked_and_fed(tmp_path):
    measured = {**QUICK, "cold": False, "cache_directory": str(tmp_path / "cache")}
    plan = build_plan(
        [SuiteEntry("input_pipeline", SMALL)],
        threads=2,
        arms=["numpy"],
        rounds=1,
        settings={"measure": measured},
    )
    journal = new_journal(tmp_path, plan)
    measure(plan, journal, RecordingObserver())
    (result,) = results_of(load_run(journal.path)).values()
    assert result.status == "ok", result.message
    assert result.verification.ok and len(result.rounds) == 1
    assert any("threads of the engine 1" in note for note in result.notes)
