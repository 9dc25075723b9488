"""Opens a GPU, compiles a kernel and runs it: what no look from outside can tell.

A driver too old for the libraries, a full card or a broken installation show only here. It is run
as a process of its own, `python -m benchctl_engines.devices.cuda.probe 0`, which takes its context
and its faults along when it ends, and prints one line: the device, or what went wrong.
"""

from __future__ import annotations

import sys

import numpy as np

from ...gpu.driver import DeviceError, Driver
from .opened import open_driver

_TEXT = 'extern "C" __global__ void probe(int* y, int value) { y[0] = value; }'
_VALUE = 20160311


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


def main(index: int) -> int:
    """Print one line and return the exit status."""
    try:
        print(run_probe(open_driver(index)))
    except Exception as error:
        words = str(error).strip() or type(error).__name__
        print(words.splitlines()[0])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
