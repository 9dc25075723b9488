"""From nodes to steps in the vocabulary: what is known beforehand is computed beforehand.

A node whose operands are all constants is evaluated once. For every other a rule (`operators.py`)
makes a function that computes it with any engine's operations, and tells the shape of its results;
arrays that the function needs become parameters, so that each engine keeps them in its own form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchctl_engines.contract import Array

from .reading import ModelError, Node, OnnxGraph, evaluate_node

Shape = tuple[int, ...]


@dataclass(slots=True)
class Env:
    """What a step sees when it runs: operations, parameters, and the tensors made so far."""

    ops: Any
    parameters: Mapping[str, Any]
    values: dict[str, Any]


Run = Callable[[Env], tuple[Any, ...]]
Get = Callable[[Env], Any]


@dataclass(frozen=True, slots=True)
class Step:
    """A node that is computed in every step."""

    node: Node
    run: Run


@dataclass(slots=True)
class Translation:
    """The steps of a model for one choice of its open sizes."""

    graph: OnnxGraph
    shapes: dict[str, Shape]
    constants: dict[str, Array]
    parameters: dict[str, Array] = field(default_factory=dict)
    outputs: dict[str, Get] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    flops: int = 0

    # What rules ask ----------------------------------------------------------------------------

    def shape(self, name: str) -> Shape:
        """The shape of a value."""
        return self.constants[name].shape if name in self.constants else self.shapes[name]

    def constant(self, node: Node, place: int) -> Array | None:
        """The array of an operand, None where it is left out; raises where it is not known."""
        name = node.input(place)
        if not name:
            return None
        if name not in self.constants:
            raise ModelError(
                f"{node.label}: input {place} ({name}) expected a constant, and it is computed"
            )
        return self.constants[name]

    def numbers(self, node: Node, place: int, attribute: str) -> list[int] | None:
        """Whole numbers from an operand, or from the attribute that older versions have."""
        found = self.constant(node, place)
        if found is not None:
            return [int(each) for each in found.reshape(-1)]
        given = node.attributes.get(attribute)
        return None if given is None else [int(each) for each in given]

    def keep(self, array: Array, name: str) -> Get:
        """An array that the step reads, as a parameter."""
        unique, number = name, 0
        while unique in self.parameters and self.parameters[unique] is not array:
            number += 1
            unique = f"{name}_{number}"
        self.parameters[unique] = array
        return lambda env: env.parameters[unique]

    def operand(self, name: str) -> Get:
        """A value when the step runs: a constant becomes a parameter."""
        if name in self.constants:
            array = self.constants[name]
            return self.keep(np.ascontiguousarray(array), name)
        return lambda env: env.values[name]

    def factor(self, name: str, other: Shape) -> Get:
        """An operand of an elementwise operation; one number where its shape says no more."""
        array = self.constants.get(name)
        if array is not None and array.size == 1 and array.ndim <= len(other):
            number = array.reshape(-1)[0].item()
            return lambda env: number
        return self.operand(name)


Rule = Callable[[Node, Translation], tuple[Run, Sequence[Shape]]]


def translate(graph: OnnxGraph, sizes: Mapping[str, int], rules: Mapping[str, Rule]) -> Translation:
    """The steps of a model whose open sizes are `sizes`; raises `ModelError` naming the node."""
    shapes = {
        each.name: tuple(sizes[size] if isinstance(size, str) else size for size in each.shape)
        for each in graph.inputs
    }
    made = Translation(graph, shapes, dict(graph.arrays))
    for node in graph.nodes:
        if not _fold(node, made):
            _add_step(node, made, rules)
    for name in graph.outputs:
        if name not in made.shapes and name not in made.constants:
            raise ModelError(f"{graph.name}: nothing makes the output {name}")
        made.outputs[name] = made.operand(name)
    return made


def _fold(node: Node, made: Translation) -> bool:
    """Compute a node now, where all that it reads is known."""
    if node.operation == "Shape" and node.inputs[0] in made.shapes:
        sizes = made.shapes[node.inputs[0]]
        start, end = node.attributes.get("start", 0), node.attributes.get("end", len(sizes))
        made.constants[node.outputs[0]] = np.array(sizes[start:end], np.int64)
        return True
    if node.operation.startswith("Random") or node.operation in ("Bernoulli", "Multinomial"):
        raise ModelError(f"{node.label} draws random numbers, which every engine does its own way")
    if any(name and name not in made.constants for name in node.inputs):
        return False
    try:
        results = evaluate_node(node, made.graph.opset, made.constants)
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelError(f"{node.label} cannot be evaluated: {first}") from error
    names = [name for name in node.outputs if name]
    made.constants.update(zip(names, results, strict=True))
    return True


def _add_step(node: Node, made: Translation, rules: Mapping[str, Rule]) -> None:
    rule = rules.get(node.operation)
    if rule is None:
        raise ModelError(
            f"{node.label}: the operation {node.operation} is not supported",
            f"supported are {', '.join(sorted(rules))}",
        )
    run, shapes = rule(node, made)
    wanted = [name for name in node.outputs if name]
    # The mask of a dropout is listed often, and read by nobody.
    if any(made.graph.reads(name) for name in wanted[len(shapes) :]):
        raise ModelError(f"{node.label}: only its first {len(shapes)} outputs are supported")
    made.steps.append(Step(node, run))
    for name, shape in zip(wanted, shapes, strict=False):
        made.shapes[name] = tuple(int(size) for size in shape)
