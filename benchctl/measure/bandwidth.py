"""How fast this machine copies memory: the floor under every elementwise step."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

DEFAULT_ARRAY_BYTES = 256 * 2**20
"""Larger than the last-level cache that one guest or process usually gets."""


def measure_copy_bandwidth(
    threads: int, *, array_bytes: int = DEFAULT_ARRAY_BYTES, repeats: int = 5
) -> float:
    """Bytes per second of the fastest of `repeats` copies of one array to another.

    Each byte is counted once read and once written, as STREAM's copy does; a cache that first
    reads what it will overwrite moves more than that. Both arrays are touched before timing, so
    that no page fault is timed. Raises `ValueError` on a count below 1.
    """
    if threads < 1 or repeats < 1 or array_bytes < threads:
        raise ValueError(
            "measure_copy_bandwidth expected threads >= 1, repeats >= 1 and a byte per thread, "
            f"received threads={threads}, repeats={repeats}, array_bytes={array_bytes}"
        )
    # Here and not above: checks of the machine name this module, and start without NumPy.
    import numpy as np

    source = np.ones(array_bytes, np.uint8)
    target = np.zeros(array_bytes, np.uint8)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:
        best_seconds = min(_timed_copy(pool, parts) for _ in range(repeats))
    return 2 * array_bytes / best_seconds


def _timed_copy(pool: ThreadPoolExecutor, parts: list[tuple[Bytes, Bytes]]) -> float:
    import numpy as np

    start = time.perf_counter()
    # NumPy releases the interpreter lock while it copies, so the threads run side by side.
    for copy in [pool.submit(np.copyto, target, source) for target, source in parts]:
        copy.result()
    return time.perf_counter() - start
