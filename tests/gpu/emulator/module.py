"""Kernel text as a shared library, and its kernels as functions."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchctl_engines.devices.cuda.packing import packer
from benchctl_engines.gpu.driver import DeviceError

_FOLDER = Path(__file__).parent
_HEADERS = ("shim.h", "fibers.h")
_BOUNDS = r"__launch_bounds__\s*\(((?:[^(),]|\([^()]*\))*)[^()]*\)\s*"
_KERNEL = re.compile(rf"__global__\s+(?:void\s+)?(?:{_BOUNDS})?(?:void\s+)?(\w+)\s*\(")
FLAGS = (
    *("-std=c++17", "-O1", "-shared", "-fPIC", "-fno-exceptions", "-fno-rtti", "-w"),
    # A float sum is contracted by no one here, and float4 may be read from an array of float.
    *("-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing"),
    "-Wl,-z,start-stop-visibility=hidden",
)
CHECKS = "-fsanitize=alignment,bounds,signed-integer-overflow,integer-divide-by-zero,shift"
SANITIZERS = "-fsanitize=address,undefined"

_STACKS_BYTES = 1025 * (65536 + 1088)
_LARGEST_GRID = (2**31 - 1, 65535, 65535)
_LARGEST_BLOCK = (1024, 1024, 64)


class CompileError(DeviceError):
    """The compiler refused a text; the message is its own."""


@cache
def _machine_flags() -> tuple[str, ...]:
    """Fused multiply-add as an instruction where the machine has one."""
    facts = Path("/proc/cpuinfo")
    return ("-mfma",) if facts.exists() and re.search(r"\bfma\b", facts.read_text()) else ()


@cache
def _headers() -> str:
    return "".join((_FOLDER / name).read_text() for name in _HEADERS)


def cache_folder() -> Path:
    """Where libraries are kept between runs."""
    return Path(tempfile.gettempdir()) / f"benchctl-emulator-{os.getuid()}"


def kernels_in(source: str) -> list[tuple[str, str]]:
    """(name, most threads of a block) of every kernel, macros expanded."""
    expanded = _compiler(["-E", "-P", "-x", "c++", "-std=c++17", "-"], source)
    return [(name, bounds.strip() or "1024") for bounds, name in _KERNEL.findall(expanded)]


def build_library(source: str, sanitize: bool = False, extra: Sequence[str] = ()) -> Path:
    """The library of this text, built where there is none yet; raises `CompileError`."""
    sanitizing = (SANITIZERS, "-DEMU_SANITIZED", "-g") if sanitize else (CHECKS,)
    flags = [*FLAGS, *_machine_flags(), *sanitizing, *extra]
    key = hashlib.sha256("\0".join([_headers(), source, *flags]).encode()).hexdigest()[:24]
    library = cache_folder() / f"{key}.so"
    if library.exists():
        return library
    kernels = kernels_in(source)
    text = "\n".join(
        [
            '#include "fibers.h"',
            "namespace {",
            '#line 1 "kernel.cu"',
            source,
            "}",
            *(f"EMU_KERNEL({name}, ({bounds}))" for name, bounds in kernels),
        ]
    )
    library.parent.mkdir(exist_ok=True)
    making = library.with_suffix(f".{os.getpid()}")
    arguments = [*flags, f"-I{_FOLDER}", "-x", "c++", "-", "-o", str(making)]
    try:
        _compiler(arguments, text)
        making.rename(library)
    finally:
        making.unlink(missing_ok=True)
    return library


def _compiler(arguments: Sequence[str], text: str) -> str:
    made = subprocess.run(["g++", *arguments], input=text, capture_output=True, text=True)
    if made.returncode:
        raise CompileError(made.stderr.strip())
    return made.stdout


@cache
def _stacks() -> Any:
    """Memory for the stacks of 1024 threads, touched only as far as they are used."""
    return np.empty(_STACKS_BYTES, np.uint8)


class EmulatedModule:
    """The kernels of one text; `driver` is told of each launch."""

    def __init__(self, driver: Any, source: str) -> None:
        self._driver = driver
        self.source = source
        self.compiled = ctypes.CDLL(str(build_library(source, driver.sanitize)))
        self.compiled.emu_fault.restype = ctypes.c_char_p
        self.compiled.emu_fault_file.restype = ctypes.c_char_p
        self._functions: dict[tuple[str, str], EmulatedFunction] = {}

    def function(self, name: str, signature: str) -> EmulatedFunction:
        """A kernel; raises `DeviceError` where it is not there or takes other arguments."""
        key = (name, signature)
        if key not in self._functions:
            self._functions[key] = EmulatedFunction(self._driver, self.compiled, name, signature)
        return self._functions[key]


class EmulatedFunction:
    """A kernel that runs when it is launched."""

    def __init__(self, driver: Any, library: Any, name: str, signature: str) -> None:
        self.name = name
        self._driver = driver
        self._library = library
        try:
            self._call = library[f"emu_launch_{name}"]
        except AttributeError:
            raise DeviceError(f"no kernel {name} in this module") from None
        letters = library[f"emu_letters_{name}"]
        letters.restype = ctypes.c_char_p
        declared = letters().decode()
        if declared != signature:
            raise DeviceError(f"{name} is declared with {declared!r}, asked for with {signature!r}")
        self._bounds = int(library[f"emu_bounds_{name}"]())
        self._pack = packer(signature).pack
        self._pointers = [i for i, letter in enumerate(signature) if letter == "P"]

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[int | float],
        shared_bytes: int = 0,
    ) -> None:
        """Run, or record, one launch; raises `DeviceError` for what CUDA refuses."""
        self._check_sizes(grid, block, shared_bytes)
        try:
            packed = self._pack(*arguments)
        except struct.error as error:
            raise DeviceError(f"{self.name}: {error}, arguments {list(arguments)}") from None
        pointers = [arguments[i] for i in self._pointers]
        sizes = (ctypes.c_uint * 6)(*grid, *block)
        self._driver.issue(self.name, lambda: self._run(sizes, packed, pointers))

    def _check_sizes(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], shared_bytes: int
    ) -> None:
        threads = block[0] * block[1] * block[2]
        fits = all(
            1 <= size <= largest
            for size, largest in zip(
                (*grid, *block), (*_LARGEST_GRID, *_LARGEST_BLOCK), strict=True
            )
        )
        if not fits or threads > min(1024, self._bounds):
            raise DeviceError(
                f"{self.name}: invalid launch, grid {grid}, block {block}, compiled for at most "
                f"{self._bounds} threads a block"
            )
        if shared_bytes:
            raise DeviceError(f"{self.name}: kernels declare their shared memory themselves")

    def _run(self, sizes: Any, packed: bytes, pointers: Sequence[Any]) -> None:
        for pointer in pointers:
            if pointer:
                self._driver.memory.touch(pointer, what=self.name)
        stacks, driver = ctypes.c_void_p(_stacks().ctypes.data), self._driver
        seed = ctypes.c_ulong(driver.seed)
        if self._call(sizes, packed, stacks, driver.reverse, seed):
            library = self._library
            place = f"{library.emu_fault_file().decode()}:{library.emu_fault_line()}"
            raise DeviceError(f"{self.name}: {library.emu_fault().decode()} ({place})")
