"""The eager engine behind the harness's contract: every step runs the program anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..contract import (
    AVAILABLE,
    Array,
    Availability,
    Case,
    DeviceFinding,
    EngineOptions,
    Paradigm,
    Program,
    RunnerFacts,
    StepProfile,
    Switch,
)
from ..devices.availability import device_availability, gpu_index
from ..devices.cpu import Device
from ..kernels.code_cache import use_directory
from ..kernels.compile_tally import TALLY
from ..primitives.randomness import random
from ..primitives.state import assign_sub_scaled
from ..primitives.vocabulary_methods import InHouseVocabulary
from .profile import profile_steps
from .tape import gradients, no_grad
from .tensor import Tensor, add, divide, multiply, subtract, tensor
from .tensor import sum as tensor_sum

SWITCHES = {
    "pool": Switch("on", ("on", "off"), "take large arrays from a caching pool"),
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
        self._rate = workload.learning_rate(case)
        if device is None:
            use_directory(options.cache_directory)
            pooled = options.switches.get("pool", "on") == "on"
            device = Device(options.device, options.threads, pooled)
        self.device = device
        self._ops = EagerVocabulary(device, options.seed)
        self._parameters: dict[str, Tensor] = {}
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
        if self._kind == "training":
            self._wanted = tuple(parameters)
        elif self._kind == "gradient":
            self._wanted = self._workload.differentiate(self._case)
        self._gradient_names = [f"grad_{name}" for name in self._wanted]
        self._parameters = {name: self._wrap(name, array) for name, array in parameters.items()}
        self.load(inputs)

    def _wrap(self, name: str, array: Array) -> Tensor:
        return tensor(array, requires_grad=name in self._wanted, device=self.device)

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
                outputs = self._program(self._ops, self._parameters, self._inputs, self._case)
            self._results = outputs.values
            return
        outputs = self._program(self._ops, self._parameters, self._inputs, self._case)
        seeds = None if outputs.seed is None else [outputs.seed]
        found = gradients(outputs.objective, self._sources, seeds)
        self._results = outputs.values
        del outputs
        if self._kind == "training":
            self._update(self._sources, found)
        else:
            self._gradients = found

    def _update(self, sources: list[Tensor], found: list[Tensor | None]) -> None:
        with no_grad():
            # Each gradient goes as soon as it is used.
            found.reverse()
            for source in sources:
                gradient = found.pop()
                if gradient is not None:
                    assign_sub_scaled(source, gradient, scale=self._rate)

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        results = {name: each.numpy() for name, each in self._results.items()}
        for name, each in zip(self._gradient_names, self._gradients, strict=False):
            if each is None:
                raise ValueError(
                    f"the gradient of {name.removeprefix('grad_')!r} was asked for, and nothing "
                    "that is differentiated depends on it"
                )
            results[name] = each.numpy()
        if self._kind == "training":
            for name, parameter in self._parameters.items():
                results[f"parameter/{name}"] = parameter.numpy()
        return results

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
        """Times of the kernel calls, in the order in which they run."""
        return profile_steps(self.device, self.step, steps)

    def close(self) -> None:
        """Let go of all tensors."""
        self._results, self._gradients = _NOTHING, ()
        self._parameters, self._inputs, self._sources = {}, {}, []
        self.device.pool.clear()


class EagerEngine:
    """Define by run."""

    name = "eager"
    paradigm: Paradigm = "eager"

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

    def supports(self, workload: Program, case: Case) -> Availability:
        """Every workload in the vocabulary."""
        return AVAILABLE

    def switches(self) -> Mapping[str, Switch]:
        """The pool."""
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
            from .cuda_runner import CudaEagerRunner

            return CudaEagerRunner(workload, case, parameters, inputs, options)
        return EagerRunner(workload, case, parameters, inputs, options)


def make_engine() -> EagerEngine:
    """Factory of the entry point."""
    return EagerEngine()


__all__ = ["EagerEngine", "EagerRunner", "EagerVocabulary", "make_engine"]
