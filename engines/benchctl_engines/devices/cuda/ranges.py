"""Named ranges on the host's time line, for Nsight Systems and Nsight Compute; no effect elsewhere.

A profiler shows each launch of a profiled step under the kernel's name and each step around its
launches: `nsys profile benchctl profile vgg16 --device gpu`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def nvtx_library() -> Any | None:
    """CuPy's binding of NVTX; None where CuPy is not in use or comes without it."""
    # Not imported for this: whoever opened a GPU through CuPy has it in the process already.
    cupy = sys.modules.get("cupy")
    library = getattr(getattr(cupy, "cuda", None), "nvtx", None)
    return library if getattr(library, "available", False) else None


class Ranges:
    """Opens and closes ranges; nothing where there is no NVTX."""

    def __init__(self) -> None:
        self._library = nvtx_library()

    @contextmanager
    def named(self, name: str) -> Iterator[None]:
        """A range around a block."""
        if self._library is None:
            yield
            return
        self._library.RangePush(name)
        try:
            yield
        finally:
            self._library.RangePop()
