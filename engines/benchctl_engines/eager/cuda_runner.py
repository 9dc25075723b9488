"""The eager engine on a GPU: kernels are issued as the program runs, and waited for once a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..contract import (
    Array,
    Case,
    DeviceClock,
    DeviceMemory,
    EngineOptions,
    Program,
    RunnerFacts,
    StepProfile,
    objectives_of,
)
from ..devices.cuda.autotune import tuner_for
from ..devices.cuda.clock import CudaClock, CudaLaunchClock
from ..devices.cuda.device import CudaDevice
from ..devices.cuda.memory import memory_of
from ..devices.cuda.opening import device_words, open_for, precision_words
from ..devices.phase_clock import DeviceMarks, medians, timed_seconds
from .engine import EagerRunner, EagerVocabulary, UpdatingRunner
from .masters import SeenParameters
from .multi_tensor import MultiTensor, Rule
from .phases import phases_entered, time_phases
from .profile import profile_steps
from .tape import no_grad
from .tensor import Tensor


class CudaVocabulary(EagerVocabulary):
    """The vocabulary on a GPU, where an optimizer updates all parameters by one launch."""

    def __init__(self, device: CudaDevice, seed: int, many: MultiTensor) -> None:
        super().__init__(device, seed)
        self._many = many

    def update_each(
        self,
        name: str,
        rule: Rule,
        tensors: Sequence[Sequence[Any]],
        shared: Sequence[Any] = (),
    ) -> list[tuple[Any, ...]]:
        """`rule(ops, *arrays, *shared)` for the arrays of each parameter, all of one shape.

        A rule is made of elementwise operations; `shared` are scalars. `name` is its kernel's.
        """
        return self._many.update_each(self, name, rule, tensors, shared)


class _OnCuda(EagerRunner):
    """One case on the eager engine on a GPU; comes before the runner of the step among the bases.

    Parameters and inputs are copied to the device when built and loaded, results to the host when
    they are asked for; a step is what the program issues, and one wait at its end.
    """

    device: CudaDevice

    def __init__(self, options: EngineOptions, *arguments: Any) -> None:
        self._driver = open_for(options)
        pooled = options.switches.get("pool", "on") == "on"
        device = CudaDevice(self._driver, options.precision, pooled=pooled)
        self._tuner = device.tuner = tuner_for(options, self._driver)
        super().__init__(*(*arguments, device))
        self._many: MultiTensor | None = None
        if options.switches.get("multi_tensor", "on") == "on":
            self._many = MultiTensor(device)
            self._ops = CudaVocabulary(device, options.seed, self._many)
        self._clock: CudaClock | None = None
        self._reads = 0

    def issue(self) -> None:
        """Issue one step."""
        if isinstance(self._seen, SeenParameters):
            self._seen.begin_step()
        before = self.device.reads
        super().step()
        self._reads = self.device.reads - before

    def step(self) -> None:
        """Do one step, and wait until the device has done it."""
        self.issue()
        self._driver.synchronize()

    def _update(self, sources: list[Tensor], found: list[Tensor | None], rate: float) -> None:
        """All parameters by one launch: their gradients are all there when backward ends."""
        if self._many is None:
            super()._update(sources, found, rate)
            return
        pairs = [(s, g) for s, g in zip(sources, found, strict=True) if g is not None]
        with no_grad():
            self._many.subtract_scaled(
                [target for target, _ in pairs], [given for _, given in pairs], rate
            )

    def device_clock(self) -> DeviceClock:
        """The clock of the stream that the step is issued to."""
        if self._clock is None:
            self._clock = CudaClock(self._driver)
        return self._clock

    def replays(self) -> bool:
        """No: every step is issued anew."""
        return False

    def waits(self) -> str:
        """What the host read during the last step; empty where it read nothing."""
        if not self._reads:
            return ""
        return f"the program reads {self._reads} {'value' if self._reads == 1 else 'values'}"

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
        clock = CudaLaunchClock(self._driver, self.device_clock().spin)
        with phases_entered(self, clock.enter):
            found = profile_steps(self.device, self.step, steps, clock)
        return replace(found, phases=medians(self.phase_seconds(steps)))

    def phase_seconds(self, steps: int) -> Mapping[str, tuple[float, ...]]:
        """Device time of forward, backward and update; see the contract."""
        if self._kind == "forward":
            return {}
        seconds = timed_seconds(self.issue, self._driver.synchronize)
        marks = DeviceMarks(self.device_clock(), seconds)
        return time_phases(self, self.issue, steps, marks)

    def device_memory(self) -> DeviceMemory:
        """The pool, which has all of a runner's arrays, and the rest of the card."""
        return memory_of(self._driver, self.device.pool.held_bytes)

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
