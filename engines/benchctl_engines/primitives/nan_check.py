"""The refusal of a NaN, in the same words in both engines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..contract import Array
from ..source_sites import Site


class NanError(ArithmeticError):
    """A result held a NaN; raised under check_nan, naming the user's line."""


def refuse_nan(name: str, site: Callable[[], Site], *results: Array) -> None:
    """Raise `NanError` where a result of the operation `name`, made at `site()`, holds a NaN."""
    for array in results:
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise NanError(f"{name} made a NaN   (made at {site().describe()})")
