"""What a GPU needs here and what of it is missing, found without importing or opening anything.

The order is that in which the pieces need each other: driver, device, CuPy, the CUDA libraries of
its major version, then what is only faster with it. The driver is asked through its C interface.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from .libraries import has_library

DRIVER_LIBRARIES = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")

CUPY_DISTRIBUTIONS = {"cupy-cuda12x": 12, "cupy-cuda13x": 13, "cupy": None}
"""The CUDA that each is built for; `cupy` is built on the machine for what is there."""

EITHER_EXTRA = "pip install 'benchctl[gpu-cuda12]', or 'benchctl[gpu-cuda13]' for a CUDA 13 driver"
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class DeviceFound:
    """One GPU as its driver names it."""

    name: str
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class DriverFound:
    """What the driver says: `cuda` is the newest CUDA it runs, `error` the code of cuInit."""

    cuda: tuple[int, int]
    error: int
    devices: tuple[DeviceFound, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What is installed; `cupy` are (distribution, version), `libraries` those of its CUDA."""

    driver: DriverFound | None
    cupy: tuple[tuple[str, str], ...]
    cupy_importable: bool
    libraries: frozenset[str]

    @property
    def cupy_cuda(self) -> int | None:
        """The major version of the CUDA that CuPy is built for, where its name says so."""
        majors = [CUPY_DISTRIBUTIONS[name] for name, _ in self.cupy]
        return majors[0] if len(majors) == 1 else None


@dataclass(frozen=True, slots=True)
class Problem:
    """A piece that is missing, or `present` and wrong, what was found, and what helps.

    Without what is not `needed` the engines run with slower kernels.
    """

    piece: str
    found: str
    hint: str
    needed: bool = True
    present: bool = False


def look() -> Found:
    """What is there."""
    installed = tuple(
        (name, version) for name in CUPY_DISTRIBUTIONS if (version := distribution_version(name))
    )
    majors = [major for name, _ in installed if (major := CUPY_DISTRIBUTIONS[name])] or [13, 12]
    libraries = {each for each in ("nvrtc", "cublasLt") if has_library(each, majors)}
    if has_library("cudnn", (9,)):
        libraries.add("cudnn")
    if find_spec("cudnn") is not None:
        libraries.add("cudnn frontend")
    return Found(read_driver(), installed, find_spec("cupy") is not None, frozenset(libraries))


def problems(found: Found, index: int = 0) -> Iterator[Problem]:
    """What keeps GPU `index` from being used, in the order in which to mend it."""
    yield from driver_problems(found.driver, index)
    yield from cupy_problems(found)
    if found.cupy or found.cupy_importable:
        yield from library_problems(found)


def driver_problems(driver: DriverFound | None, index: int) -> Iterator[Problem]:
    """A driver that is missing, or has no such GPU."""
    if driver is None:
        yield Problem(
            "gpu driver",
            "no CUDA device: the NVIDIA driver is not installed (libcuda not found)",
            "for --device gpu: an NVIDIA GPU with its driver",
        )
    elif not driver.devices:
        yield Problem(
            "gpu device",
            f"no CUDA device (the driver answers {driver.error})",
            "see nvidia-smi and CUDA_VISIBLE_DEVICES",
        )
    elif index >= len(driver.devices):
        count = len(driver.devices)
        others = "only gpu:0" if count == 1 else f"gpu:0 to gpu:{count - 1}"
        yield Problem(
            "gpu device", f"no CUDA device {index}: the driver has {others}", f"choose {others}"
        )


def cupy_problems(found: Found) -> Iterator[Problem]:
    """CuPy missing, there twice, or for a newer CUDA than the driver runs."""
    extra = install_hint(found.driver)
    if not found.cupy and not found.cupy_importable:
        yield Problem("cupy", "no CUDA array library: cupy is not installed", extra)
    elif len(found.cupy) > 1:
        names = [name for name, _ in found.cupy]
        yield Problem(
            "cupy",
            f"{' and '.join(names)} are both installed and overwrite each other",
            f"pip uninstall {' '.join(names)}, then {extra}",
            present=True,
        )
    elif found.driver is not None and found.cupy_cuda is not None:
        newest = found.driver.cuda
        if newest[0] < found.cupy_cuda:
            yield Problem(
                "cupy",
                f"{found.cupy[0][0]} needs a driver for CUDA {found.cupy_cuda}, this one runs "
                f"CUDA {newest[0]}.{newest[1]} and older",
                f"pip uninstall {found.cupy[0][0]}, then {extra}, or a newer driver",
                present=True,
            )


def library_problems(found: Found) -> Iterator[Problem]:
    """CUDA libraries that CuPy does not bring along."""
    suffix = "-cu12" if found.cupy_cuda == 12 else ""
    cudnn = f"pip install nvidia-cudnn-cu{found.cupy_cuda or 13}"
    for library, words, hint, needed in (
        ("nvrtc", "NVRTC, which compiles kernels,", f"pip install nvidia-cuda-nvrtc{suffix}", True),
        ("cublasLt", "cuBLASLt, for products,", f"pip install nvidia-cublas{suffix}", True),
        ("cudnn", "cuDNN, for convolutions,", cudnn, False),
        (
            "cudnn frontend",
            "cuDNN's frontend",
            "pip install 'nvidia-cudnn-frontend>=1.23,<1.27'",
            False,
        ),
    ):
        if library not in found.libraries:
            rest = "" if needed else ": convolutions run on kernels of ours"
            yield Problem(library, f"{words} is not installed{rest}", hint, needed)


def install_hint(driver: DriverFound | None) -> str:
    """The extra to install for this driver."""
    if driver is None:
        return EITHER_EXTRA
    return f"pip install 'benchctl[gpu-cuda{13 if driver.cuda[0] >= 13 else 12}]'"


def distribution_version(name: str) -> str:
    """The installed version of a distribution, empty where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def read_driver() -> DriverFound | None:
    """What the CUDA driver of this machine says, None where there is none."""
    library = _load_driver()
    if library is None:
        return None
    version = ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    # The driver counts 12040 for CUDA 12.4.
    cuda = (version.value // 1000, version.value % 1000 // 10)
    error = int(library.cuInit(0))
    return DriverFound(cuda, error, () if error else _read_devices(library))


def _read_devices(library: ctypes.CDLL) -> tuple[DeviceFound, ...]:
    count = ctypes.c_int(0)
    library.cuDeviceGetCount(ctypes.byref(count))
    return tuple(_read_device(library, ordinal) for ordinal in range(count.value))


def _read_device(library: ctypes.CDLL, ordinal: int) -> DeviceFound:
    handle = ctypes.c_int(0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    memory = ctypes.c_size_t(0)
    library.cuDeviceGet(ctypes.byref(handle), ordinal)
    library.cuDeviceGetName(name, _NAME_BYTES, handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    return DeviceFound(name.value.decode(errors="replace"), memory.value)


def _load_driver() -> ctypes.CDLL | None:
    for name in DRIVER_LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
