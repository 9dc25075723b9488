"""Opens a GPU, compiles a kernel and runs it: what no look from outside can tell.

A driver too old for the libraries, a full card or a broken installation show only here. It is run
as a process of its own, `python -m benchctl_engines.devices.cuda.probe 0`, which takes its context
and its faults along when it ends. It prints a line each for the kernel, the memory and the rates of
the card, or one line with what went wrong.
"""

from __future__ import annotations

import sys

import numpy as np

from ...gpu.driver import DeviceError, Driver
from .limits import measure_device_limits
from .memory import size_words
from .opened import open_driver

_TEXT = 'extern "C" __global__ void probe(int* y, int value) { y[0] = value; }'
_VALUE = 20160311
_QUICK_SIDES = (4096, 2048, 1024)


def run_probe(driver: Driver) -> str:
    """The device in words after one kernel has run; raises `DeviceError`."""
    target = driver.allocate(4)
    function = driver.module(_TEXT).function("probe", "Pi")
    function.launch((1, 1, 1), (1, 1, 1), (target.pointer, _VALUE))
    answer = np.zeros(1, np.int32)
    driver.copy_to_host(answer, target.pointer)
    if answer[0] != _VALUE:
        raise DeviceError(f"a kernel wrote {answer[0]} instead of {_VALUE}")
    facts = driver.facts
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    return f"{facts.name}, compute capability {facts.architecture / 10}, {versions}"


def memory_words(driver: Driver) -> str:
    """How much memory is free."""
    used, total = driver.memory_in_use()
    return f"{size_words(total - used)} of {size_words(total)} free"


def limits_words(driver: Driver) -> str:
    """What the card does at best, or why that is not known."""
    try:
        found = measure_device_limits(driver, _QUICK_SIDES)
    except Exception as error:
        return f"not measured: {error}"
    rates = [
        f"{rate / 1e9:,.0f} GFLOP/s {precision} matrix product"
        for precision, rate in found.gemm_flops_per_second.items()
    ]
    copy = f"{found.copy_bytes_per_second / 1e9:,.0f} GB/s copy (read + write)"
    return ", ".join([*rates, copy])


def main(index: int) -> int:
    """Print the lines and return the exit status."""
    try:
        driver = open_driver(index)
        for words in (run_probe, memory_words, limits_words):
            print(words(driver))
    except Exception as error:
        words_of_error = str(error).strip() or type(error).__name__
        print(words_of_error.splitlines()[0])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
