"""The engine `torch-compile`: PyTorch with its step compiled by torch.compile (Inductor)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..contract import Array, Availability, Case, EngineOptions, Program, RunnerFacts
from .torch_engine import TorchEngine, TorchRunner, WaitingForCuda
from .torch_operations import computed

COMPILERS = ("g++", "clang++", "c++")
"""What Inductor compiles its kernels with; $CXX comes first."""


class TorchCompileRunner(TorchRunner):
    """One case whose program, and what autograd makes of it, Inductor has compiled."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        if options.cache_directory is not None:
            # Read when kernels are first looked up: a cold start is to find none.
            folder = Path(options.cache_directory) / "inductor"
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
        super().__init__(workload, case, parameters, inputs, options)
        self._compiled: Any = None

    def compile(self) -> None:
        """Compile the program and its backward: Inductor does so when it first sees arrays."""
        # Of inputs of many shapes Inductor makes code for any of them, once it has met a second.
        varying = getattr(self._workload, "varying_shapes", False)
        self._compiled = self._torch.compile(self._tensors, dynamic=None if varying else False)
        if self._objectives is None:
            self._run_compiled()
            return
        if len(self._objectives) > 1:
            # Several walks over one tape: what the first leaves must not be reused for its results.
            config: Any = import_module("torch._functorch.config")
            config.donated_buffer = False
        self._update = self._torch.compile(self._updated, dynamic=False)
        gradients, _ = self._compiled_gradients()
        with self._torch.no_grad():
            self._update(self._parameters, gradients)

    def _compiled_gradients(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The gradients for the workload's update, and the program's own updates."""
        self._values = {}
        self._values, _, _, updates = self._compiled(self._parameters, self._inputs, self._step)
        return self._gradients_of_each(self._values), updates

    def _tensors(
        self, parameters: dict[str, Any], inputs: dict[str, Any], step: Any
    ) -> tuple[dict[str, Any], Any, Any, dict[str, Any]]:
        """The program as a function of tensors that returns tensors."""
        if step is not None:
            self._ops.begin_step(self._seed, step)
        outputs = self._program(self._ops, parameters, inputs, self._case)
        values = {name: computed(value) for name, value in outputs.values.items()}
        updates = {name: computed(value) for name, value in (outputs.updates or {}).items()}
        return values, computed(outputs.objective), computed(outputs.seed), updates

    def step(self) -> None:
        """Call the compiled program, and backward and the update where the case asks for them."""
        if self._objectives is not None:
            gradients, updates = self._compiled_gradients()
            self._assign(updates, gradients)
            self._count_step()
            return
        self._run_compiled()
        self._count_step()
        if self._kind == "training":
            self._optimizer.step()

    def _count_step(self) -> None:
        if self._step is not None:
            self._step = self._step + 1

    def _run_compiled(self) -> None:
        """The program, and its gradients unless the case only wants its values."""
        self._values = {}
        if self._kind == "forward":
            with self._torch.inference_mode():
                self._values, _, _, _ = self._compiled(self._parameters, self._inputs, self._step)
            return
        for source in self._sources.values():
            source.grad = None
        self._values, objective, seed, _ = self._compiled(
            self._parameters, self._inputs, self._step
        )
        objective.backward(seed)

    def facts(self) -> RunnerFacts:
        """How it runs."""
        facts = super().facts()
        first, *others = facts.notes
        words = first.replace("eager on", "compiled by Inductor for")
        return RunnerFacts(kernels=("inductor",), notes=(words, *others))

    def close(self) -> None:
        """Let go of all tensors and of the compiled program."""
        super().close()
        self._compiled = None
        import_module("torch._dynamo").reset()


class TorchCompileCudaRunner(WaitingForCuda, TorchCompileRunner):
    """One case compiled by Inductor for a GPU."""


class TorchCompileEngine(TorchEngine):
    """PyTorch under torch.compile."""

    name = "torch-compile"
    runner = TorchCompileRunner
    cuda_runner = TorchCompileCudaRunner
    precisions = ("fp32", "tf32")

    def availability(self, device: str) -> Availability:
        """Whether PyTorch and a C++ compiler are here."""
        found = super().availability(device)
        if not found.ok or find_compiler():
            return found
        return Availability(
            False,
            "torch.compile needs a C++ compiler: none of $CXX, "
            + ", ".join(COMPILERS)
            + " is here",
            "install g++ or clang++, or use --engine torch",
        )


def find_compiler() -> str | None:
    """The C++ compiler that Inductor would use."""
    wanted = (os.environ.get("CXX", ""), *COMPILERS)
    return next((path for name in wanted if name and (path := shutil.which(name))), None)


def make_torch_compile_engine() -> TorchCompileEngine:
    """The factory behind the entry point `torch-compile`."""
    return TorchCompileEngine()
