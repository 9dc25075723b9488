"""Whether the installed build of a framework can use a GPU, found without importing it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


def torch_without_cuda() -> str:
    """Why PyTorch cannot use a GPU; empty where it can."""
    found = find_spec("torch")
    if found is None or found.origin is None:
        return "torch is not installed"
    libraries = Path(found.origin).parent / "lib"
    if any((libraries / name).exists() for name in ("libtorch_cuda.so", "torch_cuda.dll")):
        return ""
    return f"the installed torch {installed('torch')} is built without CUDA"


def jax_without_cuda() -> str:
    """Why JAX cannot use a GPU; empty where it can."""
    if installed("jax-cuda12-plugin") or installed("jax-cuda13-plugin"):
        return ""
    return f"the installed jax {installed('jax')} has no CUDA plugin"


def tensorflow_without_cuda() -> str:
    """Why TensorFlow cannot use a GPU; empty where it may."""
    if installed("tensorflow"):
        return ""
    cpu_only = installed("tensorflow-cpu")
    return f"the installed tensorflow-cpu {cpu_only} is built without CUDA"


def installed(distribution: str) -> str:
    """The version of an installed distribution, empty where there is none."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
