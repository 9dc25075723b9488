"""The decorator of all compiled loops: which options they share and where their code is kept.

Numba's own cache compares a function's file alone, so a loop that calls another file's function
would go on with the old one. Here the key is the source of the file and of all that it imports
from this package, beside Numba's version, Python's and the processor.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching

from . import code_cache
from .compile_tally import TALLY
from .rehearsal import register

Function = TypeVar("Function", bound=Callable[..., Any])


class _FolderLocator(caching._CacheLocator):
    """Keeps compiled code in the folder of `code_cache`, by the digest of its source."""

    def __init__(self, source: Path) -> None:
        self._digest = code_cache.source_digest(source.stem)
        self._folder = str(code_cache.directory())

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _FolderLocator:
        locator = cls(Path(py_file))
        try:
            locator.ensure_cache_path()
        except OSError:
            # Nothing is kept for the next process, but this one works.
            locator._folder = tempfile.mkdtemp(prefix="benchctl-")
        return locator

    def get_cache_path(self) -> str:
        return self._folder

    def get_source_stamp(self) -> str:
        return self._digest

    def get_disambiguator(self) -> str:
        return self._digest


class _LoopCacheImpl(caching.CompileResultCacheImpl):
    def __init__(self, function: Any) -> None:
        self._locator_classes: Any = [_FolderLocator]
        super().__init__(function)


class _LoopCache(caching.FunctionCache):
    _impl_class = _LoopCacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found: Any = super().load_overload(sig, target_context)
        TALLY.count(cached=found is not None)
        return found


def compiled_loop(
    *, parallel: bool = False, fastmath: bool | set[str] = False, inline: str = "never"
) -> Callable[[Function], Function]:
    """Compile a loop on its first call, without the interpreter's lock, and keep the code."""

    def decorate(function: Function) -> Function:
        compiler: Any = numba.njit
        options = {"parallel": parallel, "fastmath": fastmath, "inline": inline}
        dispatcher: Any = compiler(nogil=True, error_model="numpy", **options)(function)
        dispatcher._cache = _LoopCache(function)
        register(dispatcher)
        compiled: Function = dispatcher
        return compiled

    return decorate
