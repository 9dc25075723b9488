"""The engine `openvino`: a forward program as an ONNX model, compiled by OpenVINO for the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..contract import Array, Case, EngineOptions, ModelFile, Program, RunnerFacts
from .inference_runtimes import InferenceEngine, require_float32
from .onnx_file import served_model

_DATA_LAYERS = ("Input", "Const", "Output")


class OpenVinoRunner:
    """One case as a compiled model with one inference request."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        self._program = (workload, case, parameters, inputs)
        self._properties = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": options.threads,
        }
        self._runtime: Any = None
        self._model: ModelFile | None = None
        self._compiled: Any = None
        self._request: Any = None
        self._input_names: Mapping[str, str] = {}
        self._output_names: Mapping[str, str] = {}
        self._loaded: list[Any] = []

    def build(self) -> None:
        """Record the program as a model, or take the model that it came from."""
        self._runtime = importlib.import_module("openvino")
        _, _, parameters, inputs = self._program
        require_float32("openvino", (*parameters.values(), *inputs.values()))
        self._model = served_model(*self._program)
        self._input_names, self._output_names = self._model.inputs, self._model.outputs

    def compile(self) -> None:
        """Let OpenVINO read, optimise and compile the model."""
        if self._model is None:
            raise RuntimeError("compile expected build() first")
        serialised = self._model.content
        # The compiled model has its own copy of every parameter: no other is needed from here on.
        self._model = None
        workload, case, _, inputs = self._program
        self._program = (workload, case, {}, inputs)
        core = self._runtime.Core()
        model = core.read_model(model=serialised)
        self._compiled = core.compile_model(model, "CPU", self._properties)
        self._request = self._compiled.create_infer_request()
        self.load(inputs)

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Let the request read the inputs where they are; they are kept until the next load."""
        self._loaded = []
        for name, node_name in self._input_names.items():
            array = np.asarray(inputs[name], order="C")
            tensor = self._runtime.Tensor(array, shared_memory=True)
            self._request.set_tensor(node_name, tensor)
            self._loaded.append((array, tensor))

    def step(self) -> None:
        """Run the request and wait for it; its results stay in the request's own tensors."""
        self._request.infer(share_outputs=True)

    def outputs(self) -> dict[str, Array]:
        """Copies of the results: the next step writes to the same tensors."""
        return {
            name: np.array(self._request.get_tensor(each).data)
            for name, each in self._output_names.items()
        }

    def facts(self) -> RunnerFacts:
        """The layers that OpenVINO runs, with the implementation that it chose for each."""
        layers = self._compiled.get_runtime_model().get_ordered_ops()
        kernels = [name for name in map(_kernel, layers) if name]
        named = ", ".join(f"{name} {value}" for name, value in self._properties.items())
        used = int(self._compiled.get_property("INFERENCE_NUM_THREADS"))
        return RunnerFacts(
            kernels=tuple(kernels),
            notes=(f"device CPU, {named}", "one request; inputs shared with the host arrays"),
            counts={"graph_nodes": len(layers), "threads": used},
        )

    def close(self) -> None:
        """Let go of the request, then of the model and the arrays shared with it."""
        self._request = None
        self._compiled = self._model = None
        self._loaded = []


def _kernel(layer: Any) -> str:
    """The type and implementation of an executed layer; empty where it only holds data."""
    info = layer.get_rt_info()
    kind, implementation = (str(info[key].astype(str)) for key in ("layerType", "primitiveType"))
    return "" if kind in _DATA_LAYERS else f"openvino:{kind}:{implementation}"


class OpenVinoEngine(InferenceEngine):
    """OpenVINO on the CPU, in float32."""

    name = "openvino"
    packages = ("openvino", "onnx")
    extra = "openvino"
    runner = OpenVinoRunner


def make_openvino_engine() -> OpenVinoEngine:
    """Factory of the entry point `openvino`."""
    return OpenVinoEngine()
