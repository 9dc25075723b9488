"""Where NVIDIA's libraries lie: in wheels of either layout, or where the loader finds them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# The wheels of CUDA 13 share one folder; those of CUDA 12 have one each.
_FOLDERS = {
    "nvrtc": ("cu13/lib", "cuda_nvrtc/lib"),
    "cublasLt": ("cu13/lib", "cublas/lib"),
    "cudnn": ("cudnn/lib",),
}
_MAJORS = {"nvrtc": (13, 12), "cublasLt": (13, 12), "cudnn": (9,)}


def load_library(name: str, majors: Sequence[int] = ()) -> Any:
    """The library "nvrtc", "cublasLt" or "cudnn" of one of these versions, None where none is."""
    for candidate in library_candidates(name, majors or _MAJORS[name]):
        try:
            return ctypes.CDLL(candidate)
        except OSError:
            continue
    return None


def has_library(name: str, majors: Sequence[int]) -> bool:
    """Whether it is there; one in a wheel is not loaded for the answer."""
    files = {f"lib{name}.so.{major}" for major in majors}
    in_wheels = (
        folder / below / file
        for folder in nvidia_folders()
        for below in _FOLDERS[name]
        for file in files
    )
    return any(path.exists() for path in in_wheels) or load_library(name, majors) is not None


def library_candidates(name: str, majors: Sequence[int]) -> Iterator[str]:
    """What to try, wheels first."""
    files = [f"lib{name}.so.{major}" for major in majors]
    for folder in nvidia_folders():
        for below in _FOLDERS[name]:
            for file in files:
                if (folder / below / file).exists():
                    yield str(folder / below / file)
    yield from files


def include_folders() -> list[Path]:
    """Where wheels have put CUDA's headers."""
    return [
        folder / each
        for folder in nvidia_folders()
        for each in ("cu13/include", "cuda_runtime/include")
        if (folder / each / "cuda_fp16.h").exists()
    ]


def nvidia_folders() -> list[Path]:
    """The folders that NVIDIA's wheels share."""
    found = find_spec("nvidia")
    if found is None or found.submodule_search_locations is None:
        return []
    return [Path(each) for each in found.submodule_search_locations]
