"""The eager engine on a GPU: kernels are issued as the program runs, and waited for once a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..contract import (
    Array,
    Case,
    DeviceClock,
    EngineOptions,
    Program,
    RunnerFacts,
    StepProfile,
    objectives_of,
)
from ..devices.cuda.autotune import tuner_for
from ..devices.cuda.clock import CudaClock, CudaLaunchClock
from ..devices.cuda.device import CudaDevice
from ..devices.cuda.opening import device_words, open_for, precision_words
from .engine import EagerRunner, UpdatingRunner
from .masters import SeenParameters
from .profile import profile_steps


class _OnCuda(EagerRunner):
    """One case on the eager engine on a GPU; comes before the runner of the step among the bases.

    Parameters and inputs are copied to the device when built and loaded, results to the host when
    they are asked for; a step is what the program issues, and one wait at its end.
    """

    def __init__(self, options: EngineOptions, *arguments: Any) -> None:
        self._driver = open_for(options)
        pooled = options.switches.get("pool", "on") == "on"
        device = CudaDevice(self._driver, options.precision, pooled=pooled)
        self._tuner = device.tuner = tuner_for(options, self._driver)
        super().__init__(*(*arguments, device))
        self._clock: CudaClock | None = None

    def issue(self) -> None:
        """Issue one step."""
        if isinstance(self._seen, SeenParameters):
            self._seen.begin_step()
        super().step()

    def step(self) -> None:
        """Do one step, and wait until the device has done it."""
        self.issue()
        self._driver.synchronize()

    def device_clock(self) -> DeviceClock:
        """The clock of the stream that the step is issued to."""
        if self._clock is None:
            self._clock = CudaClock(self._driver)
        return self._clock

    def replays(self) -> bool:
        """No: every step is issued anew."""
        return False

    def facts(self) -> RunnerFacts:
        """Kernels used so far, the pool's peak, and the device."""
        found = super().facts()
        counts = {"pool_peak_bytes": found.counts["pool_peak_bytes"]}
        precision = precision_words(self.device.precision, self._kind)
        notes = [device_words(self._driver), precision]
        notes += [] if self._tuner is None else [self._tuner.note()]
        return replace(found, notes=tuple(notes), counts=counts)

    def profile(self, steps: int) -> StepProfile:
        """Device times of the launches, in the order in which they are issued."""
        return profile_steps(self.device, self.step, steps, CudaLaunchClock(self._driver))

    def close(self) -> None:
        """Let go of all tensors and their memory."""
        super().close()
        self._clock = None


class CudaEagerRunner(_OnCuda):
    """A forward, gradient or plain training step."""


class CudaUpdatingRunner(_OnCuda, UpdatingRunner):
    """A training step whose updates the program states itself."""


def make_cuda_runner(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    options: EngineOptions,
) -> EagerRunner:
    """The runner for what a step of the case is."""
    arguments = (workload, case, parameters, inputs, options)
    objectives = objectives_of(workload, case)
    if objectives is None:
        return CudaEagerRunner(options, *arguments)
    return CudaUpdatingRunner(options, objectives, *arguments)
