"""Random numbers on a GPU: the words of the CPU's kernels, bit for bit, from a step that lies in
device memory, so that a captured graph draws anew at each replay.
"""

from __future__ import annotations

from typing import Any

from ..primitives.randomness import philox_key
from .cuda_source import (
    C_TYPES,
    THREADS,
    VECTOR_BYTES,
    driver_of,
    grid_of,
    index_for,
    signed_word,
    source,
)
from .table import KernelRequest, Prepared, kernel


@kernel("random", "gpu", "philox")
def prepare_random(request: KernelRequest) -> Prepared:
    """Uniform in [0, 1) or standard normal numbers of this step."""
    attributes, out = request.attributes, request.outputs[0]
    k0, k1 = (signed_word(each) for each in philox_key(attributes["seed"], attributes["site"]))
    index, driver = index_for(out), driver_of(request)
    module = driver.module(source(index, "random", REAL=C_TYPES[out.dtype]))
    launch = module.function(f"draw_{attributes['distribution']}", f"PPii{index.letter}").launch
    per_thread = VECTOR_BYTES // out.itemsize
    grid, block = grid_of(driver, -(-out.size // per_thread)), (THREADS, 1, 1)
    size = out.size

    def random(out: Any, step: Any) -> None:
        if size:
            launch(grid, block, (out.pointer, step.pointer, k0, k1, size))

    return Prepared(random)
