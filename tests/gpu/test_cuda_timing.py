"""Times on an emulated GPU's clock: what each launch takes is set, so every figure is known."""

from __future__ import annotations

import shutil

import pytest
from case_names import given_name
from cuda_runs import PLAIN, DriverClock, drawn, emulated, prepared

from benchctl.measure.device_timing import DeviceRule, take_times
from benchctl.measure.worker import WorkerService
from benchctl.store.record import DeviceTimes
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_workloads.heads import Heads
from benchctl_workloads.workload import make_case
from benchctl_workloads.xyz import Xyz

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

LAUNCH, HOST, SPIN = 2e-6, 5e-6, 10.0
TRAINING = {"width": 24, "channels": 6, "side": 3, "batch": 3, "mode": "training"}
RULE = DeviceRule(samples=3, most_replays=10)


@pytest.fixture
def driver():
    with emulated() as made:
        made.clock.host_seconds = HOST
        made.clock.device_seconds = lambda name: SPIN if name == "benchctl_spin" else LAUNCH
        yield made


@pytest.mark.parametrize(
    ("engine", "switches"), [("eager", {}), ("static", {}), ("static", PLAIN)], ids=str
)
@pytest.mark.parametrize(("workload", "given"), [(Xyz(), {}), (Heads(), TRAINING)], ids=given_name)
def test_the_figures_follow_from_the_launches(engine, switches, workload, given, driver):
    case, parameters, inputs = drawn(workload, given)
    runner = prepared(engine, workload, case, parameters, inputs, switches)
    for _ in range(4):
        runner.step()
    driver.issued.clear()
    runner.step()
    issues = len(driver.issued)
    launches = runner.facts().counts["capture.recorded"] if runner.replays() else issues
    found = take_times(runner, DriverClock(driver), RULE)
    assert found.warm == pytest.approx((launches * LAUNCH,) * 3)
    assert found.cold == pytest.approx((launches * LAUNCH,) * 3)
    assert found.issue == pytest.approx((issues * HOST,) * 6, abs=1e-9)
    assert bool(found.replay) is runner.replays() is (engine == "static" and not switches)
    # One launch is issued while the last still runs, or the other way round.
    wall = HOST + launches * LAUNCH if runner.replays() else issues * HOST + LAUNCH
    assert found.wall == pytest.approx((wall,) * 3, abs=1e-9)
    assert found.marks == ()


@pytest.mark.parametrize("engine", ["eager", "static"])
def test_a_profile_tells_device_times_launch_by_launch(engine, driver):
    case, parameters, inputs = drawn(Heads(), TRAINING)
    runner = prepared(engine, Heads(), case, parameters, inputs)
    found = runner.profile(3)
    assert len(found.launches) > 5
    for each in found.launches:
        pieces = each.seconds / LAUNCH  # a kernel may be several launches
        assert pieces == pytest.approx(round(pieces), abs=0.05) or each.seconds >= LAUNCH
    starts = [each.start_seconds for each in found.launches]
    assert starts == sorted(starts)


def test_a_worker_sends_them_with_every_round(driver):
    service = WorkerService(DriverClock(driver), find=lambda name: make_eager())
    service.do_import("eager", "gpu")
    options = {"device": "gpu", "threads": 1, "seed": 0, "switches": {}, "cache_directory": None}
    service.do_prepare("xyz", make_case(Xyz(), {}), 0, 0, options)
    warm_up = {"min_seconds": 0.0, "min_steps": 1, "settle": False}
    taken = service.do_sample(warm_up, {"min_sample_seconds": 0.0})
    found = DeviceTimes(**{name: tuple(each) for name, each in taken["device"].items()})
    assert min(found.warm) > 0 and found.replay == ()
    service.close()
