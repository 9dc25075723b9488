"""The engine `tinygrad`: one TinyJit a step, on the CPU."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import (
    Array,
    Availability,
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
from .framework import FrameworkEngine
from .tinygrad_operations import TinygradOperations

Tensors = dict[str, Any]
DEVICE = "CPU"
COMPILER = "clang"
_CALLS_UNTIL_CAPTURED = 2
_TRANSPOSED = (1, 0)
_RSCK_TO_KCRS = (3, 2, 0, 1)


class TinygradRunner:
    """One case as one captured list of kernels, which every step replays."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        if options.cache_directory is not None:
            # Read when tinygrad is imported: a cold start is to find no kernels.
            os.environ["CACHEDB"] = str(Path(options.cache_directory) / "tinygrad" / "cache.db")
        self._tinygrad = import_module("tinygrad")
        self._settings = import_module("tinygrad.helpers")
        # Into how many parts it may split a kernel; whether they run side by side is its affair.
        self._settings.NUM_CPU_THREADS.value = options.threads
        self._threads = options.threads
        self._device = self._tinygrad.Device[DEVICE]
        self._ops = TinygradOperations()
        self._workload = workload
        self._case = case
        self._kind = workload.step(case)
        self._objectives = objectives_of(workload, case)
        self._is_nhwc = "NHWC" in case.values()
        self._arrays: tuple[Mapping[str, Array], Mapping[str, Array]] = (parameters, inputs)
        self._wanted: tuple[str, ...] = ()
        self._parameters: Tensors = {}
        self._inputs: Tensors = {}
        self._optimizer: Any = None
        self._call: Callable[[], Tensors] | None = None
        self._results: Tensors = {}

    def build(self) -> None:
        """Copy parameters and inputs into buffers that stay."""
        parameters, inputs = self._arrays
        # Training is to start from these again, once it is compiled.
        self._arrays = (parameters if self._kind == "training" else {}), {}
        if self._kind == "gradient":
            self._wanted = self._workload.differentiate(self._case)
        self._parameters = self._tensors(self._stored(parameters))
        self._inputs = self._tensors(inputs)
        if self._kind == "training" and self._objectives is None:
            self._optimizer = import_module("tinygrad.nn.optim").SGD(
                list(self._parameters.values()), lr=self._workload.learning_rate(self._case)
            )

    def _stored(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        """Parameters as tinygrad's own layers store them, whose order its kernels read best."""
        return {
            name: np.ascontiguousarray(each.transpose(_stored_axes(each.ndim, self._is_nhwc)))
            for name, each in parameters.items()
        }

    def _given_axes(self, rank: int) -> tuple[int, ...]:
        """From a parameter as it is stored to what the workload gave."""
        axes = _stored_axes(rank, self._is_nhwc)
        return tuple(sorted(range(rank), key=axes.__getitem__))

    def _tensors(self, arrays: Mapping[str, Array]) -> Tensors:
        return {name: self._on_device(each).realize() for name, each in arrays.items()}

    def _on_device(self, array: Array) -> Any:
        return self._tinygrad.Tensor(array, device=DEVICE)

    def compile(self) -> None:
        """Call the step until TinyJit has captured it; what that trained is taken back."""
        steps = {
            "forward": self._forward_step,
            "gradient": self._gradient_step,
            "training": self._training_step,
        }
        self._call = self._tinygrad.TinyJit(steps[self._kind])
        for _ in range(_CALLS_UNTIL_CAPTURED):
            self._results = self._call()
        parameters, _ = self._arrays
        self._arrays = {}, {}
        self._copy(self._parameters, self._stored(parameters))

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy new inputs into the buffers that the captured step reads."""
        self._copy(self._inputs, inputs)

    def _copy(self, tensors: Tensors, arrays: Mapping[str, Array]) -> None:
        for name, array in arrays.items():
            tensors[name].assign(self._on_device(array)).realize()
        self._device.synchronize()

    def step(self) -> None:
        """Replay the kernels and wait for them."""
        assert self._call is not None, "compile comes before the first step"
        self._results = self._call()
        self._device.synchronize()

    def _as_given(self) -> Tensors:
        """The parameters with the axes that the workload gave them."""
        return {name: self._arranged(each) for name, each in self._parameters.items()}

    def _arranged(self, stored: Any) -> Any:
        return stored.permute(self._given_axes(stored.ndim))

    def _run(self, parameters: Tensors | None = None) -> Outputs:
        given = self._as_given() if parameters is None else parameters
        return self._workload.program(self._ops, given, self._inputs, self._case)

    # TinyJit returns the tensors of its capture ever after: they are realized within the call, and
    # all at once, so that nothing is computed twice.

    def _forward_step(self) -> Tensors:
        return self._realized(dict(self._run().values))

    def _gradient_step(self) -> Tensors:
        outputs = self._run()
        known = {**self._inputs, **self._parameters}
        sources = [known[name] for name in self._wanted]
        gradients = outputs.objective.gradient(*sources, gradient=outputs.seed)
        names = (f"grad_{name}" for name in self._wanted)
        return self._realized({**outputs.values, **dict(zip(names, gradients, strict=True))})

    def _training_step(self) -> Tensors:
        if self._objectives is not None:
            return self._step_as_stated(self._objectives)
        with self._tinygrad.Context(TRAINING=1):
            self._optimizer.zero_grad()
            outputs = self._run()
            refuse_updates(outputs)
            outputs.objective.backward(outputs.seed)
            return self._realized(dict(outputs.values), *self._optimizer.schedule_step())

    def _step_as_stated(self, objectives: Objectives) -> Tensors:
        """A training step whose updates the program states itself."""
        parameters = self._as_given()
        outputs = self._run(parameters)
        gradients: Tensors = {}
        for objective, names in objectives.items():
            found = outputs.values[objective].gradient(*(parameters[name] for name in names))
            gradients.update(zip(names, found, strict=True))
        update = self._workload.update  # type: ignore[attr-defined]
        updated = update(self._ops, parameters, gradients, self._case)
        new = {
            name: each.permute(_stored_axes(each.ndim, self._is_nhwc)).contiguous()
            for name, each in new_parameters(outputs.updates, updated, parameters).items()
        }
        # All are computed before the first is put in place.
        values = self._realized(dict(outputs.values), *new.values())
        placed = [self._parameters[name].assign(each) for name, each in new.items()]
        return self._realized(values, *placed)

    def _realized(self, values: Tensors, *others: Any) -> Tensors:
        self._tinygrad.Tensor.realize(*values.values(), *others)
        return values

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        results = {name: each.numpy() for name, each in self._results.items()}
        for name, parameter in self._parameters.items():
            if self._kind == "training":
                results[f"parameter/{name}"] = self._given(parameter.numpy())
            elif name in self._wanted:
                results[f"grad_{name}"] = self._given(results[f"grad_{name}"])
        return results

    def _given(self, stored: Array) -> Array:
        return stored.transpose(self._given_axes(stored.ndim))

    def facts(self) -> RunnerFacts:
        """tinygrad makes its kernels as it goes; how it runs."""
        notes = [f"one TinyJit on the CPU, asked for {self._threads} threads"]
        if getattr(self._device, "workers", None) == []:
            notes.append("its CPU device has no threads: kernels run in the calling one")
        beam = self._settings.BEAM.value
        notes.append(f"kernels found with BEAM={beam}" if beam else "kernels by its heuristics")
        ranks = {each.ndim for each in self._parameters.values()}
        if 2 in ranks:
            notes.append("weights stored [out, in], as in tinygrad.nn.Linear")
        if 4 in ranks and self._is_nhwc:
            notes.append("filters stored [K, C, R, S]; images permuted to NCHW within the step")
        if self._kind == "training":
            plain = self._objectives is None
            own = "tinygrad.nn.optim.SGD" if plain else "the workload's own update"
            notes.append(f"updated by {own}")
        return RunnerFacts(kernels=("tinygrad",), notes=tuple(notes))

    def close(self) -> None:
        """Let go of all tensors and of the captured kernels."""
        self._parameters, self._inputs, self._results = {}, {}, {}
        self._call, self._optimizer = None, None


def _stored_axes(rank: int, is_nhwc: bool) -> tuple[int, ...]:
    """The order of a parameter's axes in memory: weights [out, in], filters [K, C, R, S]."""
    if rank == 2:
        return _TRANSPOSED
    return _RSCK_TO_KCRS if rank == 4 and is_nhwc else tuple(range(rank))


class TinygradEngine(FrameworkEngine):
    """tinygrad under TinyJit."""

    name = "tinygrad"
    fixed_shapes = True
    packages = ("tinygrad",)
    extra = "tinygrad"
    runner = TinygradRunner
    operations = TinygradOperations

    def availability(self, device: str) -> Availability:
        """Whether tinygrad and its compiler are here."""
        found = super().availability(device)
        if not found.ok or find_compiler():
            return found
        return Availability(
            False,
            "tinygrad compiles its kernels with clang, and finds none here",
            "install clang, with $CC unset or naming it; on Debian: apt install clang",
        )


def find_compiler() -> str | None:
    """The clang that tinygrad would call: even its LLVM renderer starts the CPU device with it."""
    path = shutil.which(os.environ.get("CC", COMPILER))
    # $CC is for every compiler: what it says of GCC, tinygrad would call all the same, and fail.
    return path if path and COMPILER in Path(path).resolve().name else None


def make_tinygrad_engine() -> TinygradEngine:
    """The factory behind the entry point `tinygrad`."""
    return TinygradEngine()
