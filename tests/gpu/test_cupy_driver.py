"""The driver over CuPy: every line of it that is not CUDA's own, and CuPy as it is without a GPU.

Where CuPy is installed its names are compared with those that the driver uses. Nothing here shows
that CUDA does what is expected of it: `tests/gpu/test_on_a_gpu.py` does, on a machine that has one.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from importlib.util import find_spec

import cupy_stand_in
import numpy as np
import pytest
from emulator import EmulatedDriver

from benchctl_engines.devices.cuda import cupy_driver, cupy_import
from benchctl_engines.devices.cuda.cupy_driver import CupyDriver
from benchctl_engines.devices.cuda.probe import memory_words, run_probe
from benchctl_engines.devices.cuda.staging import SLOT_BYTES
from benchctl_engines.gpu.driver import (
    CaptureError,
    DeviceError,
    MatmulRequest,
    OutOfDeviceMemoryError,
)

TEXT = """
extern "C" __global__ void axpy(float* y, const float* x, float a, double b, int n, long long m) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && i < m) y[i] = a * x[i] + y[i] + (float)b;
}
extern "C" __global__ void nothing() {}
"""


@pytest.fixture
def machine(monkeypatch):
    made = cupy_stand_in.Machine()
    monkeypatch.setattr(cupy_driver, "import_cupy", lambda: cupy_stand_in.stand_in(made)[0])
    return made


@pytest.fixture(params=["cupy", "emulated"])
def driver(request):
    """Both drivers keep the same promises."""
    if request.param == "cupy":
        request.getfixturevalue("machine")
        return CupyDriver()
    return EmulatedDriver(2**26)


def on_device(driver, array):
    made = driver.allocate(array.nbytes)
    driver.copy_to_device(made.pointer, array)
    return made


def fetched(driver, allocation, shape, dtype="float32"):
    host = np.empty(shape, dtype)
    driver.copy_to_host(host, allocation.pointer)
    return host


# Both drivers ----------------------------------------------------------------------------------


def test_arguments_of_every_type_arrive(driver):
    x, y = np.arange(300, dtype=np.float32), np.ones(300, np.float32)
    a, b = on_device(driver, x), on_device(driver, y)
    axpy = driver.module(TEXT).function("axpy", "PPfdiq")
    assert axpy.name == "axpy"
    # Twice with other arguments before anything is waited for.
    axpy.launch((2, 1, 1), (256, 1, 1), (b.pointer, a.pointer, 2.0, 0.5, 300, 2**40))
    axpy.launch((2, 1, 1), (256, 1, 1), (b.pointer, a.pointer, 1.0, 0.0, 10, 2**40))
    driver.module(TEXT).function("nothing", "").launch((1, 1, 1), (1, 1, 1), ())
    expected = 2 * x + y + np.float32(0.5)
    expected[:10] += x[:10]
    np.testing.assert_array_equal(fetched(driver, b, 300), expected)


def test_a_host_array_may_be_changed_as_soon_as_it_is_copied(driver):
    sizes = (10, SLOT_BYTES // 4 + 3, 5, 2 * SLOT_BYTES // 4, 7)
    sources = [np.full(size, index, np.float32) for index, size in enumerate(sizes)]
    made = []
    for source in sources:
        made.append(on_device(driver, source))
        source[:] = -1
    for index, (each, size) in enumerate(zip(made, sizes, strict=True)):
        assert (fetched(driver, each, size) == index).all()


def test_work_is_done_in_the_order_of_issue(driver):
    a, b = driver.allocate(64), driver.allocate(64)
    driver.fill(a.pointer, 64, 1)
    driver.copy_on_device(b.pointer, a.pointer, 64)
    driver.fill(a.pointer, 64, 2)
    driver.synchronize()
    assert (fetched(driver, a, 64, "uint8") == 2).all()
    assert (fetched(driver, b, 64, "uint8") == 1).all()


def test_a_graph_repeats_what_was_recorded(driver):
    x = np.arange(8, dtype=np.float32)
    a, b, c = on_device(driver, x), on_device(driver, 0 * x), driver.allocate(32)
    axpy = driver.module(TEXT).function("axpy", "PPfdiq")
    driver.begin_capture()
    axpy.launch((1, 1, 1), (32, 1, 1), (b.pointer, a.pointer, 1.0, 0.0, 8, 8))
    driver.copy_on_device(c.pointer, b.pointer, 32)
    driver.fill(b.pointer, 4, 0)
    graph = driver.end_capture()
    assert graph.nodes == 3
    for times in (1, 2, 3):
        graph.launch()
        found = fetched(driver, c, 8)
        np.testing.assert_array_equal(found[1:], times * x[1:])
    # New contents at the same addresses.
    driver.copy_to_device(a.pointer, 10 * x)
    graph.launch()
    np.testing.assert_array_equal(fetched(driver, c, 8)[1:], 13 * x[1:])


FORBIDDEN = {
    "allocation": lambda driver, made, event: driver.allocate(4),
    "wait": lambda driver, made, event: driver.synchronize(),
    "copy from": lambda driver, made, event: driver.copy_to_device(made.pointer, np.zeros(1)),
    "to the host": lambda driver, made, event: driver.copy_to_host(np.zeros(1), made.pointer),
    "event": lambda driver, made, event: event.synchronize(),
    "compilation": lambda driver, made, event: driver.module(TEXT + "// another"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_cannot_be_recorded_spoils_the_capture(driver, what):
    made, event = driver.allocate(64), driver.event()
    event.record()
    driver.begin_capture()
    with pytest.raises(CaptureError, match=what):
        FORBIDDEN[what](driver, made, event)
    with pytest.raises(CaptureError, match="spoiled"):
        driver.fill(made.pointer, 64, 0)
    with pytest.raises(CaptureError, match="spoiled"):
        driver.end_capture()
    # And the driver works on.
    driver.fill(made.pointer, 64, 3)
    assert (fetched(driver, made, 64, "uint8") == 3).all()


def test_captures_begin_once_and_end_once(driver):
    driver.begin_capture()
    with pytest.raises(CaptureError):
        driver.begin_capture()
    graph = driver.end_capture()
    with pytest.raises(CaptureError):
        driver.end_capture()
    driver.begin_capture()
    with pytest.raises(CaptureError, match="another graph"):
        graph.launch()
    with pytest.raises(CaptureError):
        driver.end_capture()


def test_events_tell_time_once_they_are_reached(driver):
    start, end = driver.event(), driver.event()
    made = driver.allocate(64)
    start.record()
    driver.fill(made.pointer, 64, 0)
    end.record()
    with pytest.raises(DeviceError):
        end.seconds_since(start)
    end.synchronize()
    assert end.seconds_since(start) > 0


def test_memory_is_counted_given_back_and_runs_out(driver):
    before = driver.memory_in_use()
    made = driver.allocate(2**25)
    used, total = driver.memory_in_use()
    assert (used - before[0], total) == (2**25, 2**26)
    with pytest.raises(OutOfDeviceMemoryError, match=f"{2**26} bytes asked for, .* of {2**26}"):
        driver.allocate(2**26)
    del made
    gc.collect()
    assert driver.memory_in_use() == before
    assert driver.allocate(0).pointer


def test_wrong_text_and_wrong_names_are_told(driver):
    with pytest.raises(DeviceError, match="nonsense"):
        driver.module("nonsense;")
    with pytest.raises(DeviceError, match="missing"):
        driver.module(TEXT).function("missing", "P")
    with pytest.raises(DeviceError, match="axpy"):
        axpy = driver.module(TEXT).function("axpy", "PPfdiq")
        axpy.launch((0, 1, 1), (32, 1, 1), (0, 0, 0.0, 0.0, 0, 0))
    with pytest.raises(ValueError, match="C-contiguous"):
        driver.copy_to_device(driver.allocate(64).pointer, np.zeros((4, 4))[:, ::2])


def test_the_probe_runs_a_kernel(driver):
    assert "compute capability 9.0" in run_probe(driver)
    assert " free" in memory_words(driver)


# The driver over CuPy alone --------------------------------------------------------------------


def test_memory_that_dies_in_a_capture_goes_back_after_it(machine):
    driver = CupyDriver()
    dying, kept = driver.allocate(64), driver.allocate(64)
    driver.begin_capture()
    driver.fill(dying.pointer, 64, 1)
    del dying
    gc.collect()
    assert len(machine.used) == 2
    driver.fill(kept.pointer, 64, 1)
    driver.end_capture()
    assert len(machine.used) == 1 and machine.freed_while_capturing == 0


def test_after_a_fault_of_the_device_memory_dies_in_silence(machine, monkeypatch):
    """The fault is told once, by whoever waits, and not again for every array."""
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    monkeypatch.setattr(sys, "excepthook", lambda *error: unraisable.append(error))
    driver = CupyDriver()
    dying = driver.allocate(64)
    machine.faulted = True
    with pytest.raises(DeviceError, match="waiting: cudaErrorIllegalAddress"):
        driver.synchronize()
    del dying
    gc.collect()
    assert not unraisable and len(machine.used) == 1


def test_a_capture_that_cuda_refuses_is_a_capture_error(machine):
    driver = CupyDriver()
    driver.begin_capture()
    with pytest.raises(cupy_stand_in.StandInError):
        machine.stream.drain()
    with pytest.raises(CaptureError, match="Invalidated"):
        driver.end_capture()
    driver.synchronize()


def test_what_cupys_own_arrays_left_idle_makes_room(machine):
    driver = CupyDriver()
    machine.pool_kept = machine.capacity - 1000
    assert driver.allocate(4096).nbytes == 4096


def test_a_gpu_that_is_not_there_is_an_error_with_the_count(machine):
    with pytest.raises(DeviceError, match="there is no GPU 1: 1 found"):
        CupyDriver(1)


def test_the_facts_are_those_of_the_device(machine):
    facts = CupyDriver().facts
    assert (facts.name, facts.architecture, facts.multiprocessors) == ("Stand-in GPU", 90, 132)
    assert facts.versions["cuda driver"] == "13.0" and facts.versions["cuda runtime"] == "13.2"


def test_products_need_their_library(machine, monkeypatch):
    from benchctl_engines.devices.cuda import cublaslt

    monkeypatch.setattr(cublaslt, "load_library", lambda name, majors: None)
    with pytest.raises(DeviceError, match="pip install nvidia-cublas"):
        CupyDriver().matmul(MatmulRequest(1, 1, 1, "float32"))


# CuPy itself -----------------------------------------------------------------------------------

needs_cupy = pytest.mark.skipif(find_spec("cupy") is None, reason="CuPy is not installed")


@pytest.fixture
def used_names(monkeypatch):
    """Every name of CuPy's that the driver looks up in its life."""
    machine = cupy_stand_in.Machine()
    module, asked = cupy_stand_in.stand_in(machine)
    monkeypatch.setattr(cupy_driver, "import_cupy", lambda: module)
    driver = CupyDriver()
    x = np.arange(4, dtype=np.float32)
    made = on_device(driver, x)
    driver.copy_on_device(made.pointer, made.pointer + 8, 8)
    driver.module(TEXT).function("nothing", "").launch((1, 1, 1), (1, 1, 1), ())
    start, end = driver.event(), driver.event()
    start.record()
    end.record()
    end.synchronize()
    end.seconds_since(start)
    driver.begin_capture()
    driver.fill(made.pointer, 4, 0)
    driver.end_capture().launch()
    fetched(driver, made, 4)
    machine.pool_kept = machine.capacity
    driver.allocate(64)
    return asked


@needs_cupy
def test_cupy_has_every_name_that_the_driver_uses(used_names):
    import cupy

    assert len(used_names) > 25
    for path in sorted(used_names):
        found = cupy
        for name in path.split("."):
            found = getattr(found, name)
    for cls, names in {
        cupy.cuda.Stream: ("begin_capture", "end_capture"),
        cupy.cuda.Event: ("record", "synchronize"),
        cupy.cuda.Graph: ("launch", "upload"),
        cupy.cuda.function.Module: ("get_function",),
        cupy.cuda.function.Function: ("ptr",),
        cupy.RawModule: ("module",),
    }.items():
        assert all(hasattr(cls, name) for name in names), cls


@needs_cupy
def test_cupy_makes_modules_lazily_and_without_a_gpu_the_driver_says_why():
    import cupy

    cupy.RawModule(code=TEXT, options=("-std=c++17",))
    if cupy.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(DeviceError, match="opening the GPU: cuda"):
        CupyDriver()


def probe_process(**variables):
    return subprocess.run(
        [sys.executable, "-m", "benchctl_engines.devices.cuda.probe"],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )


def test_the_probe_says_in_one_line_why_there_is_no_gpu():
    made = probe_process()
    if made.returncode == 0:
        pytest.skip("a GPU is here")
    assert made.returncode == 1 and not made.stderr
    assert len(made.stdout.splitlines()) == 1
    assert "cupy" in made.stdout or "cuda" in made.stdout


@needs_cupy
def test_an_import_that_fails_keeps_its_words(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    # CuPy makes its cache while it is imported.
    made = probe_process(CUPY_CACHE_DIR=str(file / "below"))
    assert made.returncode == 1
    assert made.stdout.startswith("cupy cannot be imported: NotADirectoryError")


def test_the_cache_is_ours_and_a_users_choice_stands(monkeypatch, tmp_path):
    monkeypatch.setattr(cupy_import, "base_directory", lambda: tmp_path / "kernels")
    assert cupy_import._cache_folder() == tmp_path / "kernels" / "cupy"
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cupy_import, "base_directory", lambda: tmp_path / "file")
    elsewhere = cupy_import._cache_folder()
    assert elsewhere.is_dir() and tmp_path not in elsewhere.parents
