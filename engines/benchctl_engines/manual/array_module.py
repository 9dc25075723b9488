"""The module whose functions an array is computed with: NumPy, or one with NumPy's functions."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

_NUMPY = (np.ndarray, np.generic)


def array_module(x: Any) -> Any:
    """numpy for NumPy's arrays, the package that defines the class of any other (cupy)."""
    if isinstance(x, _NUMPY):
        return np
    return import_module(type(x).__module__.partition(".")[0])
