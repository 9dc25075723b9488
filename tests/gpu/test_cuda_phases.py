"""Forward, backward and update, the limits of a card, its memory and named ranges, emulated."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from cuda_runs import PLAIN, DriverClock, drawn, emulated, prepared
from layer_workloads import SmallGan

from benchctl.compare.device_times import summarise_device
from benchctl.measure.device_timing import DeviceRule, take_times
from benchctl.measure.limits import GpuLimits, gpu_limits
from benchctl.measure.worker import WorkerService
from benchctl.report.profile import kernel_rows, profile_table
from benchctl.store.fields import Fields
from benchctl.store.record import ArmResult, ArmRound, ArmSpec
from benchctl.store.schema import read_round, round_document
from benchctl_engines.contract import (
    DeviceMemoryRunner,
    DeviceState,
    LimitedEngine,
    PhasedRunner,
)
from benchctl_engines.devices.cuda import clock as clock_module
from benchctl_engines.devices.cuda import memory as memory_module
from benchctl_engines.devices.cuda.clock import CudaClock, CudaLaunchClock
from benchctl_engines.devices.cuda.limits import measure_device_limits
from benchctl_engines.devices.cuda.memory import require_room, size_words
from benchctl_engines.devices.cuda.probe import limits_words, memory_words
from benchctl_engines.devices.launch_clock import Call
from benchctl_engines.devices.phase_clock import HostMarks, PhaseClock, medians
from benchctl_engines.eager.engine import make_engine as make_eager
from benchctl_engines.gpu.driver import DeviceError, OutOfDeviceMemoryError
from benchctl_engines.primitives.work import Work
from benchctl_engines.static.engine import make_engine as make_static
from benchctl_workloads.heads import Heads
from benchctl_workloads.workload import make_case
from benchctl_workloads.xyz import Xyz

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ builds the kernels")

LAUNCH, SPIN = 2e-6, 10.0
TRAINING = {"width": 24, "channels": 6, "side": 3, "batch": 3, "mode": "training"}
ENGINES = ("eager", "static")
close = pytest.approx


@pytest.fixture
def driver():
    with emulated() as made:
        made.clock.device_seconds = lambda name: SPIN if name == "benchctl_spin" else LAUNCH
        yield made


def training(engine, switches=()):
    case, parameters, inputs = drawn(Heads(), TRAINING)
    runner = prepared(engine, Heads(), case, parameters, inputs, switches)
    for _ in range(3):
        runner.step()
    return runner


# ----- phases -------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_phases_add_up_to_the_step_and_follow_from_the_launches(engine, driver):
    runner = training(engine, {"capture": "off"} if engine == "static" else {})
    assert isinstance(runner, PhasedRunner)
    driver.issued.clear()
    runner.issue()
    launches = len(driver.issued)
    found = runner.phase_seconds(2)
    assert list(found) == ["forward", "backward", "update"]
    assert all(len(each) == 2 for each in found.values())
    assert sum(each[0] for each in found.values()) == close(launches * LAUNCH)
    # Each launch of a profile knows its phase.
    profile = runner.profile(2)
    assert profile.phases == close(medians(found))
    for phase, seconds in profile.phases.items():
        own = [each for each in profile.launches if each.phase == phase]
        assert own and sum(each.seconds for each in own) == close(seconds, rel=1e-3)
    names = {each.kernel.partition(":")[0]: each.phase for each in profile.launches}
    assert names["softmax_cross_entropy"] == "forward"
    assert names["softmax_cross_entropy_gradient"] == "backward"
    assert names["assign_sub_scaled"] == "update"
    if engine == "eager":
        # One launch for all parameters, and nothing else.
        assert found["update"] == close((LAUNCH,) * 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_phases_of_two_networks_and_of_none(engine, driver):
    case, parameters, inputs = drawn(SmallGan(), {})
    runner = prepared(engine, SmallGan(), case, parameters, inputs)
    runner.step()
    found = runner.phase_seconds(1)
    assert list(found) == ["forward", "backward", "update"]
    assert all(each > (0.0,) for each in found.values())
    case, parameters, inputs = drawn(Heads(), {**TRAINING, "mode": "inference"})
    forward = prepared(engine, Heads(), case, parameters, inputs)
    forward.step()
    assert forward.phase_seconds(2) == {} and forward.profile(2).phases == {}


def test_results_after_phases_are_those_of_plain_steps(driver):
    """What is replaced while phases are timed is put back, and a recorded step is the same."""
    case, parameters, inputs = drawn(Heads(), TRAINING)
    for engine in ENGINES:
        timed, plain = (prepared(engine, Heads(), case, parameters, inputs) for _ in "ab")
        for _ in range(3):
            timed.step()
            plain.step()
        timed.phase_seconds(2)
        for _ in range(3):  # the two, and one to learn how long a step takes
            plain.step()
        timed.step()
        plain.step()
        for name, array in plain.outputs().items():
            assert timed.outputs()[name].tobytes() == array.tobytes(), (engine, name)


def test_a_round_keeps_phases_and_the_table_shows_them(driver):
    runner = training("static")
    times = take_times(runner, DriverClock(driver), DeviceRule(samples=2, most_replays=5))
    assert set(times.phases) == {"forward", "backward", "update"}
    taken = ArmRound(0, (1.0,), 1, device=times)
    document = round_document("case", 0, {"static@gpu": taken})
    (kept,) = read_round(Fields(document, "a round")).values()
    assert kept.device.phases.keys() == times.phases.keys()
    assert kept.device.phases["update"] == close(times.phases["update"], abs=1e-9)
    arm = ArmResult(ArmSpec("static@gpu", "static", "gpu"), status="ok", rounds=(kept,))
    assert list(summarise_device(arm).phases) == ["forward", "backward", "update"]
    without = round_document("case", 0, {"a": replace(taken, device=replace(times, phases={}))})
    assert "phases_ns" not in without["arms"]["a"]["device"]


def test_a_phase_that_is_entered_late_is_caught(driver):
    """Planted fault: the update counted as backward shows as a missing phase."""
    runner = training("eager")
    runner._many.subtract_scaled = lambda *arguments: None
    found = runner.phase_seconds(1)
    assert found["update"] == close((0.0,))


def test_the_hosts_marks_time_a_cpu_step():
    clock = PhaseClock(HostMarks())

    def step():
        for phase in ("forward", "backward", "forward", "update"):
            clock.enter(phase)

    clock.run(step)
    assert list(clock.seconds()) == ["forward", "backward", "update"]
    case, parameters, inputs = drawn(Heads(), TRAINING)
    for engine in ENGINES:
        runner = prepared(engine, Heads(), case, parameters, inputs, device="cpu")
        runner.step()
        found = runner.profile(2)
        assert set(found.phases) == {each.phase for each in found.launches}
        assert set(found.phases) >= {"forward", "update"}


# ----- limits -------------------------------------------------------------------------------------


def test_limits_are_the_rates_that_the_device_was_given(driver):
    costs = {"numpy_matmul": 1e-3, "copy_on_device": 2e-3}
    driver.clock.device_seconds = lambda name: costs.get(name, 1e-6)
    asked, matmul = [], driver.matmul
    driver.matmul = lambda request: asked.append(request) or matmul(request)
    found = measure_device_limits(driver, sides=(64,), copy_bytes=2**20)
    stored = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
    assert {each.precision: each.dtype for each in asked} == stored
    assert found.gemm_flops_per_second == close(dict.fromkeys(stored, 2 * 64**3 / 1e-3))
    assert found.copy_bytes_per_second == close(2 * 2**20 / 2e-3)
    for engine in (make_eager(), make_static()):
        assert isinstance(engine, LimitedEngine)


def test_limits_take_the_largest_matrices_that_fit():
    with emulated(2**22) as small:
        small.clock.device_seconds = 1e-3
        kept = small.allocate(2**22 - 2**20)
        found = measure_device_limits(small, sides=(512, 128), copy_bytes=2**30)
        assert found.copy_bytes_per_second == close(2 * 2**18 / 1e-3)
        with pytest.raises(DeviceError, match="expected 3145728 bytes of free memory"):
            measure_device_limits(small, sides=(512,))
        assert limits_words(small).startswith("not measured: the limits of emulated GPU")
        assert memory_words(small) == "1.0 MiB of 4.0 MiB free"
        del kept


def test_a_layer_is_compared_with_the_roof_over_it():
    limits = GpuLimits("card", "fp32", 2e12, 1e12)
    launches = [
        # Bound by arithmetic: 4 us at best; and by memory: 3 us at best.
        {"kernel": "a", "seconds": 8e-6, "flops": 8_000_000, "bytes_moved": 1_000_000},
        {"kernel": "b", "seconds": 4e-6, "flops": 2_000_000, "bytes_moved": 3_000_000},
    ]
    common = {"shapes": "2", "start_seconds": 0.0, "origin": "", "phase": "forward"}
    rows = kernel_rows([{**common, **each} for each in launches])
    table = profile_table(rows, 14e-6, limits, by_launch=False, phases={"forward": 9e-6})
    assert [row[-1] for row in table.rows] == ["50%", "75%", ""]
    notes = " ".join(table.notes)
    assert "layer-wise roofline: 7.0 us" in notes and "58% of it, the step 50%" in notes
    assert "on card" in notes and "forward 9.0 us (100%)" in notes
    measured = {
        "name": "card",
        "gemm_flops_per_second": {"fp32": 2e12},
        "copy_bytes_per_second": 1e12,
    }
    assert gpu_limits(measured, "fp32") == limits
    assert gpu_limits(measured, "tf32") is gpu_limits({}, "fp32") is None


# ----- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_a_runner_tells_what_it_holds_of_the_card(engine, driver):
    before = driver.memory.used
    runner = training(engine)
    assert isinstance(runner, DeviceMemoryRunner)
    found = runner.device_memory()
    assert found.total_bytes == driver.memory.capacity
    assert found.free_bytes == driver.memory.capacity - driver.memory.used
    # All but small pieces, such as a counter and libraries' workspaces.
    assert 0.9 * (driver.memory.used - before) <= found.held_bytes <= driver.memory.used - before


def test_a_step_that_does_not_fit_says_so_before_it_allocates():
    case, parameters, inputs = drawn(Heads(), TRAINING)
    with emulated(2**14) as small:
        with pytest.raises(OutOfDeviceMemoryError, match=r"the step needs .*variables") as caught:
            prepared("static", Heads(), case, parameters, inputs)
        assert "are free on emulated GPU" in str(caught.value)
        assert "nvidia-smi" in caught.value.hint
        del caught
        assert small.memory.used < 2**14


def test_room_is_asked_for_as_a_whole(driver):
    free = driver.memory.capacity - driver.memory.used
    require_room(driver, {"a": free - 1, "b": 1})
    with pytest.raises(OutOfDeviceMemoryError, match=r"a 4.00 GiB, b 0.0 MiB\)"):
        require_room(driver, {"a": free, "b": 1, "c": 0})
    assert (size_words(3 * 2**29), size_words(2**19)) == ("1.50 GiB", "0.5 MiB")


# ----- what a worker is asked for -----------------------------------------------------------------


class Sensors:
    """A card of 100 W: a counter on the emulated host's time."""

    def __init__(self, driver):
        self.driver = driver

    def process_bytes(self):
        return 12345

    def default_sm_clock_hz(self):
        return 1e9

    def sample(self):
        return SimpleNamespace(
            sm_clock_hz=1e9,
            temperature_celsius=40.0,
            power_watts=100.0,
            energy_joules=100.0 * self.driver.clock.now,
            spoiling=(),
            marking=(),
        )


def test_a_worker_tells_energy_memory_limits_and_phases(driver, monkeypatch):
    for module in (clock_module, memory_module):
        monkeypatch.setattr(module, "sensors_at", lambda address: Sensors(driver))
    driver.clock.device_seconds = lambda name: 1e-3
    service = WorkerService(DriverClock(driver), find=lambda name: make_eager())
    service.do_import("eager", "gpu")
    options = {"device": "gpu", "threads": 1, "seed": 0, "switches": {}, "cache_directory": None}
    service.do_prepare("xyz", make_case(Xyz(), {}), 0, 0, options)
    memory = service.do_memory()["device"]
    assert (memory["total_bytes"], memory["process_bytes"]) == (driver.memory.capacity, 12345)
    found = service.do_energy({"blocks": 2, "block_seconds": 0.5, "idle_seconds": 0.2})
    assert found["source"] == "counter" and found["idle_watts"] == close(100.0)
    spent = [
        joules * steps
        for joules, steps in zip(found["joules_per_step"], found["steps"], strict=True)
    ]
    assert spent == close([100.0 * seconds for seconds in found["seconds"]])
    profile = service.do_profile(2)
    assert set(profile["phases"]) == {"forward", "backward"}
    service.close()


def test_the_state_of_a_clock_has_power_and_energy(driver, monkeypatch):
    monkeypatch.setattr(clock_module, "sensors_at", lambda address: Sensors(driver))
    state = CudaClock(driver).state()
    assert (state.power_watts, state.energy_joules) == (100.0, 100.0 * driver.clock.now)
    assert DeviceState().energy_joules is None


# ----- ranges -------------------------------------------------------------------------------------


class Nvtx:
    """CuPy's binding of NVTX, which notes what it is told."""

    available = True

    def __init__(self):
        self.open, self.seen = [], []

    def RangePush(self, name):  # noqa: N802 - the name is CuPy's
        self.open.append(name)
        self.seen.append("/".join(self.open))

    def RangePop(self):  # noqa: N802
        self.open.pop()


def test_a_profile_names_each_launch_in_a_range(driver, monkeypatch):
    nvtx = Nvtx()
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(nvtx=nvtx)))
    runner = training("static", PLAIN)
    profile = runner.profile(2)
    expected = [f"step 1/{each.kernel} {each.shapes}" for each in profile.launches]
    assert [each for each in nvtx.seen if each.startswith("step 1/")] == expected
    assert nvtx.open == [] and "step 2" in nvtx.seen


def test_a_launch_that_fails_closes_its_range(driver, monkeypatch):
    nvtx = Nvtx()
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(nvtx=nvtx)))
    clock = CudaLaunchClock(driver)

    def failing():
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        clock.run(clock.timed(Call("k", "2", Work(1, 1)), failing))
    assert nvtx.open == [] and nvtx.seen == ["step 1", "step 1/k 2"]


@pytest.mark.parametrize(
    "cupy",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(cuda=SimpleNamespace(nvtx=SimpleNamespace(available=False))),
    ],
)
def test_without_nvtx_there_are_no_ranges(driver, monkeypatch, cupy):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert training("eager").profile(1).launches
