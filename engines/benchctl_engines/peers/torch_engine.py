"""The engine `torch`: eager PyTorch, with autograd and its SGD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, ClassVar

from ..contract import (
    Array,
    Case,
    DeviceMemory,
    EngineOptions,
    Outputs,
    Precision,
    Program,
    Runner,
    RunnerFacts,
    new_parameters,
    objectives_of,
    refuse_updates,
)
from ..devices.availability import gpu_index
from ..devices.cuda.nvml import sensors_at
from ..primitives.half_storage import STORED_AS
from .counter_random import draws_random_numbers
from .cuda_builds import torch_without_cuda
from .framework import FrameworkEngine, MakeRunner, no_gradient, place_words
from .probed_program import branches
from .torch_halves import TorchHalves, on_host
from .torch_operations import TorchOperations, computed

_RSCK_TO_KRSC = (3, 0, 1, 2)
_KRSC_TO_RSCK = (1, 2, 3, 0)


class TorchRunner:
    """One case in eager PyTorch: the program runs anew at every step."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        self._torch = import_module("torch")
        self._torch.set_num_threads(options.threads)
        self._options = options
        self._place = _place(self._torch, options)
        self._threads = options.threads
        self._ops = TorchOperations()
        self._workload = workload
        self._program = workload.program
        self._case = case
        self._kind = workload.step(case)
        self._objectives = objectives_of(workload, case)
        self._seed = options.seed
        # What no branch taken depends on has no gradient in PyTorch.
        self._branches = branches(workload, case)
        # The number of the step, where random numbers depend on it.
        self._step: Any = None
        if draws_random_numbers(workload, case):
            self._step = self._torch.zeros((), dtype=self._torch.int64, device=self._place)
            self._ops.own_random = options.own_random
            self._torch.manual_seed(options.seed)
        self._update: Callable[..., dict[str, Any]] = self._updated
        self._arrays: tuple[Mapping[str, Array], Mapping[str, Array]] = (parameters, inputs)
        self._wanted: tuple[str, ...] = ()
        self._parameters: dict[str, Any] = {}
        self._inputs: dict[str, Any] = {}
        self._sources: dict[str, Any] = {}
        self._values: dict[str, Any] = {}
        self._optimizer: Any = None
        self._halves: TorchHalves | None = None
        if options.precision in STORED_AS:
            self._halves = TorchHalves(self._torch, options.precision)
        self._gradients: dict[str, Any] = {}

    def build(self) -> None:
        """Make tensors of the arrays, stored as PyTorch's kernels want them."""
        parameters, inputs = self._arrays
        self._arrays = {}, {}
        if self._objectives is not None:
            self._wanted = tuple(name for names in self._objectives.values() for name in names)
        elif self._kind == "training":
            self._wanted = tuple(parameters)
        elif self._kind == "gradient":
            self._wanted = self._workload.differentiate(self._case)
        for name, array in parameters.items():
            tensor = self._stored(array)
            if self._halves is not None and self._kind != "training":
                tensor = self._halves.rounded(tensor)
            self._parameters[name] = self._leaf(name, tensor)
        if self._kind == "training" and self._objectives is None:
            rate = self._workload.learning_rate(self._case)
            self._optimizer = self._torch.optim.SGD(list(self._parameters.values()), lr=rate)
        self.load(inputs)

    def _stored(self, array: Array) -> Any:
        """A parameter with its own shape; where a kernel reads it in another order, so stored."""
        tensor = self._torch.tensor(array, device=self._place)
        if tensor.ndim == 4 and "NHWC" in self._case.values():
            # Filters [R, S, C, K]: channels_last once conv2d views them as [K, C, R, S].
            return tensor.permute(_RSCK_TO_KRSC).contiguous().permute(_KRSC_TO_RSCK)
        if tensor.ndim == 2:
            # As torch.nn.Linear stores its weight.
            return tensor.t().contiguous().t()
        return tensor

    def _leaf(self, name: str, tensor: Any) -> Any:
        return tensor.requires_grad_() if name in self._wanted else tensor

    def compile(self) -> None:
        """Nothing: eager."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy new inputs."""
        for name, array in inputs.items():
            tensor = self._torch.tensor(array, device=self._place)
            if self._halves is not None:
                tensor = self._halves.rounded(tensor)
            self._inputs[name] = self._leaf(name, tensor)
        known = {**self._inputs, **self._parameters}
        self._sources = {name: known[name] for name in self._wanted}

    def step(self) -> None:
        """Run the program, and backward and the update where the case asks for them."""
        self._values = {}
        if self._kind == "forward":
            with self._torch.inference_mode():
                self._keep(self._run())
            return
        if self._objectives is not None:
            outputs = self._run()
            self._assign(outputs.updates, self._gradients_of_each(outputs.values))
            self._keep(outputs)
            return
        for source in self._sources.values():
            source.grad = None
        outputs = self._run()
        if self._halves is None:
            computed(outputs.objective).backward(outputs.seed)
        else:
            self._backward_in_halves(outputs, self._halves)
        if self._kind == "training":
            refuse_updates(outputs)
            self._optimizer.step()
        self._keep(outputs)

    def _backward_in_halves(self, outputs: Outputs, halves: TorchHalves) -> None:
        """Gradients in float32: of parameters where PyTorch keeps them, of halves beside them."""
        objective = computed(outputs.objective)
        seed, scale = halves.seed(objective, computed(outputs.seed))
        objective.backward(seed)
        self._gradients = {}
        for name, source in self._sources.items():
            if source.grad is None:
                continue
            gradient = halves.unscaled(source.grad, scale)
            if source.dtype == gradient.dtype:
                source.grad = gradient
            else:
                self._gradients[name] = gradient

    def _gradients_of_each(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The gradient of each trained parameter, of the objective that trains it."""
        gradients: dict[str, Any] = {}
        left = len(self._objectives or {})
        for objective, names in (self._objectives or {}).items():
            left -= 1
            sources = [self._parameters[name] for name in names]
            scalar = computed(values[objective])
            seed, scale = (None, 1.0) if self._halves is None else self._halves.seed(scalar)
            found = self._torch.autograd.grad(
                scalar, sources, seed, retain_graph=left > 0, allow_unused=True
            )
            for name, gradient in zip(names, found, strict=True):
                if gradient is None:
                    gradient = self._untaken(name, self._parameters[name])
                elif self._halves is not None:
                    gradient = self._halves.unscaled(gradient, scale)
                gradients[name] = gradient
        return gradients

    def _untaken(self, name: str, source: Any) -> Any:
        """The gradient where there is none: zero, if that is because of a branch."""
        if not self._branches:
            raise no_gradient(name)
        return self._torch.zeros_like(source)

    def _updated(self, parameters: dict[str, Any], gradients: dict[str, Any]) -> dict[str, Any]:
        """The workload's own update, as a function of tensors."""
        update = self._workload.update  # type: ignore[attr-defined]
        new = update(self._ops, parameters, gradients, self._case)
        return {name: computed(value) for name, value in new.items()}

    def _assign(self, from_program: Mapping[str, Any] | None, gradients: dict[str, Any]) -> None:
        """Copy all new values into the parameters once every one of them is computed."""
        with self._torch.no_grad():
            updated = self._update(self._parameters, gradients)
            new = new_parameters(from_program, updated, self._parameters)
            old = {id(each) for each in self._parameters.values()}
            values = {name: computed(each) for name, each in new.items()}
            ready = {n: each.clone() if id(each) in old else each for n, each in values.items()}
            for name, value in ready.items():
                self._parameters[name].copy_(value)

    def _run(self) -> Outputs:
        if self._step is not None:
            self._ops.begin_step(self._seed, self._step)
            self._step = self._step + 1
        seen = self._parameters
        if self._halves is not None and self._kind == "training":
            seen = self._halves.seen(seen)
        return self._program(self._ops, seen, self._inputs, self._case)

    def _keep(self, outputs: Outputs) -> None:
        self._values = {name: computed(value) for name, value in outputs.values.items()}

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        results = {name: on_host(value) for name, value in self._values.items()}
        if self._kind == "gradient":
            for name, source in self._sources.items():
                gradient = self._untaken(name, source) if source.grad is None else source.grad
                results[f"grad_{name}"] = on_host(self._gradients.get(name, gradient))
        elif self._kind == "training":
            for name, parameter in self._parameters.items():
                results[f"parameter/{name}"] = on_host(parameter)
        return results

    def facts(self) -> RunnerFacts:
        """PyTorch does not name its kernels; how it runs."""
        place = place_words(self._options.device, self._options.precision, self._threads)
        if self._place is None:
            onednn = self._torch.backends.mkldnn.is_available()
            notes = [f"eager on {place}, oneDNN {'on' if onednn else 'off'}"]
        else:
            name = self._torch.cuda.get_device_name(self._place)
            notes = [f"eager on {place}, cudnn.benchmark on, {name}"]
        if self._kind == "forward":
            notes.append("under torch.inference_mode")
        elif self._kind == "training":
            own = "torch.optim.SGD" if self._objectives is None else "the workload's own update"
            notes.append(f"updated by {own}")
        if self._ops.own_random:
            notes.append("random numbers by torch.rand")
        if "NHWC" in self._case.values():
            notes.append("images and filters in channels_last memory")
        if self._halves is not None:
            notes += self._halves.notes(self._kind)
        return RunnerFacts(kernels=("torch",), notes=tuple(notes))

    def close(self) -> None:
        """Let go of all tensors."""
        self._parameters, self._inputs, self._sources, self._values = {}, {}, {}, {}
        self._optimizer, self._gradients = None, {}
        self._update = self._updated


class WaitingForCuda:
    """A runner on a GPU, whose step waits for it; comes before the runner among the bases."""

    def step(self) -> None:
        """Do one step, and wait until the device has done it."""
        runner: Any = self
        super().step()  # type: ignore[misc]
        runner._torch.cuda.synchronize(runner._place)

    def facts(self) -> RunnerFacts:
        """How it runs, and the most that PyTorch's pool has held."""
        runner: Any = self
        found: RunnerFacts = super().facts()  # type: ignore[misc]
        peak = runner._torch.cuda.max_memory_reserved(runner._place)
        return replace(found, counts={**found.counts, "pool_peak_bytes": int(peak)})

    def device_memory(self) -> DeviceMemory:
        """What PyTorch's pool and this process hold of the card, and what is free."""
        runner: Any = self
        cuda, place = runner._torch.cuda, runner._place
        free, total = cuda.mem_get_info(place)
        sensors = sensors_at(_pci_bus_id(cuda.get_device_properties(place)))
        process = None if sensors is None else sensors.process_bytes()
        return DeviceMemory(int(cuda.memory_reserved(place)), int(free), int(total), process)


class TorchCudaRunner(WaitingForCuda, TorchRunner):
    """One case in eager PyTorch on a GPU."""


def _pci_bus_id(properties: Any) -> str:
    """Where a GPU stands, `0000:17:00.0`; empty of a PyTorch that does not tell."""
    names = ("pci_domain_id", "pci_bus_id", "pci_device_id")
    domain, bus, device = (getattr(properties, name, None) for name in names)
    if domain is None or bus is None or device is None:
        return ""
    return f"{domain:04x}:{bus:02x}:{device:02x}.0"


def _place(torch: Any, options: EngineOptions) -> Any:
    """The torch.device of a GPU with its precision set, None of the CPU.

    TF32 is decided in both of PyTorch's places: its default is on for convolutions and off for
    matrix products.
    """
    index = gpu_index(options.device)
    if index is None:
        return None
    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} finds no GPU that it can use")
    tf32 = options.precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    place = torch.device("cuda", index)
    torch.cuda.set_device(place)
    return place


class TorchEngine(FrameworkEngine):
    """Eager PyTorch."""

    name = "torch"
    packages = ("torch",)
    extra = "torch"
    runner = TorchRunner
    cuda_runner: ClassVar[MakeRunner] = TorchCudaRunner
    operations = TorchOperations
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "tf32", "fp16", "bf16")
    cuda_hint = "install a build of torch with CUDA (pytorch.org)"

    def without_cuda(self) -> str:
        """Why the installed build cannot use a GPU."""
        return torch_without_cuda()

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> Runner:
        """A runner of a case; on a GPU one that waits for it."""
        make = self.runner if gpu_index(options.device) is None else self.cuda_runner
        return make(workload, case, parameters, inputs, options)


def make_torch_engine() -> TorchEngine:
    """The factory behind the entry point `torch`."""
    return TorchEngine()
