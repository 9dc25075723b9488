"""Threads of OpenBLAS that sleep when they have nothing to do.

After a matrix product the threads of NumPy's OpenBLAS spin for tens of milliseconds or until the
next product, on the cores that the compiled loops of our engines need: a training step that goes
back and forth between the two takes up to twice as long. OpenBLAS reads its setting once, when it
is loaded.
"""

from __future__ import annotations

import os
import sys

SETTING = "OPENBLAS_THREAD_TIMEOUT"
CYCLES_LOG2 = "18"
"""Some 80 us of spinning: products that follow each other find the threads awake."""


def let_blas_threads_sleep() -> bool:
    """Ask for it, unless the user has said otherwise; False where NumPy is loaded already."""
    if "numpy" in sys.modules:
        return False
    os.environ.setdefault(SETTING, CYCLES_LOG2)
    return True
