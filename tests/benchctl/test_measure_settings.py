"""Settings, the environment of workers, the budget, and the peak of memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from measure_plans import fake_arm, fake_plan

from benchctl.measure.budget import Budget
from benchctl.measure.clock import VirtualClock
from benchctl.measure.memory import PeakMeter
from benchctl.measure.sampler import WarmUpRule
from benchctl.measure.settings import (
    MeasureSettings,
    removed_variables,
    settings_of,
    worker_environment,
)

GIVEN = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512", "HOME": "/h", "X": "1"}


def test_a_worker_has_its_threads_and_cache_and_no_blas_override():
    environment = worker_environment(MeasureSettings(), 3, Path("/cache"), GIVEN)
    assert "OPENBLAS_CORETYPE" not in environment
    assert "OPENBLAS_L2_SIZE" not in environment
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        assert environment[name] == "3"
    assert environment["NUMBA_NUM_THREADS"] == "3"
    assert environment["NUMBA_CACHE_DIR"] == "/cache/numba"
    assert environment["PYTHONHASHSEED"] == "0"
    assert environment["X"] == "1"


def test_a_blas_override_can_be_kept():
    kept = MeasureSettings(keep_blas_override=True)
    assert removed_variables(kept, GIVEN) == {}
    assert worker_environment(kept, 1, Path("/c"), GIVEN)["OPENBLAS_CORETYPE"] == "Haswell"
    assert removed_variables(MeasureSettings(), GIVEN) == {
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_L2_SIZE": "512",
    }


def test_settings_come_from_the_plan():
    measure = {"restart_every": 2, "warm_up": {"min_seconds": 0.1}}
    settings = settings_of(fake_plan(fake_arm("a"), settings={"measure": measure}))
    assert settings.restart_every == 2
    assert settings.warm_up == WarmUpRule(min_seconds=0.1)
    assert settings.sample == MeasureSettings().sample
    with pytest.raises(ValueError, match="received 'restart'"):
        settings_of(fake_plan(fake_arm("a"), settings={"measure": {"restart": 2}}))


def test_a_deadline_keeps_the_least_rounds_but_not_beyond_the_budget():
    clock = VirtualClock()
    deadline = Budget(clock, 100.0).deadline(cases_left=4)
    deadline.round_seconds = 10.0
    done = 0
    while not deadline.is_due(done, done, 6):
        clock.sleep(10.0)
        done += 1
    # Its share is 25 s, which is two rounds: it overdraws to have six.
    assert done == 6
    slow = Budget(clock, 100.0).deadline(cases_left=4)
    slow.round_seconds = 40.0
    done = 0
    while not slow.is_due(done, done, 6):
        clock.sleep(40.0)
        done += 1
    assert done == 2


def test_without_a_budget_nothing_is_due():
    budget = Budget(VirtualClock(), None)
    assert not budget.is_spent
    deadline = budget.deadline(1)
    deadline.round_seconds = 1e9
    assert not deadline.is_due(100, 100, 6)
    assert deadline.at_most(5.0) == 5.0


def test_an_estimate_ends_with_the_budget():
    clock = VirtualClock()
    budget = Budget(clock, 30.0)
    deadline = budget.deadline(1)
    clock.sleep(10.0)
    assert deadline.at_most(50.0) == pytest.approx(20.0)
    clock.sleep(20.0)
    assert budget.is_spent


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's peak can be reset on Linux only")
def test_the_peak_counts_what_was_released_but_not_what_was_paused():
    size = 48 * 2**20
    meter = PeakMeter()
    meter.start()
    meter.pause()
    bytearray(2 * size)
    meter.resume()
    assert meter.peak_above_start_bytes() < size / 4
    bytearray(size)
    assert size * 0.9 < meter.peak_above_start_bytes() < size * 1.3
