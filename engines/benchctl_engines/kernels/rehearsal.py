"""Compiling a kernel's loops before its first run, by running it without them.

Which loops a kernel calls, and with which types, only its own code knows. A rehearsal calls it with
memory that nobody touches: a loop that is called is compiled for those arguments, or loaded from
the cache, and does nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..contract import Array
from ..primitives.specs import TensorSpec

_LOOPS: list[Any] = []
_LOCK = threading.Lock()
_REHEARSING = threading.local()


def register(dispatcher: Any) -> None:
    """Let rehearsals compile this function instead of calling it."""
    _LOOPS.append(dispatcher)


@lru_cache(maxsize=1)
def _classes() -> tuple[Any, Any]:
    """A compiled function's class in a rehearsal, and otherwise."""
    from numba.core.registry import CPUDispatcher

    class Rehearsing(CPUDispatcher):
        """A compiled function that, called by the rehearsing thread, is compiled only."""

        def __call__(self, *arguments: Any) -> Any:
            if not getattr(_REHEARSING, "active", False):
                return super().__call__(*arguments)
            self.compile(tuple(self.typeof_pyval(each) for each in arguments))
            return None

        def _reduce_class(self) -> Any:
            # Cached code must not remember that it was made in a rehearsal.
            return CPUDispatcher

    return Rehearsing, CPUDispatcher


def rehearse(
    run: Callable[..., None],
    outputs: Sequence[TensorSpec],
    inputs: Sequence[TensorSpec],
    workspace_bytes: int = 0,
    update: bool = False,
) -> None:
    """Compile what `run` calls; NumPy's part of it runs, on zeros.

    An `update` writes over its first input.
    """
    # The system gives zeros as one page that stands for all until they are written.
    operands = [np.zeros(each.shape, each.dtype) for each in inputs]
    results = operands[:1] if update else [np.zeros(each.shape, each.dtype) for each in outputs]
    workspace: list[Array] = [np.zeros(workspace_bytes, np.uint8)] if workspace_bytes else []
    rehearsing, normal = _classes()
    with _LOCK, np.errstate(all="ignore"):
        for loop in _LOOPS:
            loop.__class__ = rehearsing
        _REHEARSING.active = True
        try:
            run(*results, *operands, *workspace)
        finally:
            _REHEARSING.active = False
            for loop in _LOOPS:
                loop.__class__ = normal
