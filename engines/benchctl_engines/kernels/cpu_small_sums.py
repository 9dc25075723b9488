"""The sum of everything in a small array: the last step of most losses, and all launch overhead.

NumPy's reductions spend over a microsecond before they add; BLAS's dot product with ones does not.
"""

from __future__ import annotations

import numpy as np

from ..contract import Array
from .table import KernelRequest, Prepared, kernel

DOT_ELEMENTS = 4096
"""BLAS splits longer vectors over threads; up to here the order of additions is fixed."""


def _small_full_sum(request: KernelRequest) -> bool:
    x = request.inputs[0]
    return x.floating and 0 < x.size <= DOT_ELEMENTS and request.outputs[0].rank == 0


@kernel("sum", "cpu", "dot_with_ones", when=_small_full_sum)
def prepare_small_sum(request: KernelRequest) -> Prepared:
    """Sum of all elements as the dot product with ones."""
    dtype = request.inputs[0].numpy_dtype
    ones = np.ones(request.inputs[0].shape, dtype)
    dot, empty = np.vdot, np.empty

    def sum_by_dot(out: Array, x: Array) -> None:
        out[()] = dot(x, ones)

    def make_sum(x: Array) -> Array:
        out = empty((), dtype)
        out[()] = dot(x, ones)
        return out

    return Prepared(sum_by_dot, make=make_sum)
