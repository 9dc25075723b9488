"""The engine `onnxruntime`: a forward program as an ONNX model in an inference session."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..contract import Array, Case, EngineOptions, ModelFile, Program, RunnerFacts
from .inference_runtimes import InferenceEngine
from .onnx_file import model_file, run_model, served_model


class OnnxRuntimeRunner:
    """One case in a session; results are written to arrays that exist before the first step."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        self._program = (workload, case, parameters, inputs)
        self._threads = options.threads
        self._model: ModelFile | None = None
        self._operations: tuple[str, ...] = ()
        self._session: Any = None
        self._binding: Any = None
        self._input_names: Mapping[str, str] = {}
        self._output_names: Mapping[str, str] = {}
        self._results: dict[str, Array] = {}
        self._loaded: list[Array] = []

    def build(self) -> None:
        """Record the program as a model, or take the model that it came from."""
        self._model = served_model(*self._program)
        self._input_names, self._output_names = self._model.inputs, self._model.outputs
        self._operations = self._model.operations

    def compile(self) -> None:
        """Let the session optimise the model and pack the weights."""
        if self._model is None:
            raise RuntimeError("compile expected build() first")
        runtime: Any = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        serialised = self._model.content
        # The session has its own copy of every parameter: no other is needed from here on.
        self._model = None
        workload, case, _, inputs = self._program
        self._program = (workload, case, {}, inputs)
        self._session = runtime.InferenceSession(
            serialised, options, providers=["CPUExecutionProvider"]
        )
        self._binding = self._session.io_binding()
        self._bind_results()
        self.load(inputs)

    def _bind_results(self) -> None:
        for output in self._session.get_outputs():
            array = np.empty(output.shape, _NUMPY_TYPES[output.type])
            self._results[output.name] = array
            self._binding.bind_output(
                output.name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data
            )

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Bind the inputs of the next steps without a copy; they are kept until the next load."""
        self._loaded = []
        for name, node_name in self._input_names.items():
            array = np.asarray(inputs[name], order="C")
            self._loaded.append(array)
            self._binding.bind_input(
                node_name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data
            )

    def step(self) -> None:
        """Run the session."""
        self._session.run_with_iobinding(self._binding)

    def outputs(self) -> dict[str, Array]:
        """Copies of the results: the next step writes to the same arrays."""
        return {name: self._results[each].copy() for name, each in self._output_names.items()}

    def facts(self) -> RunnerFacts:
        """The nodes of the model; which of them the session fused it does not say."""
        return RunnerFacts(
            kernels=tuple(f"onnxruntime:{each}" for each in self._operations),
            notes=(
                f"CPUExecutionProvider, intra_op_num_threads {self._threads}, "
                "graph_optimization_level ORT_ENABLE_ALL",
                "inputs and results bound to host arrays (run_with_iobinding)",
            ),
            counts={"graph_nodes": len(self._operations)},
        )

    def close(self) -> None:
        """Let go of the session, then of the arrays bound to it."""
        self._binding = self._session = self._model = None
        self._results, self._loaded = {}, []


_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(bool)": np.bool_,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


class OnnxRuntimeEngine(InferenceEngine):
    """ONNX Runtime on the CPU."""

    name = "onnxruntime"
    packages = ("onnxruntime", "onnx")
    extra = "onnxruntime"
    runner = OnnxRuntimeRunner

    def export_model(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
    ) -> ModelFile:
        """One step of a case; raises `UnsupportedProgramError`."""
        return model_file(workload, case, parameters, inputs)

    def run_model(
        self, content: bytes, inputs: Mapping[str, Array], threads: int
    ) -> dict[str, Array]:
        """The outputs of one run, by their names in the file."""
        return run_model(content, inputs, threads)


def make_onnxruntime_engine() -> OnnxRuntimeEngine:
    """Factory of the entry point `onnxruntime`."""
    return OnnxRuntimeEngine()
