"""Generated source as real files, so that Numba can keep what it compiles.

A function made by exec has no file and cannot be cached. Here each source is written once to a
module named by the hash of its text, in a folder named by what the machine code depends on.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_DEFAULT_DIRECTORY = Path("~/.cache/benchctl/kernels")
_LOADED: dict[tuple[str, str], Any] = {}
_DIRECTORY: list[Path] = []


def use_directory(path: str | Path | None) -> None:
    """Keep generated code under `path` from now on; None for the default."""
    _DIRECTORY[:] = [Path(path)] if path is not None else []


def directory() -> Path:
    """The folder in use: one per Numba version, Python version and processor."""
    import llvmlite.binding
    import numba

    base = _DIRECTORY[0] if _DIRECTORY else _DEFAULT_DIRECTORY.expanduser()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return base / f"numba-{numba.__version__}-py{version}-{llvmlite.binding.get_host_cpu_name()}"


def load_module(source: str) -> Any:
    """The module of this source text, written and imported on first use."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:20]
    folder = directory()
    key = (str(folder), digest)
    if key not in _LOADED:
        name = f"loop_{digest}"
        path = folder / f"{name}.py"
        # Numba's cache is keyed by the file's time stamp, so an existing file is left alone.
        if not path.exists() or path.read_text() != source:
            folder.mkdir(parents=True, exist_ok=True)
            scratch = path.with_suffix(f".{os.getpid()}.tmp")
            scratch.write_text(source)
            scratch.replace(path)
        found = spec_from_file_location(f"benchctl_generated.{name}", path)
        if found is None or found.loader is None:
            raise ImportError(f"cannot import generated code from {path}")
        module = module_from_spec(found)
        # What Numba keeps names its module, and is unpickled by importing that name.
        sys.modules[module.__name__] = module
        found.loader.exec_module(module)
        _LOADED[key] = module
    return _LOADED[key]
