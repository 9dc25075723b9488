"""The engines `tf-function` and `tf-eager`: TensorFlow traced once, or operation by operation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, ClassVar

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
from ..devices.availability import gpu_index
from .counter_random import draws_random_numbers
from .cuda_builds import tensorflow_without_cuda
from .framework import FrameworkEngine, no_gradient, place_words
from .probed_program import branches, probe_program
from .tensorflow_operations import TensorflowOperations


class TensorflowRunner:
    """One case in TensorFlow; how its step is run is for subclasses."""

    mode = ""
    """How the step is run, in words."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        # Read when TensorFlow is imported; without it, every start prints lines of advice.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        self._tf = import_module("tensorflow")
        self._threads = options.threads
        set_threads(self._tf, options.threads)
        self._options = options
        self._wait: Callable[[], Any] | None = place_on(self._tf, options)
        self._ops = TensorflowOperations()
        self._workload = workload
        self._case = case
        self._kind = workload.step(case)
        self._objectives = objectives_of(workload, case)
        self._seed = options.seed
        # What no branch taken depends on has no gradient where operations run at once.
        self._branches = branches(workload, case)
        self._step_number: Any = None
        if draws_random_numbers(workload, case):
            self._step_number = self._tf.Variable(0, dtype=self._tf.int64)
        self._arrays: tuple[Mapping[str, Array], Mapping[str, Array]] = (parameters, inputs)
        self._wanted: tuple[str, ...] = ()
        self._parameters: dict[str, Any] = {}
        self._names: tuple[str, ...] = tuple(inputs)
        self._inputs: list[Any] = []
        self._call: Callable[..., tuple[Mapping[str, Any], list[Any]]] = self._compute
        self._values: Mapping[str, Any] = {}
        self._gradients: list[Any] = []

    def build(self) -> None:
        """Make variables of the parameters and tensors of the inputs."""
        parameters, inputs = self._arrays
        self._arrays = {}, {}
        if self._kind == "training":
            self._wanted = tuple(parameters)
        elif self._kind == "gradient":
            self._wanted = self._workload.differentiate(self._case)
        self._parameters = {name: self._tf.Variable(each) for name, each in parameters.items()}
        self.load(inputs)

    def compile(self) -> None:
        """Nothing."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy new inputs."""
        self._inputs = [self._tf.constant(inputs[name]) for name in self._names]

    def step(self) -> None:
        """Compute it; on the CPU its results are there when it returns, a GPU is waited for."""
        self._values, self._gradients = {}, []
        self._values, self._gradients = self._call(*self._inputs)
        if self._wait is not None:
            self._wait()

    def _compute(self, *tensors: Any) -> tuple[Mapping[str, Any], list[Any]]:
        """The step: the values, and in a gradient step the gradients."""
        inputs = dict(zip(self._names, tensors, strict=True))
        if self._step_number is not None:
            self._ops.begin_step(self._seed, self._step_number.read_value())
            self._step_number.assign_add(1)
        if self._kind == "forward":
            return dict(self._run(self._read(), inputs).values), []
        if self._objectives is not None:
            return self._train(self._objectives, inputs), []
        sources = [{**inputs, **self._parameters}[name] for name in self._wanted]
        with self._tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(sources)
            # Nobody else may hold what was read: the update would copy it first.
            outputs = self._run(self._read(), inputs)
        gradients = tape.gradient(outputs.objective, sources, output_gradients=outputs.seed)
        values = dict(outputs.values)
        if self._kind == "training":
            refuse_updates(outputs)
            self._update(gradients)
            return values, []
        pairs = zip(self._wanted, sources, gradients, strict=True)
        return values, [self._existing(*each) for each in pairs]

    def _existing(self, name: str, source: Any, gradient: Any) -> Any:
        """A gradient; where there is none, zero if that is because of a branch."""
        if gradient is not None:
            return gradient
        if not self._branches:
            raise no_gradient(name)
        return self._tf.zeros_like(source)

    def _read(self) -> dict[str, Any]:
        """The parameters, read once: each reading of a variable is an operation of the graph."""
        return {name: each.value() for name, each in self._parameters.items()}

    def _run(self, parameters: Mapping[str, Any], inputs: Mapping[str, Any]) -> Outputs:
        return self._workload.program(self._ops, parameters, inputs, self._case)

    def _train(self, objectives: Objectives, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values of a training step whose updates the program states itself."""
        parameters = self._read()
        sources = {name: parameters[name] for names in objectives.values() for name in names}
        several = len(objectives) > 1
        with self._tf.GradientTape(several, watch_accessed_variables=False) as tape:
            tape.watch(list(sources.values()))
            outputs = self._run(parameters, inputs)
        gradients = {}
        for objective, names in objectives.items():
            chosen = {name: sources[name] for name in names}
            gradients.update(tape.gradient(outputs.values[objective], chosen))
        for name, gradient in gradients.items():
            gradients[name] = self._existing(name, sources[name], gradient)
        update = self._workload.update  # type: ignore[attr-defined]
        updated = update(self._ops, parameters, gradients, self._case)
        for name, value in new_parameters(outputs.updates, updated, parameters).items():
            self._parameters[name].assign(value)
        return dict(outputs.values)

    def _update(self, gradients: list[Any]) -> None:
        """Plain SGD, each parameter in one pass over its memory."""
        rate = self._workload.learning_rate(self._case)
        for variable, gradient in zip(self._parameters.values(), gradients, strict=True):
            if gradient is not None:
                step = self._tf.constant(rate, variable.dtype)
                self._tf.raw_ops.ResourceApplyGradientDescent(
                    var=variable.handle, alpha=step, delta=gradient
                )

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        results = {name: value.numpy() for name, value in self._values.items()}
        if self._kind == "training":
            for name, variable in self._parameters.items():
                results[f"parameter/{name}"] = variable.numpy()
        else:
            for name, gradient in zip(self._wanted, self._gradients, strict=True):
                results[f"grad_{name}"] = gradient.numpy()
        return results

    def facts(self) -> RunnerFacts:
        """TensorFlow does not name its kernels; how it runs."""
        intra = self._tf.config.threading.get_intra_op_parallelism_threads()
        if self._wait is None:
            place = f"the CPU, {intra} threads within an operation"
        else:
            place = place_words(self._options.device, self._options.precision, self._threads)
        notes = [f"{self.mode} on {place}"]
        if intra != self._threads:
            notes.append(f"TensorFlow had started before it could be given {self._threads} threads")
        if self._kind == "training":
            plain = self._objectives is None
            own = "ResourceApplyGradientDescent" if plain else "the workload's own update"
            notes.append(f"updated by {own}")
        return RunnerFacts(kernels=("tensorflow",), notes=tuple(notes))

    def close(self) -> None:
        """Let go of all tensors, and of what was traced."""
        self._parameters, self._inputs, self._call = {}, [], self._compute
        self._values, self._gradients = {}, []


class FunctionRunner(TensorflowRunner):
    """One case as one tf.function: the program is traced once."""

    mode = "one tf.function"
    _traced: Callable[..., Any] | None = None
    _concrete: Callable[..., Any] | None = None
    _shapes: tuple[Any, ...] = ()

    def compile(self) -> None:
        """Trace the program; TensorFlow optimises the graph in the first step."""
        traced = self._tf.function(self._compute, autograph=False)
        # Called as such, it need not look for a trace that fits its arguments at every step.
        self._call = self._concrete = traced.get_concrete_function(*self._inputs)
        self._traced, self._shapes = traced, tuple(each.shape for each in self._inputs)

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy new inputs; for other shapes than it was traced for, TensorFlow traces again."""
        super().load(inputs)
        if self._traced is not None and self._concrete is not None:
            same = tuple(each.shape for each in self._inputs) == self._shapes
            self._call = self._concrete if same else self._traced

    def close(self) -> None:
        """Let go of all tensors, and of what was traced."""
        super().close()
        self._traced = self._concrete = None


class EagerRunner(TensorflowRunner):
    """One case operation by operation: the program runs anew at every step, on a tape."""

    mode = "eager"


def set_threads(tensorflow: Any, threads: int) -> None:
    """Size TensorFlow's pools; it refuses once it has computed anything in this process."""
    with suppress(RuntimeError):
        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(threads)


def place_on(tensorflow: Any, options: EngineOptions) -> Callable[[], Any] | None:
    """Show TensorFlow the device of the options alone; what waits for a GPU, None for the CPU.

    It takes memory of the GPU as it needs it. TF32, which is on by default, is decided for all
    operations at once.
    """
    index = gpu_index(options.device)
    found = tensorflow.config.list_physical_devices("GPU")
    if index is None:
        if found:
            tensorflow.config.set_visible_devices([], "GPU")
        return None
    if index >= len(found):
        raise RuntimeError(
            f"TensorFlow {tensorflow.__version__} finds {len(found)} GPUs that it can use"
        )
    tensorflow.config.set_visible_devices([found[index]], "GPU")
    tensorflow.config.experimental.set_memory_growth(found[index], True)
    tensorflow.config.experimental.enable_tensor_float_32_execution(options.precision == "tf32")
    wait: Callable[[], Any] = tensorflow.test.experimental.sync_devices
    return wait


class TensorflowEngine(FrameworkEngine):
    """TensorFlow, whichever way a step is run."""

    packages: ClassVar[tuple[str, ...]] = ("tensorflow",)
    extra = "tensorflow"
    distributions: ClassVar[tuple[str, ...]] = ("tensorflow", "tensorflow-cpu")
    operations: ClassVar[type] = TensorflowOperations
    cuda_hint = 'pip install "tensorflow[and-cuda]" in place of tensorflow-cpu'

    def without_cuda(self) -> str:
        """Why the installed build cannot use a GPU."""
        return tensorflow_without_cuda()

    def supports(self, workload: Program, case: Case) -> Availability:
        """What the operations can do; convolutions and poolings in NHWC only."""
        for call in probe_program(workload, case).calls:
            if call.arguments.get("layout", "NHWC") != "NHWC":
                return Availability(
                    False,
                    "TensorFlow has no convolution or pooling in layout NCHW on the CPU",
                    "choose -a layout=NHWC, or another engine",
                )
        return super().supports(workload, case)


class FunctionEngine(TensorflowEngine):
    """TensorFlow under tf.function."""

    name = "tf-function"
    runner = FunctionRunner


class EagerEngine(TensorflowEngine):
    """TensorFlow as it runs without any graph."""

    name = "tf-eager"
    runner = EagerRunner


def make_function_engine() -> FunctionEngine:
    """The factory behind the entry point `tf-function`."""
    return FunctionEngine()


def make_eager_engine() -> EagerEngine:
    """The factory behind the entry point `tf-eager`."""
    return EagerEngine()
