"""Each piece that a GPU needs as a finding of its own, for `benchctl doctor`.

Where all is there a process of its own runs one kernel, since a driver too old for a library or a
full card shows only then.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from ...contract import DeviceFinding
from .detection import Found, Problem, look, problems

PROBED = ("gpu kernel", "gpu memory", "gpu limits")
"""What a line of the probe says each."""

_PROBE = f"{__package__}.probe"
_PROBE_SECONDS = 120.0
_PIECES = ("gpu driver", "gpu device", "cupy", "nvrtc", "cublasLt", "cudnn", "cudnn frontend")
_GIBIBYTE = 2**30


def gpu_findings() -> tuple[DeviceFinding, ...]:
    """Driver, device, CuPy and libraries; then one kernel, and whether clocks can be watched."""
    found = look()
    findings = judged(found)
    if found.driver is not None:
        if not any(each.needed for each in problems(found)):
            findings += probed_findings()
        findings.append(clocks_finding())
    return tuple(findings)


def judged(found: Found) -> list[DeviceFinding]:
    """A finding for each piece that can be judged: without CuPy its libraries are not asked for."""
    troubled = {each.piece: each for each in problems(found)}
    findings = []
    for piece in _PIECES:
        if piece in troubled:
            findings.append(_finding(troubled[piece]))
        elif piece == "gpu device" and found.driver is None:
            hint = "all else runs with --device cpu"
            findings.append(DeviceFinding(piece, "missing", "none without a driver", hint))
        elif piece in ("gpu driver", "gpu device", "cupy") or found.cupy or found.cupy_importable:
            findings.append(DeviceFinding(piece, "ok", _words(piece, found)))
    return findings


def _finding(problem: Problem) -> DeviceFinding:
    """What is there and wrong is a warning, as is what is only slower without."""
    missing = problem.needed and not problem.present
    return DeviceFinding(
        problem.piece, "missing" if missing else "warn", problem.found, problem.hint
    )


def _words(piece: str, found: Found) -> str:
    driver = found.driver
    if piece == "gpu driver" and driver is not None:
        return f"runs CUDA {driver.cuda[0]}.{driver.cuda[1]} and older"
    if piece == "gpu device" and driver is not None:
        sizes = [
            f"{each.name} ({each.memory_bytes / _GIBIBYTE:.0f} GiB)" for each in driver.devices
        ]
        return ", ".join(f"gpu:{index} {words}" for index, words in enumerate(sizes))
    if piece == "cupy":
        return ", ".join(f"{name} {version}" for name, version in found.cupy) or "unknown version"
    return "installed"


def probed_findings() -> list[DeviceFinding]:
    """Whether a kernel runs on the first GPU, and then its memory and rates; in an own process."""
    command = [sys.executable, "-m", _PROBE, "0"]
    hint = "the words are CUDA's: driver, cupy and libraries have to agree"
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return [DeviceFinding("gpu kernel", "warn", f"none ran in {_PROBE_SECONDS:.0f} s", hint)]
    lines = [line for line in (made.stdout or made.stderr).splitlines() if line.strip()]
    if made.returncode:
        words = lines[-1] if lines else f"the process ended with status {made.returncode}"
        return [DeviceFinding("gpu kernel", "warn", words, hint)]
    return [_probed(piece, words) for piece, words in zip(PROBED, lines, strict=False)]


def _probed(piece: str, words: str) -> DeviceFinding:
    if piece == "gpu memory" and words.split()[1] == "MiB":
        hint = "less than a GiB is free: end what else uses the GPU (nvidia-smi shows it)"
        return DeviceFinding(piece, "warn", words, hint)
    if words.startswith("not measured"):
        return DeviceFinding(piece, "warn", words, "rooflines need them; the pieces above say more")
    return DeviceFinding(piece, "ok", words)


def clocks_finding() -> DeviceFinding:
    """Whether clocks and throttling can be watched."""
    if find_spec("pynvml") is not None:
        return DeviceFinding("gpu clocks", "ok", "watched through nvidia-ml-py")
    hint = "pip install nvidia-ml-py"
    return DeviceFinding("gpu clocks", "warn", "not watched: nvidia-ml-py is not installed", hint)
