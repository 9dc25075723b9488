"""A CUDA driver library that refuses every call, so that cuDNN loads on a machine without one.

cuDNN's run-time compiled engines link against libcuda.so.1 and look further functions up by name. A
stub with the linked ones alone makes them report a missing prerequisite, and plans seem not to
exist: every name of a driver function that occurs in cuDNN's libraries is exported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

NO_DEVICE = 100
"""CUDA_ERROR_NO_DEVICE, the answer of every function."""

_NAME = re.compile(rb"(?<=\0)cu[A-Z][A-Za-z0-9]*(?:_v\d+)?(?:_pt[sd][sz])?(?=\0)")
# Written out in the text, with arguments.
_TOLD = {
    "cuInit": f"int cuInit(unsigned f) {{ return {NO_DEVICE}; }}",
    "cuDriverGetVersion": "int cuDriverGetVersion(int *v) { *v = 13000; return 0; }",
    "cuGetErrorString": 'int cuGetErrorString(int e, const char **s) { *s = "none"; return 0; }',
}


class LibraryMissingError(RuntimeError):
    """A wheel that the plans need is not installed."""


def _folder(*parts: str) -> Path:
    """A folder of NVIDIA's wheels."""
    found = importlib.util.find_spec("nvidia")
    for root in (found.submodule_search_locations or ()) if found else ():
        folder = Path(root, *parts)
        if folder.is_dir():
            return folder
    raise LibraryMissingError(f"no folder nvidia/{'/'.join(parts)} among the installed packages")


def driver_functions(libraries: Iterable[Path]) -> set[str]:
    """Names of driver functions that occur as strings or symbols."""
    names: set[str] = set()
    for library in libraries:
        names.update(match.decode() for match in _NAME.findall(library.read_bytes()))
    return names


def stub_text(names: Iterable[str]) -> str:
    """The stub in C."""
    plain = sorted(set(names) - set(_TOLD))
    lines = [*_TOLD.values(), *(f"int {name}(void) {{ return {NO_DEVICE}; }}" for name in plain)]
    return "\n".join(lines) + "\n"


def load(folder: Path) -> int:
    """Build the stub in a folder, load it and what cuDNN needs; how many functions it exports.

    Whatever of this process asks for libcuda.so.1 from here on gets the stub.
    """
    libraries = _folder("cudnn", "lib")
    # The largest library holds kernels only and asks the driver for nothing.
    asking = [each for each in libraries.glob("libcudnn*.so.9") if "precompiled" not in each.name]
    names = driver_functions(asking)
    source, library = folder / "stub.c", folder / "libcuda.so.1"
    source.write_text(stub_text(names))
    command = ["gcc", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"]
    subprocess.run([*command, str(library), str(source)], check=True)
    toolkit = _folder("cu13", "lib")
    for each in (library, toolkit / "libnvrtc.so.13", toolkit / "libcublasLt.so.13"):
        ctypes.CDLL(str(each), mode=ctypes.RTLD_GLOBAL)
    return len(names | set(_TOLD))
