"""CuPy, imported when a GPU is asked for, with its kernel cache in a folder of ours.

CuPy makes that folder while it is imported, so an unwritable home is an error of the import.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ...gpu.driver import DeviceError
from ...kernels.code_cache import base_directory


def import_cupy() -> Any:
    """The module; raises `DeviceError` with the words of whatever its import raised."""
    os.environ.setdefault("CUPY_CACHE_DIR", str(_cache_folder()))
    try:
        import cupy
    except Exception as error:
        raise DeviceError(f"cupy cannot be imported: {type(error).__name__}: {error}") from error
    return cupy


def _cache_folder() -> Path:
    folder = base_directory() / "cupy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="benchctl-cupy-"))
