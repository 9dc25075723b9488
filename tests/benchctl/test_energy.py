"""Joules a step against a device in virtual time whose power is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import EAGER, make_run
from virtual_device import VirtualDevice, VirtualRunner

from benchctl.cli import main
from benchctl.compare.energy import summarise_energy
from benchctl.compare.summary import summarise
from benchctl.measure.clock import VirtualClock
from benchctl.measure.energy import COUNTER, NOT_TOLD, SAMPLED, EnergyRule, measure_energy
from benchctl.report.energy_tables import ENERGY_CAVEAT, energy_sentences, energy_table
from benchctl.report.table import render_table
from benchctl.store.export import run_document
from benchctl.store.fields import Fields
from benchctl.store.record import ArmResult, ArmSpec, EnergyUse
from benchctl.store.schema import arm_document, read_arm
from benchctl_engines.contract import DeviceState

IDLE, BUSY = 70.0, 400.0
close = pytest.approx


class PoweredDevice(VirtualDevice):
    """Takes IDLE watts, and BUSY while it works; tells its energy, its power, or neither."""

    tells = "energy"

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.busy_seconds = 0.0
        self.looks: list[float] = []

    def work(self, seconds: float) -> None:
        super().work(seconds)
        self.busy_seconds += seconds

    def state(self) -> DeviceState:
        self.looks.append(self.now())
        if self.tells == "energy":
            joules = IDLE * self.now() + (BUSY - IDLE) * self.busy_seconds
            return DeviceState(energy_joules=joules)
        if self.tells == "power":
            return DeviceState(power_watts=BUSY if self.busy_seconds else IDLE)
        return DeviceState()


def powered(tells: str = "energy", launches: int = 4, host: float = 1e-6, work: float = 2.5e-3):
    clock = VirtualClock()
    device = PoweredDevice(clock)
    device.tells = tells
    return VirtualRunner(device, launches, host, work), clock


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 5), st.sampled_from([1e-3, 5e-3, 0.3]))
def test_each_block_costs_what_the_device_was_made_to_take(launches: int, work: float) -> None:
    runner, clock = powered(launches=launches, work=work)
    found = measure_energy(runner, clock, EnergyRule(blocks=2, block_seconds=0.5))
    assert found.source == COUNTER and found.problem == ""
    # The host is ahead of the device but for the first launch of each piece.
    assert found.joules_per_step == close((BUSY * launches * work,) * 2, rel=0.02)
    assert found.idle_watts == close(IDLE)
    assert all(each >= 0.5 for each in found.seconds)
    assert all(
        steps * launches * work <= seconds
        for steps, seconds in zip(*[found.steps, found.seconds], strict=True)
    )


def test_blocks_last_five_seconds_and_begin_at_shifted_moments() -> None:
    rule = EnergyRule()
    assert rule.block_seconds >= 5.0 and rule.blocks >= 3
    runner, clock = powered()
    begins: list[float] = []

    class Clock:
        def now_ns(self) -> int:
            return clock.now_ns()

        def sleep(self, seconds: float) -> None:
            begins.append(seconds)
            clock.sleep(seconds)

        def ticks(self, count: int):
            return clock.ticks(count)

    found = measure_energy(runner, Clock(), rule)
    assert all(each >= 5.0 for each in found.seconds) and len(found.seconds) == 3
    shifts = [each for each in begins if each != rule.piece_seconds]
    assert shifts == close([0.0, rule.shift_seconds, 2 * rule.shift_seconds])


def test_a_card_without_a_counter_is_read_between_pieces() -> None:
    runner, clock = powered("power")
    found = measure_energy(runner, clock, EnergyRule(block_seconds=1.0))
    assert found.source == SAMPLED
    assert found.joules_per_step == close((BUSY * 0.01,) * 3, rel=0.02)


def test_a_card_that_tells_nothing_has_a_problem_and_no_figures() -> None:
    runner, clock = powered("nothing")
    found = measure_energy(runner, clock)
    assert found.problem == NOT_TOLD and found.joules_per_step == () and runner.issued == 0


def test_a_counter_read_once_too_late_would_be_noticed() -> None:
    """Planted fault: the idle time before a block counted as the block's."""
    runner, clock = powered()
    right = measure_energy(runner, clock, EnergyRule(block_seconds=1.0))
    device = runner.device
    plain = device.state

    def late() -> DeviceState:
        clock.sleep(0.5)
        return plain()

    device.state = late
    wrong = measure_energy(runner, clock, EnergyRule(block_seconds=1.0))
    assert wrong.joules_per_step[0] > 1.1 * right.joules_per_step[0]


# ----- what is kept and shown ---------------------------------------------------------------------

USED = EnergyUse((0.9, 1.1, 1.0), (5000, 5100, 5050), (5.0, 5.1, 5.2), 71.5, COUNTER)
ON_GPU = ArmSpec("eager@gpu", "eager", "gpu")


def result(energy: EnergyUse | None) -> ArmResult:
    return ArmResult(ON_GPU, status="ok", energy=energy)


@pytest.mark.parametrize(
    "energy", [None, USED, EnergyUse(problem="no sensor"), replace(USED, idle_watts=None)]
)
def test_a_record_keeps_it(energy: EnergyUse | None) -> None:
    document = arm_document("xyz", result(energy))
    assert ("energy" in document) == (energy is not None)
    assert read_arm(Fields(document, "an arm"), ON_GPU).energy == energy


def test_the_summary_is_of_the_blocks_that_were_told() -> None:
    found = summarise_energy(result(USED))
    assert found is not None
    assert (found.joules_per_step, found.low, found.high, found.blocks) == (1.0, 0.9, 1.1, 3)
    assert found.watts == close(1.0 * 5050 / 5.2)
    silent = replace(USED, joules_per_step=(0.9, math.nan, 1.0))
    assert summarise_energy(result(silent)).blocks == 2  # type: ignore[union-attr]
    assert summarise_energy(result(None)) is summarise_energy(result(EnergyUse())) is None


def with_energy(energy: EnergyUse):
    run = make_run(arms=(EAGER,))
    (case, *rest) = run.cases
    arm = replace(case.arms[0], energy=energy)
    return replace(run, cases=(replace(case, arms=(arm, *case.arms[1:])), *rest))


def test_the_table_has_its_caveat_and_the_document_its_figures() -> None:
    run = with_energy(USED)
    cases = summarise(run).cases
    table = energy_table(cases, ())
    assert table is not None
    text = "\n".join(render_table(table))
    assert "1.00 J" in text and "0.90 to 1.10 J" in text and "3 of 5.0 s" in text
    assert energy_sentences(cases) == [ENERGY_CAVEAT]
    entry = run_document(run, summarise(run))["cases"][0]
    assert entry["energy"]["joules_per_step"] == 1.0 and entry["energy"]["problem"] == ""
    without = with_energy(EnergyUse(problem="no sensor"))
    assert energy_table(summarise(without).cases, ()) is None
    (sentence,) = energy_sentences(summarise(without).cases)
    assert sentence.endswith("no energy, no sensor.")


def test_energy_is_asked_of_a_gpu_alone() -> None:
    done = CliRunner().invoke(main, ["run", "xyz", "--energy", "--dry-run"])
    assert done.exit_code == 2 and "--energy expected an engine on a GPU" in done.stderr
