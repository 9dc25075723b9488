"""A workload's step as a graph: its program, and the gradients and updates that the step wants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..contract import (
    Array,
    Case,
    Objectives,
    Outputs,
    Precision,
    Program,
    new_parameters,
    objectives_of,
    refuse_updates,
)
from ..primitives.elementwise import cast, subtract
from ..primitives.half_storage import loss_scale, stored_dtype, stored_spec
from ..primitives.operations import assign, assign_sub
from ..primitives.randomness import random
from ..primitives.vocabulary_methods import InHouseVocabulary
from ..source_sites import Site
from . import control_flow
from .gradients import gradients
from .graph import (
    Graph,
    Value,
    emit_constant,
    emit_placeholder,
    emit_variable,
    step_counter,
    variable,
)


class StaticVocabulary(InHouseVocabulary):
    """The vocabulary on values of a graph; random numbers keyed by seed, call site and step."""

    _control = control_flow

    def __init__(self, graph: Graph, seed: int = 0) -> None:
        self._graph = graph
        self._seed = seed

    def _random(self, shape: tuple[int, ...], dtype: str, distribution: str) -> Any:
        site, self._graph.random_sites = self._graph.random_sites, self._graph.random_sites + 1
        return random(
            step_counter(self._graph),
            shape=tuple(shape),
            dtype=dtype,
            seed=self._seed,
            site=site,
            distribution=distribution,
        )


@dataclass(slots=True)
class WorkloadGraph:
    """A frozen graph and what a step of it takes and gives, by the names of the program.

    `updates` has the new value of each parameter that a training step changes. `parameters` are
    the `variables`, which are none in a forward step: nothing will change the parameters then, so
    they are constants.
    """

    graph: Graph
    placeholders: dict[str, Value]
    parameters: dict[str, Value] = field(default_factory=dict)
    variables: dict[str, Value] = field(default_factory=dict)
    fetches: dict[str, Value] = field(default_factory=dict)
    updates: dict[str, Value] = field(default_factory=dict)


def workload_graph(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    seed: int = 0,
    precision: Precision = "fp32",
) -> WorkloadGraph:
    """Record the program of a case, its gradients and its updates.

    Where the precision stores float32 as halves, the program sees halves. Parameters that a step
    changes stay float32, and each is rounded once a step: an update is often smaller than the last
    bit of a half.
    """
    kind = workload.step(case)
    graph = Graph()
    origin = _origin(workload)
    with graph.as_default(), graph.made_at(origin):
        made = WorkloadGraph(graph, _placeholders(graph, inputs, precision))
        if kind == "forward":
            # A frozen graph, as TensorFlow's users made for serving.
            made.parameters = {
                name: emit_constant(graph, array, origin, name, stored_spec(array, precision).dtype)
                for name, array in parameters.items()
            }
        elif kind == "gradient":
            made.parameters = made.variables = {
                name: emit_variable(graph, stored_spec(array, precision), array, array, name)
                for name, array in parameters.items()
            }
        else:
            made.variables = {
                name: variable(array, name=name, copy=False) for name, array in parameters.items()
            }
            made.parameters = {
                name: _seen(each, precision) for name, each in made.variables.items()
            }
    _record(made, workload, case, seed, precision)
    graph.freeze()
    return made


def recorded_again(
    made: WorkloadGraph,
    workload: Program,
    case: Case,
    inputs: Mapping[str, Array],
    seed: int = 0,
    precision: Precision = "fp32",
) -> WorkloadGraph:
    """The program once more, in the same graph and on the same parameters, for other inputs."""
    graph = made.graph
    # Call sites are counted from the start of each program, as on a tape from that of each step.
    graph.random_sites = 0
    with graph.growing():
        with graph.as_default(), graph.made_at(_origin(workload)):
            placeholders = _placeholders(graph, inputs, precision)
            again = WorkloadGraph(graph, placeholders, made.parameters, made.variables)
        _record(again, workload, case, seed, precision)
    return again


def _origin(workload: Program) -> Site:
    """Inputs and parameters have no line of the user's own: they come with the program."""
    code = workload.program.__code__
    return Site(code.co_filename, code.co_firstlineno)


def _placeholders(
    graph: Graph, inputs: Mapping[str, Array], precision: Precision
) -> dict[str, Value]:
    return {
        name: emit_placeholder(graph, stored_spec(each, precision), graph.site(), name)
        for name, each in inputs.items()
    }


def _record(
    made: WorkloadGraph, workload: Program, case: Case, seed: int, precision: Precision
) -> None:
    """The program on the placeholders and parameters, and what the step wants besides."""
    kind = workload.step(case)
    known = made.parameters
    with made.graph.as_default():
        ops = StaticVocabulary(made.graph, seed)
        outputs = workload.program(ops, known, made.placeholders, case)
        made.fetches = dict(outputs.values)
        # A seed that the program gives has a size of its own.
        scale = loss_scale(precision) if outputs.seed is None else 1.0
        if kind == "gradient":
            _fetch_gradients(made, outputs, workload.differentiate(case), scale)
        elif kind == "training":
            objectives = objectives_of(workload, case)
            if objectives is None:
                refuse_updates(outputs)
                _update(made, outputs, workload.learning_rate(case), scale)
            else:
                gradients_by_name = _gradients_of_each(made, outputs, objectives, scale)
                updated = workload.update(  # type: ignore[attr-defined]
                    ops, made.variables, gradients_by_name, case
                )
                _assign(made, new_parameters(outputs.updates, updated, made.variables), known)


def _seen(master: Value, precision: Precision) -> Any:
    """A parameter as the program sees it."""
    dtype = stored_dtype(master.dtype, precision)
    return master if dtype == master.dtype else cast(master, dtype=dtype)


def _fetch_gradients(
    made: WorkloadGraph, outputs: Outputs, wanted: tuple[str, ...], scale: float
) -> None:
    known = {**made.placeholders, **made.variables}
    seeds = _seeds(outputs, scale)
    found = gradients(outputs.objective, [known[name] for name in wanted], seeds)
    for name, each in zip(wanted, found, strict=True):
        made.fetches[f"grad_{name}"] = _unscaled(_existing(name, each), scale)


def _unscaled(gradient: Value, scale: float) -> Any:
    """A gradient without the scale that it came with, in float32 as parameters are."""
    if scale == 1.0:
        return gradient
    wide = gradient if gradient.dtype == "float32" else cast(gradient, dtype="float32")
    return wide * (1.0 / scale)


def _existing(name: str, gradient: Value | None) -> Value:
    if gradient is None:
        raise ValueError(
            f"the gradient of {name!r} was asked for, and nothing that is "
            "differentiated depends on it"
        )
    return gradient


def _update(made: WorkloadGraph, outputs: Outputs, rate: float, scale: float) -> None:
    found = gradients(outputs.objective, list(made.variables.values()), _seeds(outputs, scale))
    for (name, source), each in zip(made.variables.items(), found, strict=True):
        if each is not None:
            made.updates[name] = assign_sub(source, (rate / scale) * each)


def _gradients_of_each(
    made: WorkloadGraph, outputs: Outputs, objectives: Objectives, scale: float
) -> dict[str, Value]:
    """The gradient of each trained parameter, of the objective that trains it."""
    result: dict[str, Value] = {}
    seeds = None if scale == 1.0 else [scale]
    for objective, names in objectives.items():
        sources = [made.variables[name] for name in names]
        found = gradients(outputs.values[objective], sources, seeds)
        result |= {
            name: _unscaled(_existing(name, each), scale)
            for name, each in zip(names, found, strict=True)
        }
    return result


def _assign(made: WorkloadGraph, new: dict[str, Any], seen: Mapping[str, Any]) -> None:
    """Each new value goes to its variable; `w - delta` is subtracted in w's own memory.

    `seen` is what the program saw of the variables: given back, it changes nothing.
    """
    for name, value in new.items():
        if value is seen[name]:
            continue
        variable = made.variables[name]
        if value.dtype != variable.dtype:
            value = cast(value, dtype=variable.dtype)
        node = value.node
        if node.primitive is subtract and node.operands[0] is variable:
            made.updates[name] = assign_sub(variable, node.operands[1])
        elif value is not variable:
            made.updates[name] = assign(variable, value)


def _seeds(outputs: Outputs, scale: float) -> list[Any] | None:
    if outputs.seed is None:
        return None if scale == 1.0 else [scale]
    return [outputs.seed]
