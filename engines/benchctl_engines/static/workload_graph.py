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
    Program,
    new_parameters,
    objectives_of,
    refuse_updates,
)
from ..primitives.elementwise import subtract
from ..primitives.operations import assign, assign_sub
from ..primitives.randomness import random
from ..primitives.vocabulary_methods import InHouseVocabulary
from ..source_sites import Site
from . import control_flow
from .gradients import gradients
from .graph import Graph, Value, emit_constant, placeholder, step_counter, variable


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
) -> WorkloadGraph:
    """Record the program of a case, its gradients and its updates."""
    graph = Graph()
    origin = _origin(workload)
    with graph.as_default(), graph.made_at(origin):
        made = WorkloadGraph(graph, _placeholders(inputs))
        if workload.step(case) == "forward":
            # A frozen graph, as TensorFlow's users made for serving.
            made.parameters = {
                name: emit_constant(graph, array, origin, name)
                for name, array in parameters.items()
            }
        else:
            made.parameters = made.variables = {
                name: variable(array, name=name, copy=False) for name, array in parameters.items()
            }
    _record(made, workload, case, seed)
    graph.freeze()
    return made


def recorded_again(
    made: WorkloadGraph,
    workload: Program,
    case: Case,
    inputs: Mapping[str, Array],
    seed: int = 0,
) -> WorkloadGraph:
    """The program once more, in the same graph and on the same parameters, for other inputs."""
    graph = made.graph
    # Call sites are counted from the start of each program, as on a tape from that of each step.
    graph.random_sites = 0
    with graph.growing():
        with graph.as_default(), graph.made_at(_origin(workload)):
            again = WorkloadGraph(graph, _placeholders(inputs), made.parameters, made.variables)
        _record(again, workload, case, seed)
    return again


def _origin(workload: Program) -> Site:
    """Inputs and parameters have no line of the user's own: they come with the program."""
    code = workload.program.__code__
    return Site(code.co_filename, code.co_firstlineno)


def _placeholders(inputs: Mapping[str, Array]) -> dict[str, Value]:
    return {name: placeholder(str(each.dtype), each.shape, name) for name, each in inputs.items()}


def _record(made: WorkloadGraph, workload: Program, case: Case, seed: int) -> None:
    """The program on the placeholders and parameters, and what the step wants besides."""
    kind = workload.step(case)
    known = made.parameters
    with made.graph.as_default():
        ops = StaticVocabulary(made.graph, seed)
        outputs = workload.program(ops, known, made.placeholders, case)
        made.fetches = dict(outputs.values)
        if kind == "gradient":
            _fetch_gradients(made, outputs, workload.differentiate(case))
        elif kind == "training":
            objectives = objectives_of(workload, case)
            if objectives is None:
                refuse_updates(outputs)
                _update(made, outputs, workload.learning_rate(case))
            else:
                gradients_by_name = _gradients_of_each(made, outputs, objectives)
                updated = workload.update(  # type: ignore[attr-defined]
                    ops, known, gradients_by_name, case
                )
                _assign(made, new_parameters(outputs.updates, updated, known))


def _fetch_gradients(made: WorkloadGraph, outputs: Outputs, wanted: tuple[str, ...]) -> None:
    known = {**made.placeholders, **made.variables}
    found = gradients(outputs.objective, [known[name] for name in wanted], _seeds(outputs))
    for name, each in zip(wanted, found, strict=True):
        made.fetches[f"grad_{name}"] = _existing(name, each)


def _existing(name: str, gradient: Value | None) -> Value:
    if gradient is None:
        raise ValueError(
            f"the gradient of {name!r} was asked for, and nothing that is "
            "differentiated depends on it"
        )
    return gradient


def _update(made: WorkloadGraph, outputs: Outputs, rate: float) -> None:
    found = gradients(outputs.objective, list(made.variables.values()), _seeds(outputs))
    for (name, source), each in zip(made.variables.items(), found, strict=True):
        if each is not None:
            made.updates[name] = assign_sub(source, rate * each)


def _gradients_of_each(
    made: WorkloadGraph, outputs: Outputs, objectives: Objectives
) -> dict[str, Value]:
    """The gradient of each trained parameter, of the objective that trains it."""
    result: dict[str, Value] = {}
    for objective, names in objectives.items():
        found = gradients(outputs.values[objective], [made.variables[name] for name in names])
        result |= {name: _existing(name, each) for name, each in zip(names, found, strict=True)}
    return result


def _assign(made: WorkloadGraph, new: dict[str, Any]) -> None:
    """Each new value goes to its variable; `w - delta` is subtracted in w's own memory."""
    for name, value in new.items():
        variable, node = made.variables[name], value.node
        if node.primitive is subtract and node.operands[0] is variable:
            made.updates[name] = assign_sub(variable, node.operands[1])
        elif value is not variable:
            made.updates[name] = assign(variable, value)


def _seeds(outputs: Outputs) -> list[Any] | None:
    return None if outputs.seed is None else [outputs.seed]
