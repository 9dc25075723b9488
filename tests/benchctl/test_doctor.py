"""The doctor names what is wrong, says what to do, and never fails itself."""

import importlib
import os
import subprocess
import sys
from collections import namedtuple

import pytest

from benchctl.doctor import gpu, machine, software
from benchctl.doctor.check import Check
from benchctl.doctor.checks import run_check, run_checks
from benchctl.measure import environment, limits
from benchctl_engines.contract import Availability, DeviceFinding
from benchctl_engines.devices import availability
from benchctl_engines.devices.cuda import detection, diagnosis
from benchctl_engines.devices.cuda.detection import DeviceFound, DriverFound, Found

CUDA_12 = DriverFound((12, 4), 0, (DeviceFound("Test GPU", 80 * 2**30),))
CUDA_13 = DriverFound((13, 0), 0, (DeviceFound("Test GPU", 80 * 2**30),))
BLAS = {"name": "openblas", "api": "blas", "version": "0.3", "architecture": "Zen", "threads": 2}


@pytest.fixture(autouse=True, scope="module")
def limits_are_measured_once():
    """A process of its own measures them, for seconds."""
    measure, found = machine.measure_limits, {}

    def measured(threads, variables):
        if threads not in found:
            found[threads] = measure(threads, variables)
        return found[threads]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(machine, "measure_limits", measured)
        yield


def by_name(checks):
    return {check.name: check for check in checks}


def by_piece(findings):
    return {each.piece: each for each in findings}


def test_every_finding_has_a_name_a_text_and_a_hint_unless_it_is_ok(tmp_path):
    checks = run_checks(tmp_path)
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    expected = ["python", "numpy", "numba", "blas", "processor", "load", "clock", "memory"]
    assert set(expected) < set(names)
    assert {"store", "kernel cache", "gpu driver", "gpu device", "cupy"} < set(names)
    for check in checks:
        assert check.status in ("ok", "warn", "missing")
        assert check.found
        assert "\n" not in check.found + check.hint
        assert check.hint or check.status == "ok"


def test_the_doctor_changes_nothing(tmp_path):
    before = dict(os.environ)
    run_checks(tmp_path / "results")
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == before


@pytest.mark.parametrize("module", [machine, software, gpu])
def test_a_check_that_fails_stops_no_other(monkeypatch, tmp_path, module):
    def broken(*arguments):
        raise RuntimeError("planted\nsecond line")

    checkers = [name for name in vars(module) if name.endswith(("_check", "_checks"))]
    for name in checkers:
        monkeypatch.setattr(module, name, broken)
    checks = run_checks(tmp_path)
    broken_ones = [check for check in checks if "planted" in check.found]
    assert broken_ones
    assert all(check.status == "warn" and "\n" not in check.found for check in broken_ones)
    assert any("planted" not in check.found for check in checks)


def test_run_check_takes_one_finding_or_several():
    one = Check("a", "ok", "fine")
    assert run_check("a", lambda: one) == [one]
    assert run_check("a", lambda: [one, one]) == [one, one]


@pytest.mark.parametrize(
    ("averages", "cores", "status"),
    [((0.99, 9, 9), 2, "ok"), ((1.01, 0, 0), 2, "warn"), ((3.0, 0, 0), 8, "ok"), ((), 2, "ok")],
)
def test_load_above_half_of_the_cores_is_a_warning(monkeypatch, averages, cores, status):
    monkeypatch.setattr(environment, "load_average", lambda: averages)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert machine.load_check().status == status


@pytest.mark.parametrize(
    ("name", "status"), [("performance", "ok"), ("", "ok"), ("powersave", "warn")]
)
def test_a_governor_that_follows_the_load_is_a_warning(monkeypatch, name, status):
    monkeypatch.setattr(environment, "governor", lambda: name)
    assert machine.governor_check().status == status


@pytest.mark.parametrize(("virtualised", "status"), [(True, "warn"), (False, "ok"), (None, "ok")])
def test_a_virtual_machine_is_a_warning(monkeypatch, virtualised, status):
    processor = environment.Processor("Test CPU", virtualised)
    monkeypatch.setattr(environment, "read_processor", lambda: processor)
    check = machine.virtualisation_check()
    assert check.status == status
    assert status == "ok" or "ratios" in check.hint


def test_a_container_limit_below_the_cores_is_a_warning(monkeypatch):
    monkeypatch.setattr(environment, "cpu_quota", lambda: 0.5)
    check = machine.processor_check()
    assert check.status == "warn"
    assert "0.5 cores" in check.found


@pytest.mark.parametrize(("available", "status"), [(1 * 2**30, "warn"), (3 * 2**30, "ok")])
def test_little_memory_is_a_warning(monkeypatch, available, status):
    memory = namedtuple("Memory", "available total")(available, 16 * 2**30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    assert machine.memory_check().status == status


def test_a_full_or_closed_store_is_a_warning(monkeypatch, tmp_path):
    store = tmp_path / "not" / "yet" / "there"
    assert machine.disk_check(store).status == "ok"
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 2**20))
    assert machine.disk_check(store).status == "warn"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    closed = machine.disk_check(store)
    assert (closed.status, str(tmp_path) in closed.found) == ("warn", True)


def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine.cache_check().status == "ok"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert machine.cache_check().status == "warn"


def test_clock_steps_are_those_of_the_counter(monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr(limits.time, "perf_counter_ns", lambda: next(ticks) // 10 * 15_000_000)
    assert limits.clock_step_seconds(5) == pytest.approx(0.015)
    check = machine.clock_check()
    assert (check.status, check.found) == ("warn", "steps of 15000000 ns")


def test_nearest_folder_is_the_path_or_what_is_above_it(tmp_path):
    (tmp_path / "file").write_text("")
    assert machine.nearest_folder(tmp_path) == tmp_path
    assert machine.nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert machine.nearest_folder(tmp_path / "file") == tmp_path


def test_blas_kernels_chosen_by_hand_are_a_warning_that_names_the_variables(monkeypatch):
    monkeypatch.setattr(environment, "thread_pools", lambda: (BLAS,))
    for name in software.BLAS_OVERRIDES:
        monkeypatch.delenv(name, raising=False)
    assert software.blas_check() == Check("blas", "ok", "OpenBLAS 0.3 Zen, 2 threads")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    forced = software.blas_check()
    assert forced.status == "warn"
    assert "OPENBLAS_L2_SIZE=512" in forced.found
    assert "unset OPENBLAS_L2_SIZE" in forced.hint
    assert "OPENBLAS_CORETYPE" not in forced.hint


def test_an_unknown_blas_is_a_warning(monkeypatch):
    monkeypatch.setattr(environment, "thread_pools", tuple)
    assert software.blas_check().status == "warn"


def test_a_library_that_is_not_installed_is_missing():
    assert software.package_check("numpy").status == "ok"
    check = software.package_check("no-such-library")
    assert (check.status, check.hint) == ("missing", "pip install no-such-library")


def test_an_old_python_is_a_warning(monkeypatch):
    assert software.python_check().status == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 10, 2, "final", 0))
    check = software.python_check()
    assert check.status == "warn"
    assert check.found.endswith("3.10.2")


class CpuOnlyEngine:
    def availability(self, device):
        if device == "cpu":
            return Availability(True)
        return Availability(False, "no CUDA device", "use --device cpu")


class BrokenEngine:
    def availability(self, device):
        raise OSError(f"{device} broke")


def test_engines_are_asked_for_both_devices_and_none_hides_another(monkeypatch):
    # The package's own __init__ may hold a function of that name.
    registry = importlib.import_module("benchctl.plan.registry")

    def load(name):
        if name == "gone":
            raise ImportError("no module named gone")
        return {"cpu_only": CpuOnlyEngine, "broken": BrokenEngine}[name]()

    monkeypatch.setattr(registry, "engine_names", lambda: ["gone", "broken", "cpu_only"])
    monkeypatch.setattr(registry, "load_engine", load)
    checks = by_name(software.engine_checks())
    assert checks["engine gone"].status == "warn"
    assert "no module named gone" in checks["engine gone"].found
    assert checks["engine broken on gpu"].found == "OSError: gpu broke"
    assert checks["engine cpu_only on cpu"].status == "ok"
    assert checks["engine cpu_only on gpu"] == Check(
        "engine cpu_only on gpu", "missing", "no CUDA device", "use --device cpu"
    )


ALL = frozenset({"nvrtc", "cublasLt", "cudnn", "cudnn frontend"})
CUPY_12, CUPY_13 = ("cupy-cuda12x", "14.1"), ("cupy-cuda13x", "14.1")


@pytest.mark.parametrize(
    ("installed", "driver", "status", "hint"),
    [
        ((), None, "missing", "gpu-cuda13"),
        ((), CUDA_12, "missing", "pip install 'benchctl[gpu-cuda12]'"),
        ((), CUDA_13, "missing", "pip install 'benchctl[gpu-cuda13]'"),
        ((CUPY_12,), CUDA_12, "ok", ""),
        ((CUPY_12,), CUDA_13, "ok", ""),
        ((CUPY_13,), CUDA_13, "ok", ""),
        ((CUPY_13,), CUDA_12, "warn", "gpu-cuda12"),
        ((CUPY_12, CUPY_13), CUDA_13, "warn", "pip uninstall cupy-cuda12x cupy-cuda13x"),
    ],
)
def test_cupy_must_be_there_once_and_fit_the_driver(installed, driver, status, hint):
    check = by_piece(diagnosis.judged(Found(driver, installed, bool(installed), ALL)))["cupy"]
    assert check.status == status
    assert hint in check.hint


@pytest.mark.parametrize(
    ("library", "cupy", "status", "hint"),
    [
        ("nvrtc", CUPY_13, "missing", "pip install nvidia-cuda-nvrtc"),
        ("nvrtc", CUPY_12, "missing", "pip install nvidia-cuda-nvrtc-cu12"),
        ("cublasLt", CUPY_12, "missing", "pip install nvidia-cublas-cu12"),
        ("cudnn", CUPY_13, "warn", "pip install nvidia-cudnn-cu13"),
        ("cudnn frontend", CUPY_13, "warn", "nvidia-cudnn-frontend>=1.23,<1.27"),
    ],
)
def test_each_missing_library_is_named_with_the_command_that_brings_it(library, cupy, status, hint):
    found = Found(CUDA_13, (cupy,), True, ALL - {library})
    checks = by_piece(diagnosis.judged(found))
    assert checks[library].status == status
    assert hint in checks[library].hint
    others = [check for name, check in checks.items() if name != library]
    assert {check.status for check in others} == {"ok"}


def test_a_gpu_without_a_driver_is_missing_piece_by_piece():
    checks = diagnosis.judged(Found(None, (), False, frozenset()))
    assert [check.piece for check in checks] == ["gpu driver", "gpu device", "cupy"]
    assert {check.status for check in checks} == {"missing"}
    assert "benchctl[gpu-cuda12]" in checks[2].hint
    assert "benchctl[gpu-cuda13]" in checks[2].hint


def test_a_kernel_is_run_in_a_process_of_its_own_and_its_words_are_shown(monkeypatch):
    monkeypatch.setattr(diagnosis, "look", lambda: Found(CUDA_13, (CUPY_13,), True, ALL))
    checks = by_name(gpu.gpu_checks())
    if "gpu kernel" not in checks or checks["gpu kernel"].status == "ok":
        pytest.skip("a GPU is here")
    # This machine has no GPU: the probe says why in one line, whatever is installed.
    assert checks["gpu kernel"].status == "warn"
    assert "cupy" in checks["gpu kernel"].found or "CUDA" in checks["gpu kernel"].found


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ("card, compute capability 9.0", "70.00 GiB of 79.10 GiB free", "5 GFLOP/s fp32"),
            {"gpu kernel": "ok", "gpu memory": "ok", "gpu limits": "ok"},
        ),
        (
            ("card", "312.0 MiB of 79.10 GiB free", "not measured: too little memory"),
            {"gpu kernel": "ok", "gpu memory": "warn", "gpu limits": "warn"},
        ),
    ],
)
def test_what_the_probe_says_is_a_finding_a_line(monkeypatch, lines, expected):
    made = subprocess.CompletedProcess((), 0, "\n".join(lines) + "\n", "")
    monkeypatch.setattr(diagnosis.subprocess, "run", lambda *_, **__: made)
    findings = by_piece(diagnosis.probed_findings())
    assert {piece: each.status for piece, each in findings.items()} == expected
    assert [each.found for each in findings.values()] == list(lines)
    assert all(each.hint for each in findings.values() if each.status == "warn")


FAKE_DRIVER = """
#include <stddef.h>
#include <string.h>
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuInit(unsigned flags) { return RESULT; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal + 7; return 0; }
int cuDeviceGetName(char *name, int length, int device)
{ strncpy(name, device == 7 ? "First" : "Second", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)device << 30; return 0; }
"""


@pytest.mark.parametrize("error", [0, 100])
def test_the_driver_is_asked_through_its_c_interface(monkeypatch, tmp_path, error):
    source, library = tmp_path / "driver.c", tmp_path / "libcuda_fake.so"
    source.write_text(FAKE_DRIVER.replace("RESULT", str(error)))
    try:
        build = ["cc", "-shared", "-fPIC", "-o", str(library), str(source)]
        subprocess.run(build, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no C compiler to build a driver with")
    monkeypatch.setattr(detection, "DRIVER_LIBRARIES", (str(library),))
    found = detection.look()
    devices = (DeviceFound("First", 7 * 2**30), DeviceFound("Second", 8 * 2**30))
    assert found.driver == DriverFound((12, 4), error, () if error else devices)
    check = by_piece(diagnosis.judged(found))["gpu device"]
    if error:
        assert (check.status, "100" in check.found) == ("missing", True)
    else:
        words = "gpu:0 First (7 GiB), gpu:1 Second (8 GiB)"
        assert check == DeviceFinding("gpu device", "ok", words)
    state = availability.device_availability("gpu:2")
    assert not state.ok
    assert ("no CUDA device 2" in state.reason) == (not error)
