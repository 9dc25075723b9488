"""The sensors of an NVIDIA GPU, read through its management library; nothing is ever set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from benchctl.measure.device_timing import Reading, Sensors

HERTZ = 1e6

REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons; others, such as idle, hold nothing back."""

_GRAPHICS_CLOCK, _TEMPERATURE_SENSOR = 1, 0
"""NVML_CLOCK_SM and NVML_TEMPERATURE_GPU."""


class NvmlSensors:
    """One GPU through pynvml; what a card does not tell stays None."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        megahertz = self._asked("nvmlDeviceGetDefaultApplicationsClock", _GRAPHICS_CLOCK)
        self._default_hertz = None if megahertz is None else HERTZ * megahertz

    @property
    def default_clock_hertz(self) -> float | None:
        """The clock of the default application setting."""
        return self._default_hertz

    def read(self) -> Reading:
        """Clock, temperature, and why the clock is held back."""
        megahertz = self._asked("nvmlDeviceGetClockInfo", _GRAPHICS_CLOCK)
        temperature = self._asked("nvmlDeviceGetTemperature", _TEMPERATURE_SENSOR)
        bits = self._asked("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # the name before driver 535
            bits = self._asked("nvmlDeviceGetCurrentClocksThrottleReasons")
        return Reading(
            clock_hertz=None if megahertz is None else HERTZ * megahertz,
            temperature_celsius=temperature,
            reasons=reasons_of(int(bits or 0)),
        )

    def _asked(self, name: str, *arguments: int) -> float | None:
        """What NVML answers; None where the library or the card does not know."""
        function = getattr(self._nvml, name, None)
        if function is None:
            return None
        try:
            return float(function(self._handle, *arguments))
        except self._nvml.NVMLError:
            return None


def reasons_of(bits: int) -> frozenset[str]:
    """The reasons that a bit set stands for."""
    return frozenset(word for bit, word in REASONS.items() if bits & bit)


def open_sensors(device: str, environment: Mapping[str, str] | None = None) -> Sensors | None:
    """The sensors of "gpu" or "gpu:N"; None where there are none to read."""
    kind, _, number = device.partition(":")
    if kind != "gpu":
        return None
    try:
        nvml = import_module("pynvml")
        nvml.nvmlInit()
    except Exception:
        # No library, no driver, or one that does not fit: a measurement goes on without.
        return None
    visible = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    try:
        return NvmlSensors(nvml, _handle(nvml, visible_device(int(number or 0), visible)))
    except nvml.NVMLError:
        return None


def visible_device(index: int, visible: str | None) -> str:
    """The number or UUID of the GPU that CUDA calls `index` under CUDA_VISIBLE_DEVICES."""
    names = [each.strip() for each in (visible or "").split(",") if each.strip()]
    return names[index] if index < len(names) else str(index)


def _handle(nvml: Any, name: str) -> Any:
    if name.isdecimal():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)
