"""The engine `tf-graph`: TensorFlow 1 as it was used, a Graph and a Session (compat.v1)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
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
    Switch,
    new_parameters,
    objectives_of,
    refuse_updates,
)
from .counter_random import draws_random_numbers
from .framework import no_gradient, place_words
from .tensorflow_engine import TensorflowEngine, place_on, set_threads
from .tensorflow_operations import TensorflowOperations

ENTRY = Switch(
    "run",
    ("run", "callable"),
    "how a step is called: Session.run with a feed_dict, or make_callable on inputs kept in the "
    "graph",
)


class GraphRunner:
    """One case as one graph: defined once, run by a session."""

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
        tensorflow = import_module("tensorflow")
        set_threads(tensorflow, options.threads)
        place_on(tensorflow, options)
        self._place = place_words(options.device, options.precision, options.threads)
        self._tf = tensorflow.compat.v1
        self._threads = options.threads
        self._as_callable = options.switches.get("entry", ENTRY.default) == "callable"
        self._workload = workload
        self._case = case
        self._kind = workload.step(case)
        self._objectives = objectives_of(workload, case)
        self._seed = options.seed
        self._arrays: tuple[Mapping[str, Array], Mapping[str, Array]] = (parameters, inputs)
        self._graph = self._tf.Graph()
        self._session: Any = None
        self._parameters: dict[str, Any] = {}
        self._inputs: dict[str, Any] = {}
        self._givers: dict[str, tuple[Any, Any]] = {}
        self._feed: dict[Any, Array] = {}
        self._reads: dict[str, Any] = {}
        self._fetches: dict[str, Any] = {}
        self._update: Any = None
        self._count: Any = None
        self._counters: list[Any] = []
        self._call: Callable[[], Any] | None = None
        self._results: dict[str, Array] = {}

    def build(self) -> None:
        """Define the graph, and give its variables their values."""
        parameters, inputs = self._arrays
        self._arrays = {}, {}
        with self._graph.as_default():
            self._parameters = {
                name: self._variable(name, each) for name, each in parameters.items()
            }
            self._inputs = {
                name: self._variable(f"input_{name}", each)
                if self._as_callable
                else self._tf.placeholder(each.dtype, each.shape, f"input_{name}")
                for name, each in inputs.items()
            }
            self._define(inputs)
            self._session = self._tf.Session(
                graph=self._graph,
                config=self._tf.ConfigProto(
                    intra_op_parallelism_threads=self._threads,
                    inter_op_parallelism_threads=self._threads,
                ),
            )
        self._session.run([each.initializer for each in self._counters])
        for name, array in parameters.items():
            self._give(self._parameters[name], array)
        self.load(inputs)

    def _variable(self, name: str, array: Array) -> Any:
        """A variable whose value is given later: as a constant it would be in the graph, too."""
        variable = self._tf.get_variable(
            name.replace("/", "_"),
            array.shape,
            array.dtype,
            initializer=self._tf.zeros_initializer(),
            use_resource=True,
        )
        value = self._tf.placeholder(array.dtype, array.shape)
        self._givers[variable.name] = value, self._tf.assign(variable, value).op
        return variable

    def _give(self, variable: Any, array: Array) -> None:
        """Give a variable a value from the host."""
        value, assign = self._givers[variable.name]
        self._session.run(assign, {value: array})

    def _define(self, inputs: Mapping[str, Array]) -> None:
        """Outputs, gradients and the update as nodes of the graph."""
        self._reads = {name: each.value() for name, each in self._parameters.items()}
        parameters = self._reads
        given = {
            name: each.value() if self._as_callable else each for name, each in self._inputs.items()
        }
        ops = TensorflowOperations()
        if draws_random_numbers(self._workload, self._case):
            self._count_steps(ops)
        outputs = self._workload.program(ops, parameters, given, self._case)
        self._fetches = dict(outputs.values)
        if self._kind == "gradient":
            self._differentiate(outputs, {**given, **parameters})
        elif self._objectives is not None:
            self._train(ops, self._objectives, outputs)
        elif self._kind == "training":
            refuse_updates(outputs)
            rate = self._workload.learning_rate(self._case)
            optimizer = self._tf.train.GradientDescentOptimizer(rate)
            variables = list(self._parameters.values())
            pairs = optimizer.compute_gradients(
                outputs.objective, variables, grad_loss=outputs.seed
            )
            self._update = optimizer.apply_gradients(
                [(gradient, each) for gradient, each in pairs if gradient is not None]
            )

    def _count_steps(self, ops: TensorflowOperations) -> None:
        """A variable with the number of the step, which grows once it is read."""
        variable = self._tf.get_variable(
            "step_number", (), "int64", self._tf.zeros_initializer(), use_resource=True
        )
        self._counters = [variable]
        number = variable.value()
        ops.begin_step(self._seed, number)
        with self._tf.control_dependencies([number]):
            self._count = self._tf.assign_add(variable, 1).op

    def _train(self, ops: TensorflowOperations, objectives: Objectives, outputs: Outputs) -> None:
        """The updates that the program states itself, after every reading of a parameter."""
        reads = self._reads
        gradients: dict[str, Any] = {}
        for objective, names in objectives.items():
            sources = [reads[name] for name in names]
            found = self._tf.gradients([outputs.values[objective]], sources)
            gradients.update(zip(names, found, strict=True))
        for name, gradient in gradients.items():
            if gradient is None:
                raise no_gradient(name)
        update = self._workload.update  # type: ignore[attr-defined]
        new = new_parameters(outputs.updates, update(ops, reads, gradients, self._case), reads)
        with self._tf.control_dependencies(list(reads.values())):
            self._update = self._tf.group(
                *(self._tf.assign(self._parameters[name], each).op for name, each in new.items())
            )

    def _differentiate(self, outputs: Outputs, known: Mapping[str, Any]) -> None:
        wanted = self._workload.differentiate(self._case)
        sources = [known[name] for name in wanted]
        seeds = None if outputs.seed is None else [outputs.seed]
        gradients = self._tf.gradients([outputs.objective], sources, grad_ys=seeds)
        for name, gradient in zip(wanted, gradients, strict=True):
            if gradient is None:
                raise no_gradient(name)
            self._fetches[f"grad_{name}"] = gradient

    def compile(self) -> None:
        """Nothing of its own: the session optimises the graph when it first runs."""
        others = [each for each in (self._update, self._count) if each is not None]
        fetches = [self._fetches, *others]
        if self._as_callable:
            with self._graph.as_default():
                self._call = self._session.make_callable(fetches)
        else:
            self._call = lambda: self._session.run(fetches, feed_dict=self._feed)

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Keep new inputs to be fed, or copy them into the graph's variables."""
        if self._as_callable:
            for name, array in inputs.items():
                self._give(self._inputs[name], array)
        else:
            self._feed = {self._inputs[name]: array for name, array in inputs.items()}

    def step(self) -> None:
        """Run the graph once; the session returns host arrays."""
        assert self._call is not None, "compile comes before the first step"
        self._results = self._call()[0]

    def outputs(self) -> dict[str, Array]:
        """Results of the last step; see the contract."""
        results = dict(self._results)
        if self._kind == "training":
            for name, read in self._reads.items():
                results[f"parameter/{name}"] = self._session.run(read)
        return results

    def facts(self) -> RunnerFacts:
        """TensorFlow does not name its kernels; how it runs."""
        entry = (
            "make_callable, inputs kept in variables"
            if self._as_callable
            else "Session.run with a feed_dict"
        )
        notes = [f"one graph through {entry}, on {self._place}"]
        if self._kind == "training":
            plain = self._objectives is None
            own = "GradientDescentOptimizer" if plain else "the workload's own update"
            notes.append(f"updated by {own}")
        nodes = len(self._graph.get_operations())
        return RunnerFacts(
            kernels=("tensorflow",), notes=tuple(notes), counts={"graph_nodes": nodes}
        )

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()
        self._call, self._session = None, None
        self._parameters, self._inputs, self._feed, self._results = {}, {}, {}, {}


class GraphEngine(TensorflowEngine):
    """TensorFlow 1: define, then run."""

    name = "tf-graph"
    fixed_shapes = True
    runner = GraphRunner

    def switches(self) -> Mapping[str, Switch]:
        """How a step is called."""
        return {"entry": ENTRY}


def make_graph_engine() -> GraphEngine:
    """The factory behind the entry point `tf-graph`."""
    return GraphEngine()
