"""The driver that an engine's options ask for, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path

from ...contract import EngineOptions, Precision, Step
from ...gpu.driver import DeviceError, Driver
from ...primitives.half_storage import STORED_AS, loss_scale
from ..availability import gpu_index
from .opened import open_driver


def open_for(options: EngineOptions) -> Driver:
    """The driver of the GPU in `options`; compiled kernels are kept where they say.

    Raises `DeviceError`.
    """
    if options.cache_directory is not None:
        # Read when CuPy is imported: a cold start is to find no kernels of others.
        os.environ["CUPY_CACHE_DIR"] = str(Path(options.cache_directory) / "cupy")
    return open_device(options.device)


def open_device(device: str) -> Driver:
    """The driver of "gpu" or "gpu:N"; raises `DeviceError`."""
    index = gpu_index(device)
    if index is None:
        raise DeviceError(f"expected the device gpu or gpu:N, received {device!r}")
    return open_driver(index)


def device_words(driver: Driver) -> str:
    """`on NVIDIA H100 (gpu:0, compute capability 9.0), cuda 13.0, cudnn 9.19`."""
    facts = driver.facts
    capability = f"{facts.architecture // 10}.{facts.architecture % 10}"
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    words = f"on {facts.name} (gpu:{facts.index}, compute capability {capability})"
    return f"{words}, {versions}" if versions else words


def precision_words(precision: Precision, step: Step = "forward") -> str:
    """How float32 is stored and computed, as a note."""
    if precision == "fp32":
        return "products of float32 computed strictly, no TF32"
    if precision not in STORED_AS:
        return f"products of float32 computed in {precision.upper()}"
    words = f"float32 stored as {STORED_AS[precision]}, computed with and summed in float32"
    if step == "training":
        words += ", parameters kept in float32"
    scale = loss_scale(precision)
    if step != "forward" and scale != 1.0:
        words += f", gradients scaled by {scale:g} on their way"
    return words
