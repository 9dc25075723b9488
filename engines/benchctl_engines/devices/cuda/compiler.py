"""CUDA text to machine code with NVRTC: neither a GPU nor a driver is asked for.

It shows that text compiles for a compute capability, how many registers a kernel takes and how
much it spills. At run time CuPy compiles the same text with the same `OPTIONS`.

`-ftz=true` is CuPy's own choice: results in float32 below 1.2e-38 become 0. Products and sums are
contracted to fused multiply-adds, NVRTC's default.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ...gpu.driver import DeviceError
from .libraries import include_folders, load_library

TEXT_OPTIONS = ("-std=c++17",)
"""What is asked of CuPy."""

OPTIONS = (*TEXT_OPTIONS, "-ftz=true", "--device-as-default-execution-space")
"""With what CuPy adds."""

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True, slots=True)
class KernelCost:
    """What ptxas says of a kernel, a thread's registers and stack and a block's shared memory."""

    name: str
    registers: int
    stack_bytes: int
    spill_bytes: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """Machine code for one compute capability."""

    cubin: bytes
    log: str
    kernels: tuple[KernelCost, ...]


def compile_cubin(source: str, architecture: int, options: Sequence[str] = OPTIONS) -> Compiled:
    """Compile for a compute capability such as 90; raises `DeviceError` with the compiler's words.

    Headers of CUDA are found where a wheel has brought them.
    """
    library = load_nvrtc()
    if library is None:
        raise DeviceError("NVRTC is not installed: pip install nvidia-cuda-nvrtc")
    flags = [*options, f"-arch=sm_{architecture}", "--ptxas-options=-v"]
    flags += [f"-I{folder}" for folder in include_folders()]
    program = ctypes.c_void_p()
    _check(
        library,
        library.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
        ),
    )
    try:
        words = (ctypes.c_char_p * len(flags))(*(each.encode() for each in flags))
        failed = library.nvrtcCompileProgram(program, len(flags), words)
        log = _text(library, program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        if failed:
            raise DeviceError(log.strip() or _words(library, failed))
        return Compiled(_text(library, program, "CUBIN"), log, kernel_costs(log))
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def kernel_costs(log: str) -> tuple[KernelCost, ...]:
    """What ptxas -v has written of each kernel."""
    parts = _ENTRY.split(log)
    return tuple(
        _kernel_cost(name, said) for name, said in zip(parts[1::2], parts[2::2], strict=True)
    )


def _kernel_cost(name: str, said: str) -> KernelCost:
    stack, used, shared = _STACK.search(said), _USED.search(said), _SHARED.search(said)
    if stack is None or used is None:
        raise DeviceError(f"ptxas says nothing of the registers of {name}: {said.strip()}")
    return KernelCost(
        name,
        int(used[1]),
        int(stack[1]),
        int(stack[2]) + int(stack[3]),
        int(shared[1]) if shared else 0,
    )


@cache
def load_nvrtc() -> Any:
    """NVRTC's library from a wheel or the system, None where there is none."""
    library = load_library("nvrtc")
    if library is not None:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


def nvrtc_version() -> str | None:
    """NVRTC's version, such as "13.0", None where there is none."""
    library = load_nvrtc()
    if library is None:
        return None
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


def _text(library: Any, program: Any, what: str) -> bytes:
    size = ctypes.c_size_t()
    _check(library, library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(library, library[f"nvrtcGet{what}"](program, buffer))
    return buffer.raw


def _check(library: Any, status: int) -> None:
    if status:
        raise DeviceError(f"NVRTC: {_words(library, status)}")


def _words(library: Any, status: int) -> str:
    return str(library.nvrtcGetErrorString(status).decode())
