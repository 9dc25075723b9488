"""Checks of the machine: what disturbs a measurement, and whether there is room for one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchctl.doctor.check import Check, passed_if
from benchctl.measure import environment
from benchctl.measure.environment import GIBIBYTE
from benchctl.measure.limits import LimitsError, clock_step_seconds, measure_limits
from benchctl.measure.settings import MeasureSettings, user_cache_folder, worker_environment

LEAST_MEMORY_BYTES = 2 * GIBIBYTE
LEAST_DISK_BYTES = GIBIBYTE // 2
BUSY_SHARE = 0.5
"""A load above this share of the cores disturbs measurements."""
COARSEST_CLOCK_SECONDS = 1e-6


def processor_check() -> Check:
    """The processor and how many of its cores this process may use."""
    facts = environment.machine_facts()
    usable = len(environment.affinity()) or int(facts["cores"])
    found = f"{facts['cpu']}, {usable} of {facts['cores']} cores usable"
    quota = environment.cpu_quota()
    if quota is not None and quota < usable:
        hint = "a container limit slows threads down unevenly: raise it, or use fewer --threads"
        return Check("processor", "warn", f"{found}, limited to {quota:g} cores of time", hint)
    return Check("processor", "ok", found)


def load_check() -> Check:
    """Whether other programs are using the cores."""
    averages = environment.load_average()
    if not averages:
        return Check("load", "ok", "not told by this system")
    cores = os.cpu_count() or 1
    return passed_if(
        averages[0] <= BUSY_SHARE * cores,
        "load",
        f"{averages[0]:.2f} on {cores} cores in the last minute",
        "other programs are running: close them before measuring (top shows them)",
    )


def governor_check() -> Check:
    """Whether the processor's frequency follows the load."""
    found = environment.governor()
    if not found:
        return Check("frequency governor", "ok", "not exposed by this machine")
    return passed_if(
        found == "performance",
        "frequency governor",
        found,
        "the frequency follows the load: sudo cpupower frequency-set -g performance",
    )


def virtualisation_check() -> Check:
    """Whether the machine is shared with others who cannot be seen."""
    virtualised = environment.read_processor().virtualised
    if virtualised is None:
        return Check("virtualisation", "ok", "not told by this processor")
    return passed_if(
        not virtualised,
        "virtualisation",
        "virtual machine" if virtualised else "none",
        "others may share the hardware: trust intervals and ratios, not single times",
    )


def memory_check() -> Check:
    """Memory that can be had without swapping."""
    import psutil

    memory = psutil.virtual_memory()
    return passed_if(
        memory.available >= LEAST_MEMORY_BYTES,
        "memory",
        f"{memory.available / GIBIBYTE:.1f} of {memory.total / GIBIBYTE:.1f} GiB free",
        "the large cases may swap: close other programs before measuring",
    )


def disk_check(store: Path) -> Check:
    """Room for records, and leave to write them."""
    folder = nearest_folder(store)
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        hint = "runs cannot be stored here: choose another folder with --store"
        return Check("store", "warn", f"{store}: {folder} is not writable", hint)
    return passed_if(
        free >= LEAST_DISK_BYTES,
        "store",
        f"{store}: {free / GIBIBYTE:.1f} GiB free",
        "free some space, or choose another folder with --store",
    )


def cache_check() -> Check:
    """Whether compiled kernels can be kept between runs."""
    folder = user_cache_folder()
    return passed_if(
        os.access(nearest_folder(folder), os.W_OK),
        "kernel cache",
        str(folder),
        "not writable, so kernels are compiled in every run: set XDG_CACHE_HOME",
    )


def clock_check() -> Check:
    """The smallest step of the clock that samples are taken with."""
    step = clock_step_seconds()
    return passed_if(
        step <= COARSEST_CLOCK_SECONDS,
        "clock",
        f"steps of {step * 1e9:.0f} ns",
        "a coarse clock needs longer samples: check the clock source of the operating system",
    )


def limits_check() -> Check:
    """The rates that no kernel can beat: matrix product, and copying memory."""
    threads = len(environment.affinity()) or os.cpu_count() or 1
    variables = worker_environment(MeasureSettings(), threads, user_cache_folder())
    try:
        found = measure_limits(threads, variables)
    except LimitsError as error:
        return Check("limits", "warn", str(error), "rooflines need them; see --debug")
    return Check(
        "limits",
        "ok",
        f"{found.gemm_flops_per_second / 1e9:.0f} GFLOP/s float32 matrix product, "
        f"{found.copy_bytes_per_second / 1e9:.1f} GB/s copy (read + write), {threads} threads",
    )


def nearest_folder(path: Path) -> Path:
    """The path itself, or the nearest folder above it that exists."""
    path = path.absolute()
    return next((each for each in (path, *path.parents) if each.is_dir()), Path(path.anchor))
