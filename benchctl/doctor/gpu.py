"""Checks of the GPU: driver, device, CuPy and the CUDA libraries, each piece its own line.

Where all is there a process of its own runs one kernel, since a driver too old for a library or a
full card shows only then.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from benchctl.doctor.check import Check, CheckStatus
from benchctl.measure.environment import GIBIBYTE
from benchctl_engines.devices.cuda.detection import Found, Problem, look, problems

_PROBE = "benchctl_engines.devices.cuda.probe"
_PROBE_SECONDS = 120.0
_PIECES = ("gpu driver", "gpu device", "cupy", "nvrtc", "cublasLt", "cudnn", "cudnn frontend")


def gpu_checks() -> list[Check]:
    """Driver, device, CuPy, libraries, and one kernel where all of them are there."""
    found = look()
    checks = judge(found)
    if found.driver is not None and not any(each.needed for each in problems(found)):
        checks.append(kernel_check())
    if found.driver is not None:
        checks.append(clocks_check())
    return checks


def judge(found: Found) -> list[Check]:
    """A finding for each piece that can be judged: without CuPy its libraries are not asked for."""
    troubled = {each.piece: each for each in problems(found)}
    checks = []
    for piece in _PIECES:
        if piece in troubled:
            checks.append(_check(troubled[piece]))
        elif piece == "gpu device" and found.driver is None:
            hint = "all else runs with --device cpu"
            checks.append(Check(piece, "missing", "none without a driver", hint))
        elif piece in ("gpu driver", "gpu device", "cupy") or found.cupy or found.cupy_importable:
            checks.append(Check(piece, "ok", _words(piece, found)))
    return checks


def _check(problem: Problem) -> Check:
    """CuPy that is there and wrong is a warning, as is what is only slower without."""
    absent = problem.needed and problem.found.endswith(("not installed", "not found)"))
    status: CheckStatus = "missing" if absent or problem.piece == "gpu device" else "warn"
    return Check(problem.piece, status, problem.found, problem.hint)


def _words(piece: str, found: Found) -> str:
    driver = found.driver
    if piece == "gpu driver" and driver is not None:
        return f"runs CUDA {driver.cuda[0]}.{driver.cuda[1]} and older"
    if piece == "gpu device" and driver is not None:
        devices = [f"{d.name} ({d.memory_bytes / GIBIBYTE:.0f} GiB)" for d in driver.devices]
        return ", ".join(f"gpu:{index} {words}" for index, words in enumerate(devices))
    if piece == "cupy":
        return ", ".join(f"{name} {version}" for name, version in found.cupy) or "unknown version"
    return "installed"


def kernel_check() -> Check:
    """Whether a kernel runs on the first GPU, tried in a process of its own."""
    command = [sys.executable, "-m", _PROBE, "0"]
    hint = "the message is CUDA's own; benchctl needs the driver, cupy and libraries to agree"
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return Check("gpu kernel", "warn", f"none ran within {_PROBE_SECONDS:.0f} s", hint)
    lines = [line for line in (made.stdout or made.stderr).splitlines() if line.strip()]
    words = lines[-1] if lines else f"the process ended with status {made.returncode}"
    if made.returncode:
        return Check("gpu kernel", "warn", words, hint)
    return Check("gpu kernel", "ok", words)


def clocks_check() -> Check:
    """Whether clocks and throttling can be watched."""
    if find_spec("pynvml") is not None:
        return Check("gpu clocks", "ok", "watched through nvidia-ml-py")
    hint = "pip install nvidia-ml-py"
    return Check("gpu clocks", "warn", "not watched: nvidia-ml-py is not installed", hint)
