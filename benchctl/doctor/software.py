"""Checks of the software: Python, the numerical libraries, and every registered engine."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from benchctl.doctor.check import Check, passed_if
from benchctl.measure import environment

if TYPE_CHECKING:
    from benchctl_engines.contract import Engine

OLDEST_PYTHON = (3, 11)
BLAS_OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
DEVICES = ("cpu", "gpu")


def python_check() -> Check:
    """The Python that measures."""
    running = ".".join(str(part) for part in sys.version_info[:3])
    wanted = ".".join(str(part) for part in OLDEST_PYTHON)
    return passed_if(
        sys.version_info[:2] >= OLDEST_PYTHON,
        "python",
        f"{sys.implementation.name} {running}",
        f"benchctl is tested on CPython {wanted} and later",
    )


def package_check(name: str) -> Check:
    """Whether a library that benchctl needs is installed."""
    version = environment.distribution_version(name)
    if not version:
        return Check(name, "missing", "not installed", f"pip install {name}")
    return Check(name, "ok", version)


def blas_check() -> Check:
    """The BLAS that NumPy uses, and whether its kernels were chosen by hand."""
    pools = environment.thread_pools()
    words = environment.blas_words(pools)
    if not words:
        return Check(
            "blas", "warn", "not recognised", "matrix products may be slow: pip install numpy"
        )
    threads = next(pool["threads"] for pool in pools if pool["api"] == "blas")
    found = f"{words}, {threads} thread{'' if threads == 1 else 's'}"
    forced = [name for name in BLAS_OVERRIDES if os.environ.get(name)]
    return passed_if(
        not forced,
        "blas",
        found + "".join(f", {name}={os.environ[name]}" for name in forced),
        f"they can slow NumPy down more than 2x: unset {' '.join(forced)} for measurements",
    )


def engine_checks() -> list[Check]:
    """Whether each registered engine can run on each device; no engine hides another."""
    from benchctl.plan.registry import engine_names

    return [check for name in engine_names() for check in one_engine_checks(name)]


def one_engine_checks(name: str) -> list[Check]:
    """Whether one engine can run on each device of this machine."""
    from benchctl.plan.registry import load_engine

    try:
        engine = load_engine(name)
    except Exception as error:  # a plug-in may fail in any way
        return [failed_engine_check(f"engine {name}", error)]
    return [availability_check(engine, name, device) for device in DEVICES]


def availability_check(engine: Engine, name: str, device: str) -> Check:
    """What an engine says of one device."""
    title = f"engine {name} on {device}"
    try:
        available = engine.availability(device)
    except Exception as error:  # a plug-in may fail in any way
        return failed_engine_check(title, error)
    if available.ok:
        return Check(title, "ok", available.reason or "available")
    hint = available.hint or "choose another engine or device"
    return Check(title, "missing", available.reason or "not available", hint)


def failed_engine_check(title: str, error: Exception) -> Check:
    """The finding for an engine that raised an error instead of an answer."""
    hint = str(getattr(error, "hint", "")) or "reinstall or remove the package that brings it"
    message = str(getattr(error, "message", "")) or f"{type(error).__name__}: {error}"
    return Check(title, "warn", first_line(message), hint)


def first_line(text: str) -> str:
    """The first line of a message."""
    return text.strip().partition("\n")[0]
