"""The engine `keras`: a compiled keras.Model on the TensorFlow backend."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

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
from .counter_random import draws_random_numbers
from .framework import no_gradient, place_words
from .keras_operations import KerasOperations
from .tensorflow_engine import TensorflowEngine, place_on, set_threads

BACKEND = "tensorflow"


class KerasRunner:
    """One case as a model that holds the parameters and calls the program.

    It is compiled as its users compile one, and run through `train_on_batch` and
    `predict_on_batch`; the second returns host arrays.
    """

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        os.environ["KERAS_BACKEND"] = BACKEND
        # Read when TensorFlow is imported; without it, every start prints lines of advice.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        self._tf = import_module("tensorflow")
        set_threads(self._tf, options.threads)
        self._wait = place_on(self._tf, options)
        self._place = place_words(options.device, options.precision, options.threads)
        self._keras = import_module("keras")
        self._threads = options.threads
        self._seed = options.seed
        self._workload = workload
        self._case = case
        self._kind = workload.step(case)
        self._arrays: tuple[Mapping[str, Array], Mapping[str, Array]] = (parameters, inputs)
        self._model: Any = None
        self._inputs: dict[str, Any] = {}
        self._values: Mapping[str, Any] = {}

    def build(self) -> None:
        """Make the model, give it its parameters, and compile it in Keras's sense."""
        parameters, inputs = self._arrays
        self._arrays = {}, {}
        self.load(inputs)
        self._model = _make_model(
            self._tf, self._keras, self._workload, self._case, parameters, self._seed
        )
        rate = self._workload.learning_rate(self._case) if self._kind == "training" else 0.0
        self._model.compile(optimizer=self._keras.optimizers.SGD(rate))

    def compile(self) -> None:
        """Nothing: TensorFlow traces and optimises the model's function in the first step."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy new inputs."""
        self._inputs = {name: self._tf.constant(array) for name, array in inputs.items()}

    def step(self) -> None:
        """One batch."""
        self._values = {}
        if self._kind == "training":
            self._values = self._model.train_on_batch(self._inputs, return_dict=True)
        else:
            self._values = self._model.predict_on_batch(self._inputs)
        if self._wait is not None:
            self._wait()

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        host = import_module("numpy").asarray
        results = {name: host(value) for name, value in self._values.items()}
        if self._kind == "training":
            for name, variable in self._model.parameters_by_name.items():
                results[f"parameter/{name}"] = variable.numpy()
        return results

    def facts(self) -> RunnerFacts:
        """Keras does not name its kernels; how it runs."""
        compiled = "with XLA" if self._model.jit_compile else "without XLA"
        notes = [f"a compiled keras.Model on {BACKEND}, {compiled}, on {self._place}"]
        if self._kind == "training":
            plain = objectives_of(self._workload, self._case) is None
            own = "keras.optimizers.SGD" if plain else "the workload's own update"
            notes.append(f"updated by {own}")
        return RunnerFacts(kernels=("tensorflow",), notes=tuple(notes))

    def close(self) -> None:
        """Let go of the model."""
        self._model, self._inputs, self._values = None, {}, {}


def _make_model(
    tensorflow: Any,
    keras: Any,
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    seed: int,
) -> Any:
    """A model whose call is the program, and whose training step differentiates its objective."""
    ops = KerasOperations()
    objectives = objectives_of(workload, case)
    draws = draws_random_numbers(workload, case)

    class ProgramModel(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parameters_by_name = {
                name: self.add_weight(
                    shape=array.shape, dtype=str(array.dtype), name=name.replace("/", "_")
                )
                for name, array in parameters.items()
            }
            for name, array in parameters.items():
                self.parameters_by_name[name].assign(array)
            self.step_number = tensorflow.Variable(0, dtype="int64", trainable=False)

        def run(self, inputs: Mapping[str, Any]) -> Outputs:
            if draws:
                ops.begin_step(seed, self.step_number.read_value())
                self.step_number.assign_add(1)
            return workload.program(ops, self.parameters_by_name, inputs, case)

        def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return dict(self.run(inputs).values)

        def train_step(self, data: Any) -> dict[str, Any]:
            inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
            if objectives is not None:
                return self.train_as_stated(objectives, inputs)
            with tensorflow.GradientTape() as tape:
                outputs = self.run(inputs)
            refuse_updates(outputs)
            weights = self.trainable_weights
            gradients = tape.gradient(outputs.objective, weights, output_gradients=outputs.seed)
            self.optimizer.apply(gradients, weights)
            return dict(outputs.values)

        def train_as_stated(
            self, objectives: Objectives, inputs: Mapping[str, Any]
        ) -> dict[str, Any]:
            weights = self.parameters_by_name
            with tensorflow.GradientTape(persistent=len(objectives) > 1) as tape:
                outputs = self.run(inputs)
            gradients: dict[str, Any] = {}
            for objective, names in objectives.items():
                sources = [weights[name].value for name in names]
                found = tape.gradient(outputs.values[objective], sources)
                gradients.update(zip(names, found, strict=True))
            for name, gradient in gradients.items():
                if gradient is None:
                    raise no_gradient(name)
            update = workload.update  # type: ignore[attr-defined]
            new = new_parameters(outputs.updates, update(ops, weights, gradients, case), weights)
            for name, value in new.items():
                weights[name].assign(value)
            return dict(outputs.values)

    return ProgramModel()


class KerasEngine(TensorflowEngine):
    """Keras on TensorFlow."""

    name = "keras"
    packages = ("keras", "tensorflow")
    distributions = ("keras", "tensorflow", "tensorflow-cpu")
    runner = KerasRunner
    operations = KerasOperations

    def supports(self, workload: Program, case: Case) -> Availability:
        """Forward and training steps in NHWC; Keras has no gradients to hand out."""
        if workload.step(case) == "gradient":
            return Availability(
                False,
                "Keras trains models; it does not hand out gradients",
                "choose --engine tf-function, the backend it runs on",
            )
        return super().supports(workload, case)


def make_keras_engine() -> KerasEngine:
    """The factory behind the entry point `keras`."""
    return KerasEngine()
