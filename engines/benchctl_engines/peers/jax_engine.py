"""The engine `jax`: one jitted function a step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..contract import (
    Array,
    Case,
    EngineOptions,
    Objectives,
    Outputs,
    Program,
    RunnerFacts,
    new_parameters,
    objectives_of,
    refuse_updates,
)
from ..devices.availability import gpu_index
from .counter_random import draws_random_numbers
from .cuda_builds import jax_without_cuda
from .framework import FrameworkEngine, place_words
from .jax_operations import JaxOperations

Tensors = dict[str, Any]


class JaxRunner:
    """One case as one function that XLA compiles."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        # XLA sizes its pool by this when it first computes, and has no other setting for it.
        os.environ["NPROC"] = str(options.threads)
        self._jax = import_module("jax")
        arrays = (*parameters.values(), *inputs.values())
        self._wide = any(each.dtype == "float64" for each in arrays)
        self._jax.config.update("jax_enable_x64", self._wide)
        self._threads = options.threads
        self._options = options
        _place(self._jax, options)
        self._ops = JaxOperations()
        self._workload = workload
        self._case = case
        self._kind = workload.step(case)
        self._ops.differentiated = self._kind != "forward"
        self._objectives = objectives_of(workload, case)
        self._seed = options.seed
        self._draws = draws_random_numbers(workload, case)
        self._ops.own_random = self._draws and options.own_random
        self._steps = 0
        self._arrays: tuple[Mapping[str, Array], Mapping[str, Array]] = (parameters, inputs)
        self._names = tuple(parameters), tuple(inputs)
        self._wanted: tuple[str, ...] = ()
        self._parameters: Tensors = {}
        self._inputs: Tensors = {}
        self._function: Any = None
        # What jax.jit made, and what it was compiled to for the first shapes.
        self._jitted: Any = None
        self._compiled: Any = None
        self._compiled_shapes: dict[str, tuple[int, ...]] = {}
        self._values: Tensors = {}
        self._gradients: Tensors = {}

    def build(self) -> None:
        """Copy parameters and inputs into arrays of JAX."""
        parameters, inputs = self._arrays
        self._arrays = {}, {}
        if self._kind == "training":
            self._wanted = tuple(parameters)
        elif self._kind == "gradient":
            self._wanted = self._workload.differentiate(self._case)
        self._parameters = self._copied(parameters)
        self.load(inputs)

    def _copied(self, arrays: Mapping[str, Array]) -> Tensors:
        # Without a copy JAX would use NumPy's memory, and a donated array would be handed out.
        copies = {name: self._jax.numpy.array(array, copy=True) for name, array in arrays.items()}
        ready: Tensors = self._jax.block_until_ready(copies)
        return ready

    def compile(self) -> None:
        """Trace the step and compile it with XLA."""
        if self._kind == "training":
            jitted = self._jax.jit(self._training_step, donate_argnums=0)
        elif self._kind == "gradient":
            jitted = self._jax.jit(self._gradient_step)
        else:
            jitted = self._jax.jit(self._forward_step)
        self._jitted = jitted
        self._compiled = jitted.lower(self._parameters, self._inputs, self._number()).compile()
        self._compiled_shapes = self._shapes()
        self._function = self._compiled

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: each.shape for name, each in self._inputs.items()}

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy new inputs; for other shapes than it was compiled for, jax.jit compiles again."""
        self._inputs = self._copied(inputs)
        if self._compiled is not None:
            same = self._shapes() == self._compiled_shapes
            self._function = self._compiled if same else self._jitted

    def step(self) -> None:
        """Call the function and wait for every result."""
        self._values, self._gradients = {}, {}
        results = self._function(self._parameters, self._inputs, self._number())
        self._steps += 1
        self._jax.block_until_ready(results)
        if self._kind == "training":
            self._values, self._parameters = results
        elif self._kind == "gradient":
            self._values, self._gradients = results
        else:
            self._values = results

    def _number(self) -> Any:
        """The number of the step in two words, where random numbers depend on it."""
        if not self._draws:
            return None
        words = (self._steps & 0xFFFFFFFF, self._steps >> 32)
        return import_module("numpy").array(words, "uint32")

    def _forward_step(self, parameters: Tensors, inputs: Tensors, number: Any) -> Tensors:
        return dict(self._run({**inputs, **parameters}, number).values)

    def _run(self, known: Tensors, number: Any) -> Outputs:
        if number is not None:
            self._ops.begin_step(self._seed, number)
        # jax.jit sorts dictionaries; a program may rely on the order in which arrays were given.
        parameters, inputs = ({name: known[name] for name in names} for names in self._names)
        return self._workload.program(self._ops, parameters, inputs, self._case)

    def _training_step(
        self, parameters: Tensors, inputs: Tensors, number: Any
    ) -> tuple[Tensors, Tensors]:
        if self._objectives is not None:
            return self._step_as_stated(self._objectives, parameters, inputs, number)
        values, gradients = self._gradient_step(parameters, inputs, number)
        rate = self._workload.learning_rate(self._case)
        updated = {name: each - rate * gradients[name] for name, each in parameters.items()}
        return values, updated

    def _step_as_stated(
        self, objectives: Objectives, parameters: Tensors, inputs: Tensors, number: Any
    ) -> tuple[Tensors, Tensors]:
        """A training step whose updates the program states itself."""
        known = {**inputs, **parameters}

        def run(sources: Tensors) -> tuple[list[Any], tuple[Tensors, Tensors]]:
            outputs = self._run({**known, **sources}, number)
            values = dict(outputs.values)
            return [values[name] for name in objectives], (values, dict(outputs.updates or {}))

        sources = {name: known[name] for names in objectives.values() for name in names}
        at, pull, (values, updates) = self._jax.vjp(run, sources, has_aux=True)
        gradients: Tensors = {}
        for place, names in enumerate(objectives.values()):
            # What is pulled back to the others is never used, and XLA leaves it out.
            seeds = [self._jax.numpy.full_like(each, i == place) for i, each in enumerate(at)]
            (found,) = pull(seeds)
            gradients |= {name: found[name] for name in names}
        ordered = {name: parameters[name] for name in self._names[0]}
        update = self._workload.update  # type: ignore[attr-defined]
        updated = update(self._ops, ordered, gradients, self._case)
        return values, {**parameters, **new_parameters(updates, updated, parameters)}

    def _gradient_step(
        self, parameters: Tensors, inputs: Tensors, number: Any
    ) -> tuple[Tensors, Tensors]:
        known = {**inputs, **parameters}

        def objective(sources: Tensors) -> tuple[Any, tuple[Tensors, Any]]:
            outputs = self._run({**known, **sources}, number)
            if self._kind == "training":
                refuse_updates(outputs)
            return outputs.objective, (dict(outputs.values), outputs.seed)

        sources = {name: known[name] for name in self._wanted}
        # What value_and_grad does, for an objective of any shape.
        at, pull, (values, seed) = self._jax.vjp(objective, sources, has_aux=True)
        (gradients,) = pull(self._jax.numpy.ones_like(at) if seed is None else seed)
        return values, gradients

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        host = import_module("numpy").array
        results = {name: host(each) for name, each in self._values.items()}
        for name in self._wanted:
            if self._kind == "gradient":
                results[f"grad_{name}"] = host(self._gradients[name])
            else:
                results[f"parameter/{name}"] = host(self._parameters[name])
        return results

    def facts(self) -> RunnerFacts:
        """XLA does not name its kernels in use; how it runs."""
        width = "float64" if self._wide else "float32"
        options = self._options
        if gpu_index(options.device) is None:
            notes = [f"one jax.jit on the CPU, {width}, asked for {self._threads} threads"]
        else:
            place = place_words(options.device, options.precision, self._threads)
            notes = [f"one jax.jit on {place}, {width}"]
        if self._kind == "training":
            notes.append("parameters donated: updated in their own memory")
            if self._objectives is not None:
                notes.append("updated by the workload's own update")
        if self._ops.own_random:
            notes.append("random numbers by jax.random")
        return RunnerFacts(kernels=("xla",), notes=tuple(notes))

    def close(self) -> None:
        """Let go of all arrays and the compiled function."""
        self._parameters, self._inputs, self._function = {}, {}, None
        self._jitted = self._compiled = None
        self._values, self._gradients = {}, {}


def _place(jax: Any, options: EngineOptions) -> None:
    """Let JAX compute on the device of the options, at their precision.

    Its own default on a GPU is the first of them, and TF32.
    """
    index = gpu_index(options.device)
    if index is not None:
        jax.config.update("jax_default_device", jax.devices("gpu")[index])
        precision = "tensorfloat32" if options.precision == "tf32" else "float32"
        jax.config.update("jax_default_matmul_precision", precision)
    elif jax.default_backend() != "cpu":
        jax.config.update("jax_default_device", jax.devices("cpu")[0])


class JaxEngine(FrameworkEngine):
    """JAX under jax.jit."""

    name = "jax"
    packages = ("jax",)
    extra = "jax"
    distributions = ("jax", "jaxlib")
    runner = JaxRunner
    operations = JaxOperations
    cuda_hint = 'pip install "jax[cuda13]" or "jax[cuda12]"'

    def without_cuda(self) -> str:
        """Why the installed build cannot use a GPU."""
        return jax_without_cuda()


def make_jax_engine() -> JaxEngine:
    """The factory behind the entry point `jax`."""
    return JaxEngine()
