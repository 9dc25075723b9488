"""Arrays by name in a file: .npz, or .safetensors where that package is installed.

Neither format can carry code, as a pickle would.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import Array
from .layer import LayerError

SUFFIXES = (".npz", ".safetensors")


def save_arrays(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays whole: a file of this name is replaced once everything is written."""
    target = Path(path)
    suffix = _suffix(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            if suffix == ".npz":
                # Named by hand: savez takes names as keywords, and one of its own is "file".
                with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                    for name, array in arrays.items():
                        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                            np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            else:
                ready = {name: np.asarray(array, order="C") for name, array in arrays.items()}
                file.write(_safetensors().save(ready))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def load_arrays(path: str | Path) -> dict[str, Array]:
    """The arrays of a file by name; raises `LayerError` where it holds anything else."""
    source = Path(path)
    suffix = _suffix(source)
    if not source.is_file():
        raise LayerError(f"load expected a file, received {source}, which is not there")
    if suffix == ".safetensors":
        package = _safetensors()
        try:
            loaded: dict[str, Array] = package.load_file(source)
        except import_module("safetensors").SafetensorError as error:
            raise LayerError(f"{source.name} is no whole .safetensors file: {error}") from None
        return loaded
    try:
        with np.load(source, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError, AttributeError, TypeError) as error:
        raise LayerError(
            f"{source.name} expected plain arrays in an .npz file, received something else: {error}"
        ) from None


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise LayerError(
            f"weights expected a file name that ends in {' or '.join(SUFFIXES)}, received "
            f"{path.name!r}"
        )
    return path.suffix


def _safetensors() -> Any:
    try:
        return import_module("safetensors.numpy")
    except ImportError:
        raise LayerError(
            "a .safetensors file needs the package safetensors, which is not installed; "
            'pip install "benchctl[safetensors]", or choose the suffix .npz'
        ) from None
