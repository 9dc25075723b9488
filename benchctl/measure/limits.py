"""What this machine can do at best: the roofs under which every kernel works.

Measured in a process of its own, with the thread counts and variables that engines get:
`python -m benchctl.measure.limits THREADS` prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchctl.measure.bandwidth import measure_copy_bandwidth

MATRIX_SIDE = 2048
"""Large enough for the product to run from the caches at full speed, small enough to be quick."""

_TIMEOUT_SECONDS = 120.0
_REPEATS = 5


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """Rates with the given threads.

    `gemm_flops_per_second` is that of NumPy's float32 matrix product, a multiplication and an
    addition counted each; `copy_bytes_per_second` counts bytes read and bytes written.
    """

    threads: int
    gemm_flops_per_second: float
    copy_bytes_per_second: float
    clock_step_seconds: float

    @property
    def words(self) -> str:
        """Both rates and the threads, in a line."""
        return (
            f"{self.gemm_flops_per_second / 1e9:.0f} GFLOP/s matrix product (NumPy), "
            f"{self.copy_bytes_per_second / 1e9:.1f} GB/s copy, {self.threads} threads"
        )


@dataclass(frozen=True, slots=True)
class GpuLimits:
    """Rates of a GPU by name, of matrix products in the precision of the arm.

    Both are measured on it by the engine: its library's product and its driver's copy.
    """

    name: str
    precision: str
    gemm_flops_per_second: float
    copy_bytes_per_second: float

    @property
    def words(self) -> str:
        """Both rates, the precision and the card, in a line."""
        return (
            f"{self.gemm_flops_per_second / 1e9:,.0f} GFLOP/s matrix product ({self.precision}), "
            f"{self.copy_bytes_per_second / 1e9:,.0f} GB/s copy on {self.name}"
        )


Limits = MachineLimits | GpuLimits
"""The roofs of the place where an arm ran."""


def gpu_limits(found: Mapping[str, Any], precision: str) -> GpuLimits | None:
    """The limits in a precision from what an engine measured; None where it did not."""
    rate = found.get("gemm_flops_per_second", {}).get(precision)
    if rate is None:
        return None
    return GpuLimits(found["name"], precision, rate, found["copy_bytes_per_second"])


class LimitsError(RuntimeError):
    """The process that measures the limits did not answer."""


def measure_limits(threads: int, variables: Mapping[str, str]) -> MachineLimits:
    """The limits, measured by a new process with these environment variables.

    Raises `LimitsError`.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-m", __name__, str(threads)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
            env=dict(variables),
        )
        return MachineLimits(**json.loads(answer.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError) as error:
        raise LimitsError(f"the machine's limits could not be measured: {error}") from error


def measure_here(
    threads: int, *, side: int = MATRIX_SIDE, array_bytes: int | None = None
) -> MachineLimits:
    """The limits as this process sees them, with its own BLAS threads."""
    extra = {} if array_bytes is None else {"array_bytes": array_bytes}
    return MachineLimits(
        threads,
        measure_gemm_rate(side),
        measure_copy_bandwidth(threads, **extra),
        clock_step_seconds(),
    )


def measure_gemm_rate(side: int = MATRIX_SIDE, repeats: int = _REPEATS) -> float:
    """Operations per second of the fastest of `repeats` float32 products of two square matrices."""
    import numpy as np

    left = np.full((side, side), 0.5, np.float32)
    right, product = left.copy(), np.empty_like(left)
    best_seconds = float("inf")
    for _ in range(repeats + 1):
        start = time.perf_counter()
        np.matmul(left, right, out=product)
        best_seconds = min(best_seconds, time.perf_counter() - start)
    return 2.0 * side**3 / best_seconds


def clock_step_seconds(readings: int = 200) -> float:
    """The smallest difference between two readings of the performance counter."""
    steps = []
    for _ in range(readings):
        before = now = time.perf_counter_ns()
        while now == before:
            now = time.perf_counter_ns()
        steps.append(now - before)
    return min(steps) / 1e9


if __name__ == "__main__":
    print(json.dumps(asdict(measure_here(int(sys.argv[1])))))
