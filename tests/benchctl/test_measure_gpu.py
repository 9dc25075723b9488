"""What the harness asks of arms on a GPU: whether they fit there together, and their energy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from measure_plans import (
    RecordingObserver,
    fake_arm,
    fake_plan,
    new_journal,
    results_of,
    virtual_settings,
)
from virtual_device import VirtualDevice

from benchctl.measure.case_run import CONTEXT_BYTES
from benchctl.measure.clock import VirtualClock
from benchctl.measure.energy import EnergyRule
from benchctl.measure.fake import FakeEngine
from benchctl.measure.session import measure
from benchctl.measure.worker_client import LocalWorker
from benchctl.store.reader import load_run
from benchctl_engines.contract import AVAILABLE, DeviceMemory

GIBIBYTE = 2**30


class OnGpu(FakeEngine):
    """A fake engine on a GPU of 16 GiB, of which each runner holds some."""

    held_bytes = GIBIBYTE

    def availability(self, device):
        return AVAILABLE

    def prepare(self, *arguments):
        runner = super().prepare(*arguments)
        free = 16 * GIBIBYTE - self.held_bytes - CONTEXT_BYTES
        runner.device_memory = lambda: DeviceMemory(self.held_bytes, free, 16 * GIBIBYTE)
        return runner


def run_on_gpu(tmp_path, held_bytes, arms=("a@gpu", "b@gpu"), **settings):
    """(notes, results by arm, seconds) of two rounds of arms that hold so much each."""

    class Holding(OnGpu):
        pass

    Holding.held_bytes = held_bytes
    clock, observer = VirtualClock(read_ns=70, tick_ns=9), RecordingObserver()
    specs = [replace(fake_arm(name), device=name.partition("@")[2] or "cpu") for name in arms]
    plan = fake_plan(*specs, rounds=2)
    journal = new_journal(tmp_path / "store", plan)
    measure(
        plan,
        journal,
        observer,
        settings=virtual_settings(tmp_path / "cache", restart_every=10, **settings),
        launch=lambda environment: LocalWorker(clock, lambda name: Holding(clock)),
        clock=clock,
    )
    return observer.notes, results_of(load_run(journal.path))


def processes(results):
    return {name: [taken.process for taken in each.rounds] for name, each in results.items()}


def test_arms_that_fit_on_their_gpu_stay_there_together(tmp_path):
    notes, results = run_on_gpu(tmp_path, 2 * GIBIBYTE)
    assert notes == [] and processes(results) == {"a@gpu": [0, 0], "b@gpu": [0, 0]}


def test_arms_that_do_not_fit_together_take_turns(tmp_path):
    notes, results = run_on_gpu(tmp_path, 7 * GIBIBYTE)
    (note,) = notes
    assert "the engines need 15.5 GiB together, more than the 16.0 GiB free on gpu allow" in note
    assert "one at a time" in note
    assert processes(results) == {"a@gpu": [0, 1], "b@gpu": [0, 1]}


@pytest.mark.parametrize("arms", [("a@gpu", "b@gpu:1"), ("a@gpu",)])
def test_each_gpu_is_looked_at_for_itself(tmp_path, arms):
    notes, _ = run_on_gpu(tmp_path, 12 * GIBIBYTE, arms)
    assert notes == []


@pytest.mark.parametrize(("each", "kept"), [(1, {5, 6}), (-1, {97, 98}), (0, {None})])
def test_the_most_that_a_process_held_of_the_card_is_kept(tmp_path, monkeypatch, each, kept):
    """Two workers of either arm in turn, after one of each for the check, which does not count."""
    told = iter(range(1, 7) if each > 0 else range(100, 94, -1))

    def prepare(self, *arguments):
        runner = FakeEngine.prepare(self, *arguments)
        free = 16 * GIBIBYTE - self.held_bytes - CONTEXT_BYTES
        runner.device_memory = lambda: DeviceMemory(
            self.held_bytes, free, 16 * GIBIBYTE, next(told) if each else None
        )
        return runner

    monkeypatch.setattr(OnGpu, "prepare", prepare)
    _, results = run_on_gpu(tmp_path, 7 * GIBIBYTE)
    assert processes(results) == {"a@gpu": [0, 1], "b@gpu": [0, 1]}
    assert {result.memory.on_device for result in results.values()} == kept


def test_energy_is_measured_after_the_rounds_and_of_arms_on_a_gpu_alone(tmp_path):
    rule = EnergyRule(blocks=1, block_seconds=0.1)
    _, results = run_on_gpu(tmp_path, GIBIBYTE, ("a@gpu", "b"), energy=True, energy_rule=rule)
    assert results["b"].energy is None
    # A fake engine has no clock of a GPU, and that is said.
    assert "no access to a GPU's clock" in results["a@gpu"].energy.problem
    assert results["a@gpu"].status == "ok" and len(results["a@gpu"].rounds) == 2
    _, without = run_on_gpu(tmp_path / "other", GIBIBYTE, ("a@gpu",))
    assert without["a@gpu"].energy is None


def test_energy_of_arms_that_take_turns_is_measured_in_a_new_process(tmp_path):
    rule = EnergyRule(blocks=1, block_seconds=0.1)
    _, results = run_on_gpu(tmp_path, 7 * GIBIBYTE, energy=True, energy_rule=rule)
    assert processes(results) == {"a@gpu": [0, 1], "b@gpu": [0, 1]}
    assert all("no access to a GPU's clock" in each.energy.problem for each in results.values())
    assert all(each.status == "ok" for each in results.values())


def test_bringing_the_inputs_to_a_device_is_timed_apart_and_waited_for(tmp_path, monkeypatch):
    """A copy is issued and done later: only with a wait is it the copy's time."""
    made = OnGpu.prepare

    def with_a_clock(self, *arguments):
        runner = made(self, *arguments)
        device, load = VirtualDevice(self._clock), runner.load

        def loaded(inputs):
            load(inputs)
            device.work(1e-3)

        runner.issue, runner.load = runner.step, loaded
        runner.device_clock, runner.replays = (lambda: device), (lambda: False)
        return runner

    monkeypatch.setattr(OnGpu, "prepare", with_a_clock)
    _, results = run_on_gpu(tmp_path, GIBIBYTE, ("a@gpu",))
    for taken in results["a@gpu"].rounds:
        assert taken.device.copy_in == pytest.approx((1e-3,), rel=1e-2)
        assert max(taken.device.wall) < 1e-3
