"""Bias and ReLU laid over a product that has just been written."""

from __future__ import annotations

from typing import Any

import numpy as np

from .table import KernelRequest


def relu_floor(request: KernelRequest) -> Any:
    """The bound below which values are cut, as a scalar of the output's dtype."""
    bound = 0.0 if request.attributes["relu"] else -np.inf
    return request.outputs[0].numpy_dtype.type(bound)
