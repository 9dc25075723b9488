"""An ONNX file as a workload: its nodes in the vocabulary, so that every engine can run it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchctl_engines.contract import Array, Case, ModelFile, Outputs

from ..workload import Axis, Cost, Tolerance, Workload
from .operators import RULES
from .reading import OnnxGraph, read_model, sized_content
from .translation import Env, Translation, translate

FLOAT = "float32"
_TOLERANCE = Tolerance(relative=1e-4)


class OnnxWorkload(Workload):
    """One inference of a model; sizes that the file leaves open are axes."""

    name: ClassVar[str] = ""

    def __init__(self, graph: OnnxGraph, reference: str = "") -> None:
        self._graph = graph
        self._translations: dict[tuple[int, ...], Translation] = {}
        self.__benchctl_reference__ = reference
        # A model is an instance of its own, unlike other workloads: both differ file by file.
        self.name = graph.name  # type: ignore[misc]
        self.axes = tuple(Axis(size, 1) for size in _open_sizes(graph))  # type: ignore[misc]

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """Standard normal numbers for every floating input, small ones for the others."""
        made = self._translated(case)
        drawn: dict[str, Array] = {}
        for each in self._graph.inputs:
            shape = made.shapes[each.name]
            kind = np.dtype(each.dtype)
            if kind.kind == "f":
                drawn[each.name] = rng.standard_normal(shape, np.float32).astype(kind)
            else:
                drawn[each.name] = rng.integers(0, 2, shape).astype(kind)
        return drawn

    def parameters(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """The arrays of the file, and what was computed of them beforehand."""
        return dict(self._translated(case).parameters)

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        """Node by node."""
        made = self._translated(case)
        env = Env(ops, parameters, dict(inputs))
        for step in made.steps:
            names = [name for name in step.node.outputs if name]
            env.values.update(zip(names, step.run(env), strict=False))
        return Outputs({name: output(env) for name, output in made.outputs.items()})

    def model_file(self, case: Case) -> ModelFile:
        """The file itself, for runtimes that read such files."""
        graph, made = self._graph, self._translated(case)
        given = [each.name for each in graph.inputs]
        shapes = {name: made.shape(name) for name in (*given, *graph.outputs)}
        return ModelFile(
            sized_content(graph, shapes),
            {name: name for name in given},
            {name: name for name in graph.outputs},
            tuple(node.operation for node in graph.nodes),
            graph.opset,
            graph.ir_version,
        )

    def tolerance(self, case: Case, output: str) -> Tolerance:
        """Looser than for one operation: networks are deep."""
        return _TOLERANCE

    def cost(self, case: Case) -> Cost:
        """Products and convolutions; parameters, inputs and outputs moved once."""
        made = self._translated(case)
        parameters = sum(each.size for each in made.parameters.values())
        names = [each.name for each in self._graph.inputs] + list(self._graph.outputs)
        values = sum(math.prod(made.shape(name)) for name in names)
        return Cost(made.flops, 4 * (parameters + values), parameters)

    def title(self, case: Case) -> str:
        """The file's name and the sizes that were chosen."""
        return ", ".join([self._graph.name, *(f"{name} {size}" for name, size in case.items())])

    def _translated(self, case: Case) -> Translation:
        sizes = {name: int(case[name]) for name in _open_sizes(self._graph)}
        key = tuple(sizes.values())
        if key not in self._translations:
            self._translations[key] = translate(self._graph, sizes, RULES)
        return self._translations[key]


def _open_sizes(graph: OnnxGraph) -> list[str]:
    sizes = (size for each in graph.inputs for size in each.shape if isinstance(size, str))
    return list(dict.fromkeys(sizes))


def load_onnx_workload(path: Path, reference: str) -> OnnxWorkload:
    """The workload of a file; raises `ModelError`, naming the node where one is not supported."""
    graph = read_model(path)
    workload = OnnxWorkload(graph, reference)
    # Translated once now, so that what is not supported is said before anything is planned.
    workload.cost(dict.fromkeys(_open_sizes(graph), 1))
    return workload
