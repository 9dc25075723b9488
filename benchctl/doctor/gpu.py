"""Checks of the GPU: driver, device and CuPy, each piece its own line.

The driver is asked through its C interface, so nothing has to be installed for the answer.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from benchctl.doctor.check import Check
from benchctl.measure import environment
from benchctl.measure.environment import GIBIBYTE

DRIVER_LIBRARIES = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")
CUPY_DISTRIBUTIONS = ("cupy-cuda12x", "cupy-cuda13x", "cupy")
EITHER_EXTRA = "pip install 'benchctl[gpu-cuda12]', or 'benchctl[gpu-cuda13]' for a CUDA 13 driver"
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU as its driver names it."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Driver:
    """What the driver says: `cuda` is the newest CUDA it runs, `error` the code of cuInit."""

    cuda: tuple[int, int]
    error: int
    devices: tuple[Device, ...]


def gpu_checks() -> list[Check]:
    """Driver, device and CuPy."""
    driver = read_driver()
    return [driver_check(driver), device_check(driver), cupy_check(driver)]


def driver_check(driver: Driver | None) -> Check:
    """Whether a CUDA driver is installed."""
    if driver is None:
        hint = "for --device gpu: an NVIDIA GPU with its driver; all else runs with --device cpu"
        return Check("gpu driver", "missing", "no CUDA driver (libcuda)", hint)
    return Check("gpu driver", "ok", f"runs CUDA {driver.cuda[0]}.{driver.cuda[1]} and older")


def device_check(driver: Driver | None) -> Check:
    """Whether the driver has a GPU to offer."""
    if driver is not None and driver.devices:
        found = ", ".join(f"{d.name} ({d.memory_bytes / GIBIBYTE:.0f} GiB)" for d in driver.devices)
        return Check("gpu device", "ok", found)
    if driver is None:
        return Check("gpu device", "missing", "none without a driver", "use --device cpu")
    found = f"no CUDA device (the driver answers {driver.error})"
    hint = "see nvidia-smi and CUDA_VISIBLE_DEVICES, or use --device cpu"
    return Check("gpu device", "missing", found, hint)


def cupy_check(driver: Driver | None) -> Check:
    """Whether CuPy is installed, once, and for a CUDA that the driver runs."""
    installed = [
        (name, version)
        for name in CUPY_DISTRIBUTIONS
        if (version := environment.distribution_version(name))
    ]
    return judge_cupy(installed, find_spec("cupy") is not None, driver)


def judge_cupy(
    installed: Sequence[tuple[str, str]], importable: bool, driver: Driver | None
) -> Check:
    """The finding for these CuPy distributions (name, version) under this driver."""
    if not installed and not importable:
        return Check("cupy", "missing", "not installed", install_hint(driver))
    found = ", ".join(f"{name} {version}" for name, version in installed) or "unknown version"
    if len(installed) > 1:
        hint = f"they overwrite each other: pip uninstall {' '.join(name for name, _ in installed)}"
        return Check("cupy", "warn", found, f"{hint}, then {install_hint(driver)}")
    newest = driver.cuda[0] if driver is not None else None
    if newest is not None and newest < 13 and any(name == "cupy-cuda13x" for name, _ in installed):
        hint = f"the driver runs CUDA {newest} only: {install_hint(driver)}"
        return Check("cupy", "warn", found, hint)
    return Check("cupy", "ok", found)


def install_hint(driver: Driver | None) -> str:
    """The extra to install for this driver."""
    if driver is None:
        return EITHER_EXTRA
    return f"pip install 'benchctl[gpu-cuda{13 if driver.cuda[0] >= 13 else 12}]'"


def read_driver() -> Driver | None:
    """What the CUDA driver of this machine says, None where there is none."""
    library = _load_driver()
    if library is None:
        return None
    version = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    # The driver counts 12040 for CUDA 12.4.
    cuda = (version.value // 1000, version.value % 1000 // 10)
    error = int(library.cuInit(0))
    return Driver(cuda, error, () if error else _read_devices(library))


def _read_devices(library: ctypes.CDLL) -> tuple[Device, ...]:
    count = ctypes.c_int(0)
    library.cuDeviceGetCount(ctypes.byref(count))
    return tuple(_read_device(library, ordinal) for ordinal in range(count.value))


def _read_device(library: ctypes.CDLL, ordinal: int) -> Device:
    handle = ctypes.c_int(0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    memory = ctypes.c_size_t(0)
    library.cuDeviceGet(ctypes.byref(handle), ordinal)
    library.cuDeviceGetName(name, _NAME_BYTES, handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    return Device(name.value.decode(errors="replace"), memory.value)


def _load_driver() -> ctypes.CDLL | None:
    for name in DRIVER_LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
