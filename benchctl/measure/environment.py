"""What decides the speed of a machine and its software, as far as can be read without measuring.

Nothing here names the machine, its user or their folders: records are shared.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

SPEED_PREFIXES = (
    "BLIS_",
    "CUDA_",
    "GOMP_",
    "KMP_",
    "MALLOC_",
    "MKL_",
    "NUMBA_",
    "NPY_",
    "OMP_",
    "OPENBLAS_",
    "PYTHONMALLOC",
    "PYTHONOPTIMIZE",
    "VECLIB_",
    "XLA_",
)
"""Environment variables that change how fast engines run begin so."""

DISTRIBUTIONS = ("benchctl", "numpy", "numba", "llvmlite", "scipy", "cupy-cuda12x", "cupy-cuda13x")
GIBIBYTE = 2**30
_GIT_TIMEOUT_SECONDS = 10.0
_PROCESS_TIMEOUT_SECONDS = 60.0
_SYSTEM = Path("/")


@dataclass(frozen=True, slots=True)
class Processor:
    """Model name of the processor, and whether a hypervisor lies between (None: not told).

    `version` tells generations apart that a hypervisor gives one name; empty where not told.
    """

    model: str
    virtualised: bool | None
    version: str = ""


def machine_facts() -> dict[str, Any]:
    """The stable facts; `id` is a short hash of those that no restart or update changes.

    `memory_bytes` is rounded to whole GiB: what the kernel keeps for itself varies.
    """
    import psutil

    processor = read_processor()
    logical = psutil.cpu_count(logical=True) or 1
    identity = {
        "cpu": processor.model,
        "cpu_version": processor.version,
        "cores": logical,
        "memory_bytes": round(psutil.virtual_memory().total / GIBIBYTE) * GIBIBYTE,
        "architecture": platform.machine(),
        "os": platform.system(),
    }
    return {
        "id": fingerprint(identity),
        **identity,
        "physical_cores": psutil.cpu_count(logical=False) or logical,
        "virtualised": processor.virtualised,
    }


def fingerprint(facts: Mapping[str, Any]) -> str:
    """12 hex digits that differ where any fact does."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def volatile_facts(threads: int, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What may differ between two runs on one machine: load, threads, governor, variables.

    `variables` is the environment that workers get, where it is not this process's own.

    `threads` is what the run asks of each engine, `blas` and `thread_pools` what the libraries are
    set to now; `load_average` over 1, 5 and 15 minutes; `cpu_quota` in cores, None without limit.
    """
    pools = thread_pools() if variables is None else thread_pools_under(variables)
    return {
        "threads": threads,
        "load_average": load_average(),
        "governor": governor(),
        "affinity": affinity(),
        "cpu_quota": cpu_quota(),
        "environment": speed_variables(os.environ if variables is None else variables),
        "blas": blas_words(pools),
        "thread_pools": pools,
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "python_implementation": platform.python_implementation(),
    }


def software_versions() -> dict[str, str]:
    """Versions of Python and of the installed distributions that decide the harness's speed."""
    versions = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        version = distribution_version(name)
        if version:
            versions[name] = version
    return versions


def distribution_version(name: str) -> str:
    """The installed version of a distribution, empty where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def git_facts(path: Path) -> dict[str, Any]:
    """`revision`, its `committed` time and whether tracked files are `dirty`.

    Empty without git or outside a repository.
    """
    head = _git(path, "log", "-1", "--format=%H %cI")
    if head is None:
        return {}
    revision, _, committed = head.partition(" ")
    changes = _git(path, "status", "--porcelain", "--untracked-files=no")
    return {"revision": revision, "committed": committed, "dirty": changes != ""}


def _git(path: Path, *arguments: str) -> str | None:
    """What git prints, None where it cannot answer; takes no lock on the repository."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(path), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def speed_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that change speed, in alphabetical order, the user's folder as ~."""
    home = environment.get("HOME", "")
    return {
        name: value.replace(home, "~") if len(home) > 1 else value
        for name, value in sorted(environment.items())
        if name.startswith(SPEED_PREFIXES)
    }


def thread_pools() -> tuple[dict[str, Any], ...]:
    """Each BLAS and thread pool that NumPy loads: name, version, kernel family, threads."""
    try:
        import numpy  # noqa: F401  (loads the libraries that are asked for)
        import threadpoolctl

        found = threadpoolctl.threadpool_info()
    except ImportError:
        return ()
    return tuple(
        {
            "name": str(each.get("internal_api", "")),
            "api": str(each.get("user_api", "")),
            "version": str(each.get("version") or ""),
            "architecture": str(each.get("architecture") or ""),
            "threads": int(each.get("num_threads") or 0),
            "threading": str(each.get("threading_layer") or ""),
        }
        for each in found
    )


def thread_pools_under(variables: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    """The thread pools of a new Python process with these environment variables."""
    question = f"import json, {__name__} as facts; print(json.dumps(facts.thread_pools()))"
    try:
        answer = subprocess.run(
            [sys.executable, "-c", question],
            capture_output=True,
            text=True,
            timeout=_PROCESS_TIMEOUT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            env=dict(variables),
        )
        return tuple(json.loads(answer.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


def blas_words(pools: Sequence[Mapping[str, Any]]) -> str:
    """The first BLAS in words: `OpenBLAS 0.3.31 Haswell`; empty where none is known."""
    for pool in pools:
        if pool["api"] == "blas":
            name = {"openblas": "OpenBLAS", "mkl": "MKL", "blis": "BLIS"}.get(pool["name"])
            version = ".".join(str(pool["version"]).split(".")[:3])
            return " ".join(
                word for word in (name or pool["name"], version, pool["architecture"]) if word
            )
    return ""


def read_processor() -> Processor:
    """The processor of this machine."""
    text = read_text(_SYSTEM / "proc/cpuinfo")
    if text:
        return parse_cpuinfo(text)
    if platform.system() == "Darwin":
        return Processor(_sysctl("machdep.cpu.brand_string"), _sysctl("kern.hv_vmm_present") == "1")
    return Processor(platform.processor() or platform.machine() or "unknown", None)


def parse_cpuinfo(text: str) -> Processor:
    """The processor that the text of /proc/cpuinfo describes.

    Arm kernels give part numbers rather than a name, and no sign of a hypervisor.
    """
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        values.setdefault(name.strip(), value.strip())
    model = values.get("model name") or values.get("Model") or values.get("Hardware")
    if not model and "CPU part" in values:
        implementer = values.get("CPU implementer", "unknown")
        model = f"Arm implementer {implementer} part {values['CPU part']}"
    flags = values.get("flags")
    return Processor(
        model or platform.machine() or "unknown",
        None if flags is None else "hypervisor" in flags.split(),
        " ".join(
            f"{word} {values[name]}"
            for word, name in (
                ("family", "cpu family"),
                ("model", "model"),
                ("stepping", "stepping"),
            )
            if name in values
        ),
    )


def load_average() -> tuple[float, ...]:
    """Running tasks, averaged over 1, 5 and 15 minutes; empty where the system has none."""
    try:
        return tuple(round(each, 2) for each in os.getloadavg())
    except OSError:
        return ()


def governor() -> str:
    """The frequency governor of the first core, empty where it is not exposed."""
    return read_text(_SYSTEM / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip()


def affinity() -> tuple[int, ...]:
    """The cores this process may use, empty where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(os.sched_getaffinity(0)))


def cpu_quota() -> float | None:
    """The container's limit in cores' worth of time, None without one."""
    return parse_cpu_max(read_text(_SYSTEM / "sys/fs/cgroup/cpu.max"))


def parse_cpu_max(text: str) -> float | None:
    """Cores that a `cpu.max` file of control groups grants: "200000 100000" is 2.0."""
    parts = text.split()
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or int(parts[1]) == 0:
        return None
    return int(parts[0]) / int(parts[1])


def read_text(path: Path) -> str:
    """A small file of the system, empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _sysctl(name: str) -> str:
    try:
        answer = subprocess.run(
            ["sysctl", "-n", name], capture_output=True, text=True, timeout=5.0, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()
