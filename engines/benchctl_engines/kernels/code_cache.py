"""Generated source as real files, so that Numba can keep what it compiles.

A function made by exec has no file and cannot be cached. Here each source is written once to a
module named by the hash of its text, in a folder named by what the machine code depends on.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_DEFAULT_DIRECTORY = Path("~/.cache/benchctl/kernels")
_LOADED: dict[tuple[str, str], Any] = {}
_DIRECTORY: list[Path] = []


def use_directory(path: str | Path | None) -> None:
    """Keep generated code under `path` from now on; None for the default."""
    _DIRECTORY[:] = [Path(path)] if path is not None else []


def base_directory() -> Path:
    """What was named last, or the default."""
    return _DIRECTORY[0] if _DIRECTORY else _DEFAULT_DIRECTORY.expanduser()


def directory() -> Path:
    """The folder in use: one per Numba version, Python version, processor and version of ours.

    Numba compares a function's own file only; what generated code imports from here is told apart
    by the folder.
    """
    import llvmlite.binding
    import numba

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    processor = llvmlite.binding.get_host_cpu_name()
    own = source_digest("raw_arrays")
    return base_directory() / f"numba-{numba.__version__}-py{version}-{processor}-{own}"


@lru_cache
def source_digest(module: str) -> str:
    """A short digest of a module of this package and of all it imports from the package."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    seen, waiting = {module}, [module]
    while waiting:
        source = (folder / f"{waiting.pop()}.py").read_bytes()
        digest.update(source)
        for found in sorted(re.findall(rb"^ *from \.(\w+) import", source, re.MULTILINE)):
            name = found.decode()
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return digest.hexdigest()[:8]


def _written(path: Path, source: str) -> Path:
    """The path written to: in a temporary folder where the cache cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(source)
        scratch.replace(path)
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="benchctl-")) / path.name
        path.write_text(source)
    return path


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
            path = _written(path, source)
        found = spec_from_file_location(f"benchctl_generated.{name}", path)
        if found is None or found.loader is None:
            raise ImportError(f"cannot import generated code from {path}")
        module = module_from_spec(found)
        # What Numba keeps names its module, and is unpickled by importing that name.
        sys.modules[module.__name__] = module
        found.loader.exec_module(module)
        _LOADED[key] = module
    return _LOADED[key]
