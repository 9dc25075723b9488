"""What NVIDIA's management library says of a GPU: clocks, heat, throttling, energy, memory.

Energy: on A100 and H100 the sensor looks at the power about a quarter of the time
(arXiv 2312.02741), so a difference says something of steady work of five seconds or more, repeated
with shifted starts, and nothing of single calls.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

# Bits of nvmlClocksEventReasons, by what they mean for a measurement.
_SPOILING = {
    0x8: "hardware slowdown",
    0x20: "thermal slowdown by software",
    0x40: "thermal slowdown by hardware",
    0x80: "power brake",
}
_MARKING = {0x4: "power cap"}


@dataclass(frozen=True, slots=True)
class GpuSample:
    """The state of a GPU at one moment; None where it is not told.

    After a `spoiling` reason a measurement is thrown away, after a `marking` one it is labelled.
    `energy_joules` counts from the loading of the driver.
    """

    sm_clock_hz: float | None
    memory_clock_hz: float | None
    temperature_celsius: float | None
    power_watts: float | None
    energy_joules: float | None
    spoiling: tuple[str, ...]
    marking: tuple[str, ...]


class NvmlUnavailableError(RuntimeError):
    """The management library cannot be asked; the message says why."""


class Nvml:
    """The management library's view of the GPU at a PCI bus address; settings are never changed."""

    def __init__(self, pci_bus_id: str) -> None:
        try:
            import pynvml
        except ImportError:
            raise NvmlUnavailableError("nvidia-ml-py is not installed") from None
        library: Any = pynvml
        self._library = library
        try:
            library.nvmlInit()
            # Its own numbering knows nothing of CUDA_VISIBLE_DEVICES.
            self._device = library.nvmlDeviceGetHandleByPciBusId(pci_bus_id.encode())
        except library.NVMLError as error:
            raise NvmlUnavailableError(str(error)) from None

    def sample(self) -> GpuSample:
        """The state now."""
        library = self._library
        reasons = self._asked("nvmlDeviceGetCurrentClocksEventReasons")
        energy = self._asked("nvmlDeviceGetTotalEnergyConsumption")
        power = self._asked("nvmlDeviceGetPowerUsage")
        spoiling, marking = throttle_words(int(reasons or 0))
        return GpuSample(
            sm_clock_hz=self._clock(library.NVML_CLOCK_SM),
            memory_clock_hz=self._clock(library.NVML_CLOCK_MEM),
            temperature_celsius=self._asked(
                "nvmlDeviceGetTemperature", library.NVML_TEMPERATURE_GPU
            ),
            power_watts=None if power is None else power / 1e3,
            energy_joules=None if energy is None else energy / 1e3,
            spoiling=spoiling,
            marking=marking,
        )

    def default_sm_clock_hz(self) -> float | None:
        """The clock that the card runs at unless it is held back; None where it is not told."""
        megahertz = self._asked(
            "nvmlDeviceGetDefaultApplicationsClock", self._library.NVML_CLOCK_SM
        )
        return None if megahertz is None else megahertz * 1e6

    def process_bytes(self) -> int | None:
        """What this process holds of the GPU's memory; None where that is not told."""
        try:
            listed = self._library.nvmlDeviceGetComputeRunningProcesses(self._device)
        except (self._library.NVMLError, AttributeError):
            return None
        # In a container processes have the numbers of the host: one alone can only be this one.
        own = [each for each in listed if each.pid == os.getpid() or len(listed) == 1]
        used = own[0].usedGpuMemory if own else None
        return None if used is None else int(used)

    def _clock(self, which: int) -> float | None:
        megahertz = self._asked("nvmlDeviceGetClockInfo", which)
        return None if megahertz is None else megahertz * 1e6

    def _asked(self, name: str, *arguments: Any) -> float | None:
        try:
            return float(getattr(self._library, name)(self._device, *arguments))
        except (self._library.NVMLError, AttributeError):
            return None


def sensors_at(pci_bus_id: str) -> Nvml | None:
    """The library's view of a GPU; None where there is none to ask."""
    try:
        return Nvml(pci_bus_id) if pci_bus_id else None
    except NvmlUnavailableError:
        return None


def throttle_words(reasons: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(spoiling, marking) reasons of a bit mask."""

    def named(words: dict[int, str]) -> tuple[str, ...]:
        return tuple(word for bit, word in words.items() if reasons & bit)

    return named(_SPOILING), named(_MARKING)
