"""Random numbers that depend only on seed, site, step and position."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..primitives.randomness import philox_key
from .table import KernelRequest, Prepared, kernel

Array = npt.NDArray[Any]


@kernel("random", "cpu", "philox_loop")
def prepare_random(request: KernelRequest) -> Prepared:
    """Uniform in [0, 1) or standard normal numbers of this step."""
    from .loops_random import fill_double, fill_single

    attributes = request.attributes
    k0, k1 = (np.uint64(word) for word in philox_key(attributes["seed"], attributes["site"]))
    normal = attributes["distribution"] == "normal"
    fill = fill_single if request.outputs[0].dtype == "float32" else fill_double

    def random(out: Array, step: Array) -> None:
        fill(out.reshape(out.size), int(step), k0, k1, normal)

    return Prepared(random)
