"""The vector registers of this processor, and the matrix tile that fills them."""

from __future__ import annotations

import llvmlite.binding

FLOAT_BYTES = 4


def host_lanes() -> int:
    """How many float32 a vector register of this processor holds."""
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


def host_registers() -> int:
    """How many vector registers this processor has."""
    features = llvmlite.binding.get_host_cpu_features()
    return 16 if features.get("avx2") and not features.get("avx512f") else 32


LANES = host_lanes()
# A tile of a matrix product: accumulators fill the registers but for one row of the right factor
# and a broadcast element of the left.
VECTORS = 2
WIDTH = VECTORS * LANES
MOST_ROWS = 8 if host_registers() >= 32 else 6
# Any number of rows from here up is a sum of tiles of FEWEST_ROWS to MOST_ROWS rows.
FEWEST_ROWS = MOST_ROWS // 2
# A cache line; pieces of scratch memory begin on lines of their own.
LINE_FLOATS = 64 // FLOAT_BYTES


def whole_lines(floats: int) -> int:
    """Floats rounded up to whole cache lines."""
    return -(-floats // LINE_FLOATS) * LINE_FLOATS
