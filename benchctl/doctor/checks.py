"""All checks in the order they are shown; read-only, and none can stop another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchctl.doctor import gpu, machine, software
from benchctl.doctor.check import Check
from benchctl.store.locations import DEFAULT_STORE

__all__ = ["Check", "run_checks"]

Checker = Callable[[], Check | list[Check]]


def run_checks(store: Path = DEFAULT_STORE) -> list[Check]:
    """What disturbs measurements here and what is missing, with a hint each; never raises."""
    checkers: dict[str, Checker] = {
        "python": software.python_check,
        "numpy": partial(software.package_check, "numpy"),
        "numba": partial(software.package_check, "numba"),
        "blas": software.blas_check,
        "processor": machine.processor_check,
        "load": machine.load_check,
        "frequency governor": machine.governor_check,
        "virtualisation": machine.virtualisation_check,
        "clock": machine.clock_check,
        "limits": machine.limits_check,
        "memory": machine.memory_check,
        "store": partial(machine.disk_check, store),
        "kernel cache": machine.cache_check,
        "gpu": gpu.gpu_checks,
        "engines": software.engine_checks,
    }
    found: list[Check] = []
    for name, checker in checkers.items():
        found.extend(run_check(name, checker))
    return found


def run_check(name: str, checker: Checker) -> list[Check]:
    """The findings of one check; one that fails is itself a warning."""
    try:
        found = checker()
    except Exception as error:
        problem = software.first_line(f"could not be checked: {type(error).__name__}: {error}")
        return [Check(name, "warn", problem, "the other checks are not affected; report this one")]
    return found if isinstance(found, list) else [found]
