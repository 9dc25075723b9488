"""The eager engine behind the harness's contract: every step runs the program anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..contract import (
    AVAILABLE,
    Array,
    Availability,
    Case,
    DeviceFinding,
    DeviceLimits,
    EngineOptions,
    Objectives,
    Paradigm,
    Precision,
    Program,
    RunnerFacts,
    StepProfile,
    Switch,
    new_parameters,
    objectives_of,
    refuse_updates,
)
from ..devices.availability import device_availability, gpu_index
from ..devices.cpu import Device
from ..devices.gpu_switches import AUTOTUNE
from ..devices.launch_clock import LaunchClock
from ..devices.phase_clock import HostMarks, medians
from ..kernels.code_cache import use_directory
from ..kernels.compile_tally import TALLY
from ..kernels.convolution_choice import CONVOLUTION, NAME, left_out
from ..primitives.half_storage import loss_scale, stored_dtype
from ..primitives.randomness import random
from ..primitives.state import assign_sub_scaled
from ..primitives.vocabulary_methods import InHouseVocabulary
from . import control_flow
from .entries import Leaf
from .masters import SeenParameters, seen_parameters, unscaled
from .nan_watch import NanWatch
from .partial_walks import gradients_of_each
from .phases import phases_entered, time_phases
from .profile import profile_steps
from .tape import gradients, no_grad
from .tensor import Tensor, add, divide, half_tensor, multiply, subtract, tensor
from .tensor import sum as tensor_sum

SWITCHES = {
    "pool": Switch("on", ("on", "off"), "take large arrays from a caching pool"),
    "multi_tensor": Switch(
        "on", ("on", "off"), "on a GPU: update all parameters by one launch", "gpu"
    ),
    "check_nan": Switch(
        "off", ("on", "off"), "stop at the first result with a NaN, naming the line that made it"
    ),
    NAME: CONVOLUTION,
    "autotune": AUTOTUNE,
}


_NOTHING: Mapping[str, Any] = {}


class EagerVocabulary(InHouseVocabulary):
    """The vocabulary on eager tensors, with random numbers keyed by seed, call site and step.

    Call sites are counted from the start of each step, so that the n-th random call of a step
    draws the same numbers as node n of a static graph.
    """

    add = staticmethod(add)
    subtract = staticmethod(subtract)
    multiply = staticmethod(multiply)
    divide = staticmethod(divide)
    sum = staticmethod(tensor_sum)
    _control = control_flow

    def __init__(self, device: Device, seed: int = 0) -> None:
        self._device = device
        self._seed = seed
        self._site = 0
        self._number = 0

    def begin_step(self, number: int) -> None:
        """Restart the count of call sites; `number` counts the steps."""
        self._site = 0
        self._number = number

    def _random(self, shape: tuple[int, ...], dtype: str, distribution: str) -> Any:
        site, self._site = self._site, self._site + 1
        return random(
            tensor(np.array(self._number, np.int64), device=self._device),
            shape=tuple(shape),
            dtype=dtype,
            seed=self._seed,
            site=site,
            distribution=distribution,
        )


class EagerRunner:
    """One case on the eager engine."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
        device: Device | None = None,
    ) -> None:
        self._workload = workload
        self._case = case
        self._arrays = (parameters, inputs)
        self._program = workload.program
        self._kind = workload.step(case)
        if device is None:
            use_directory(options.cache_directory)
            pooled = options.switches.get("pool", "on") == "on"
            device = Device(options.device, options.threads, pooled, left_out(options.switches))
        if options.switches.get("check_nan") == "on":
            device.hooks.append(NanWatch())
        self.device = device
        self._ops = EagerVocabulary(device, options.seed)
        self._parameters: dict[str, Tensor] = {}
        self._seen: Mapping[str, Tensor] = self._parameters
        self._scale = loss_scale(device.precision)
        self._rate = workload.learning_rate(case)
        self._inputs: dict[str, Tensor] = {}
        self._wanted: tuple[str, ...] = ()
        self._gradient_names: list[str] = []
        self._sources: list[Tensor] = []
        self._results: Mapping[str, Any] = _NOTHING
        self._gradients: Sequence[Any] = ()
        self._steps = 0

    def build(self) -> None:
        """Wrap the parameters and inputs as tensors."""
        parameters, inputs = self._arrays
        self._wanted = self._wanted_names()
        self._gradient_names = [f"grad_{name}" for name in self._wanted]
        if self._kind == "training":
            self._parameters = {
                name: tensor(array, requires_grad=name in self._wanted, device=self.device)
                for name, array in parameters.items()
            }
            self._seen = seen_parameters(self._parameters, self.device.precision)
        else:
            self._parameters = {name: self._wrap(name, array) for name, array in parameters.items()}
            self._seen = self._parameters
        self.load(inputs)

    def _wanted_names(self) -> tuple[str, ...]:
        """The inputs and parameters whose gradients a step takes."""
        if self._kind == "training":
            return tuple(self._arrays[0])
        return self._workload.differentiate(self._case) if self._kind == "gradient" else ()

    def _wrap(self, name: str, array: Array) -> Tensor:
        wanted, own = name in self._wanted, array.dtype.name
        stored = stored_dtype(own, self.device.precision)
        if stored != own:
            return half_tensor(array, stored, self.device, wanted)
        return tensor(array, requires_grad=wanted, device=self.device)

    def compile(self) -> None:
        """Nothing: kernels are chosen when an operation first runs."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Take new inputs without copying them."""
        self._inputs = {name: self._wrap(name, array) for name, array in inputs.items()}
        known = {**self._inputs, **self._parameters}
        self._sources = [known[name] for name in self._wanted]

    def step(self) -> None:
        """Run the program, and backward and the update where the case asks for them."""
        # Last step's results go first, so that the pool can hand out their memory again.
        self._results, self._gradients = _NOTHING, ()
        self._ops.begin_step(self._steps)
        self._steps += 1
        if self._kind == "forward":
            with no_grad():
                outputs = self._program(self._ops, self._seen, self._inputs, self._case)
            self._results = outputs.values
            return
        outputs = self._program(self._ops, self._seen, self._inputs, self._case)
        seeds = None if outputs.seed is None else [outputs.seed]
        # A seed that the program gives has a size of its own.
        scale = self._scale if seeds is None else 1.0
        if scale != 1.0:
            seeds = [scale]
        found = gradients(outputs.objective, self._sources, seeds)
        self._results = outputs.values
        if self._kind == "training":
            refuse_updates(outputs)
            del outputs
            self._update(self._sources, found, self._rate / scale)
        else:
            self._gradients = found if scale == 1.0 else unscaled(found, scale)

    def _update(self, sources: list[Tensor], found: list[Tensor | None], rate: float) -> None:
        with no_grad():
            # Each gradient goes as soon as it is used.
            found.reverse()
            for source in sources:
                gradient = found.pop()
                if gradient is not None:
                    assign_sub_scaled(source, gradient, scale=rate)

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        results = {name: each.numpy() for name, each in self._results.items()}
        for name, each, source in zip(
            self._gradient_names, self._gradients, self._sources, strict=False
        ):
            if each is None:
                each = self._untaken(name.removeprefix("grad_"), source)
            results[name] = each.numpy()
        if self._kind == "training":
            for name, parameter in self._parameters.items():
                results[f"parameter/{name}"] = parameter.numpy()
        return results

    def _untaken(self, name: str, source: Tensor) -> Tensor:
        """The gradient of what no branch taken depended on: zeros."""
        if not self._ops.branched:
            raise _no_gradient(name)
        return tensor(np.zeros(source.shape, source.dtype), device=self.device)

    def facts(self) -> RunnerFacts:
        """Kernels used so far, in order of first use, and the pool's peak."""
        return RunnerFacts(
            kernels=tuple(self.device.kernel_names),
            notes=(str(TALLY),),
            counts={
                "pool_peak_bytes": self.device.pool.peak_bytes,
                "loops_compiled": TALLY.compiled,
                "loops_loaded": TALLY.loaded,
            },
        )

    def profile(self, steps: int) -> StepProfile:
        """Times of the kernel calls, in the order in which they run, and of the phases."""
        clock = LaunchClock()
        with phases_entered(self, clock.enter):
            found = profile_steps(self.device, self.step, steps, clock)
        return replace(found, phases=medians(time_phases(self, self.step, steps, HostMarks())))

    def close(self) -> None:
        """Let go of all tensors."""
        self._results, self._gradients = _NOTHING, ()
        self._parameters, self._inputs, self._sources = {}, {}, []
        self.device.pool.clear()


class UpdatingRunner(EagerRunner):
    """A training step whose updates the program states itself.

    New values take the place of the old ones: nothing is copied.
    """

    def __init__(self, objectives: Objectives, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._objectives = objectives

    def _wanted_names(self) -> tuple[str, ...]:
        return tuple(name for names in self._objectives.values() for name in names)

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Take new inputs without copying them."""
        super().load(inputs)
        self._sources = []  # parameters are replaced at every step

    def step(self) -> None:
        """Run the program, one backward for each objective, and the program's update."""
        self._results = _NOTHING
        self._ops.begin_step(self._steps)
        self._steps += 1
        parameters = self._parameters
        outputs = self._program(self._ops, self._seen, self._inputs, self._case)
        pairs = [
            (outputs.values[objective], [parameters[name] for name in names])
            for objective, names in self._objectives.items()
        ]
        if self._scale == 1.0:
            found = gradients_of_each(pairs)
        else:
            found = unscaled(gradients_of_each(pairs, self._scale), self._scale)
        given = {}
        for name, gradient in zip(self._wanted, found, strict=True):
            if gradient is None:
                gradient = self._untaken(name, parameters[name])
            given[name] = gradient
        self._results = outputs.values
        with no_grad():
            updated = self._workload.update(  # type: ignore[attr-defined]
                self._ops, parameters, given, self._case
            )
        for name, value in new_parameters(outputs.updates, updated, parameters).items():
            if isinstance(self._seen, SeenParameters):
                value = self._seen.widened(name, value)
            made = parameters[name] = Tensor(value.array, value.kind)
            if name in self._wanted:
                made.entry = Leaf(made)


def _no_gradient(name: str) -> ValueError:
    return ValueError(
        f"the gradient of {name!r} was asked for, and nothing that is differentiated depends on it"
    )


def make_runner(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    options: EngineOptions,
    device: Device | None = None,
) -> EagerRunner:
    """The runner for what a step of the case is."""
    arguments = (workload, case, parameters, inputs, options, device)
    objectives = objectives_of(workload, case)
    return EagerRunner(*arguments) if objectives is None else UpdatingRunner(objectives, *arguments)


class EagerEngine:
    """Define by run."""

    name = "eager"
    paradigm: Paradigm = "eager"
    precisions: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16")

    def versions(self) -> Mapping[str, str]:
        """Libraries that decide the speed."""
        import numba

        return {"numpy": np.__version__, "numba": numba.__version__}

    def availability(self, device: str) -> Availability:
        """Whether `device` can be used here."""
        return device_availability(device)

    def gpu_findings(self) -> tuple[DeviceFinding, ...]:
        """What the engines of ours need of a GPU; see the contract."""
        from ..devices.cuda.diagnosis import gpu_findings

        return gpu_findings()

    def device_limits(self, device: str) -> DeviceLimits:
        """What the GPU does at best; see the contract."""
        from ..devices.cuda.limits import measure_device_limits
        from ..devices.cuda.opening import open_device

        return measure_device_limits(open_device(device))

    def supports(self, workload: Program, case: Case) -> Availability:
        """Every workload in the vocabulary."""
        return AVAILABLE

    def switches(self) -> Mapping[str, Switch]:
        """The pool, multi-tensor launches, the look for NaNs, and how kernels are chosen."""
        return SWITCHES

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> EagerRunner:
        """A runner that executes the program every step."""
        if gpu_index(options.device) is not None:
            from .cuda_runner import make_cuda_runner

            return make_cuda_runner(workload, case, parameters, inputs, options)
        return make_runner(workload, case, parameters, inputs, options)


def make_engine() -> EagerEngine:
    """Factory of the entry point."""
    return EagerEngine()


__all__ = ["EagerEngine", "EagerRunner", "EagerVocabulary", "make_engine", "make_runner"]
