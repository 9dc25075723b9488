"""Clocks, throttling and energy as NVIDIA's management library tells them."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from benchctl_engines.devices.cuda.nvml import (
    Nvml,
    NvmlUnavailableError,
    sensors_at,
    throttle_words,
)


def test_each_reason_spoils_or_marks_a_measurement_or_says_nothing():
    pynvml = pytest.importorskip("pynvml")
    spoiling = {
        "HwSlowdown": "hardware slowdown",
        "SwThermalSlowdown": "thermal slowdown by software",
        "HwThermalSlowdown": "thermal slowdown by hardware",
        "HwPowerBrakeSlowdown": "power brake",
    }
    for name, words in spoiling.items():
        bit = getattr(pynvml, f"nvmlClocksEventReason{name}")
        assert throttle_words(bit) == ((words,), ())
    assert throttle_words(pynvml.nvmlClocksEventReasonSwPowerCap) == ((), ("power cap",))
    for name in ("GpuIdle", "ApplicationsClocksSetting", "SyncBoost", "DisplayClockSetting"):
        assert throttle_words(getattr(pynvml, f"nvmlClocksEventReason{name}")) == ((), ())


def test_reasons_add_up():
    assert throttle_words(0) == ((), ())
    assert throttle_words(0x44) == (("thermal slowdown by hardware",), ("power cap",))


def test_without_the_driver_it_says_why():
    pytest.importorskip("pynvml")
    try:
        Nvml("0000:00:00.0")
    except NvmlUnavailableError as error:
        assert str(error)
    else:
        pytest.fail("a GPU at an address that none can have")


def test_without_the_package_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NvmlUnavailableError, match="nvidia-ml-py is not installed"):
        Nvml("0000:00:00.0")


def library(**answers):
    """The part of pynvml that is asked, with these answers; what is missing is not supported."""

    class NVMLError(Exception):
        pass

    def answer(name):
        def asked(device, *arguments):
            assert device == "device 0000:17:00.0"
            value = answers.get(name)
            if value is None:
                raise NVMLError("Not Supported")
            return value[arguments[0]] if isinstance(value, dict) else value

        return asked

    names = (
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetComputeRunningProcesses",
    )
    return SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByPciBusId=lambda address: f"device {address.decode()}",
        **{name: answer(name) for name in names},
    )


def test_a_sample_is_in_the_units_of_its_names(monkeypatch):
    made = library(
        nvmlDeviceGetCurrentClocksEventReasons=0x4,
        nvmlDeviceGetTotalEnergyConsumption=1_234_567,
        nvmlDeviceGetPowerUsage=698_000,
        nvmlDeviceGetClockInfo={1: 1980, 2: 2619},
        nvmlDeviceGetTemperature=61,
    )
    monkeypatch.setitem(sys.modules, "pynvml", made)
    sample = Nvml("0000:17:00.0").sample()
    assert (sample.sm_clock_hz, sample.memory_clock_hz) == (1.98e9, 2.619e9)
    assert (sample.power_watts, sample.energy_joules) == (698.0, pytest.approx(1234.567))
    assert (sample.temperature_celsius, sample.marking) == (61, ("power cap",))


def test_what_a_machine_does_not_tell_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetTemperature=40))
    sample = Nvml("0000:17:00.0").sample()
    assert sample.sm_clock_hz is None and sample.energy_joules is None
    assert sample.spoiling == () and sample.temperature_celsius == 40


def processes(*pairs):
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in pairs]


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (processes((os.getpid(), 700), (os.getpid() + 1, 900)), 700),
        # In a container the numbers are those of the host.
        (processes((os.getpid() + 1, 900)), 900),
        (processes((os.getpid() + 1, 900), (os.getpid() + 2, 800)), None),
        (processes((os.getpid(), None)), None),
        ([], None),
        (None, None),
    ],
)
def test_what_a_process_holds_is_its_own_or_none(monkeypatch, listed, expected):
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlDeviceGetComputeRunningProcesses=listed))
    assert Nvml("0000:17:00.0").process_bytes() == expected


def test_no_sensors_without_an_address_or_the_package(monkeypatch):
    assert sensors_at("") is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert sensors_at("0000:17:00.0") is None
