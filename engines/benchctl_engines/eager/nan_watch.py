"""A look at every result of the eager engine: the first NaN stops the program at its own line.

Nothing looks unless it is asked to: a device without hooks runs as if there were none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..devices.cpu import Device
from ..primitives.nan_check import refuse_nan
from ..source_sites import user_site
from .tensor import DEFAULT_DEVICE


class NanWatch:
    """A hook of a device that raises `NanError` after the first operation that made a NaN."""

    def before(self, *call: Any) -> None:
        """Nothing: operands were looked at when they were made."""

    def after(self, primitive: Any, specs: Any, result: Any) -> None:
        """Look at what an operation made, also within a backward pass."""
        made = result if isinstance(result, tuple) else (result,)
        refuse_nan(primitive.name, user_site, *(each.numpy() for each in made))


@contextmanager
def check_nan(device: Device = DEFAULT_DEVICE) -> Iterator[None]:
    """Context in which the first NaN raises, naming the line: `with check_nan(): ...`."""
    watch = NanWatch()
    device.hooks.append(watch)
    try:
        yield
    finally:
        device.hooks.remove(watch)
