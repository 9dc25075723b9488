"""The engine `ncnn`: a forward chain of layers in float32, one image at a time."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..contract import Array, Case, EngineOptions, Program, RunnerFacts
from .inference_runtimes import InferenceEngine, UnsupportedProgramError, require_float32
from .ncnn_model import chain_of, last_blob, layer_lines, write_model
from .probed_program import probe_program
from .recorded_program import Recording, record_program

# Half precision would make another computation of it.
_OPTIONS_OFF = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
)
_INPUT_BLOB = "blob_0"


class NcnnRunner:
    """One case as a network of ncnn, run once for each image of the batch."""

    def __init__(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> None:
        self._program = (workload, case)
        self._chain = chain_of(probe_program(workload, case))
        self._parameters = parameters
        self._inputs = inputs
        self._threads = options.threads
        self._runtime: Any = None
        self._network: Any = None
        self._lines: list[str] = []
        self._images: list[Any] = []
        self._results: list[Any] = []

    def build(self) -> None:
        """Check the shapes and write the lines of the layers."""
        self._runtime = importlib.import_module("ncnn")
        require_float32("ncnn", (*self._parameters.values(), *self._inputs.values()))
        recording = record_program(*self._program, self._parameters, self._inputs)
        _require_batch_first(recording, self._inputs[self._chain.input_name])
        self._lines = layer_lines(self._chain, self._parameters)

    def compile(self) -> None:
        """Let ncnn load the model, which transforms and packs the weights."""
        self._network = self._runtime.Net()
        self._network.opt.num_threads = self._threads
        for name in _OPTIONS_OFF:
            setattr(self._network.opt, name, False)
        # ncnn copies what it reads, so that the files go at once.
        with TemporaryDirectory(prefix="benchctl-ncnn-") as folder:
            text, binary = write_model(self._chain, self._parameters, Path(folder))
            if self._network.load_param(str(text)) or self._network.load_model(str(binary)):
                raise RuntimeError("ncnn could not load the model that was written for it")
        self._parameters = {}
        self.load(self._inputs)

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Copy each image into a matrix of ncnn, whose planes are aligned."""
        batch = inputs[self._chain.input_name]
        self._images = [self._runtime.Mat(np.ascontiguousarray(each)).clone() for each in batch]

    def step(self) -> None:
        """Run the network on one image after the other."""
        last = last_blob(self._chain)
        results = []
        for image in self._images:
            extractor = self._network.create_extractor()
            extractor.input(_INPUT_BLOB, image)
            status, result = extractor.extract(last)
            if status:
                raise RuntimeError(f"ncnn returned the error {status}")
            results.append(result)
        self._results = results

    def outputs(self) -> dict[str, Array]:
        """The results of all images, in the shape of the program."""
        batch = np.stack([np.array(each) for each in self._results])
        shape = self._chain.shape
        return {self._chain.output_name: batch if shape is None else batch.reshape(shape)}

    def facts(self) -> RunnerFacts:
        """The layers; which convolution of ncnn computes one it does not say."""
        kinds = [layer.kind for layer in self._chain.layers]
        return RunnerFacts(
            kernels=tuple(f"ncnn:{each}" for each in kinds),
            notes=(
                f"num_threads {self._threads}; off: {', '.join(_OPTIONS_OFF)}",
                "ncnn has no batch axis: one image at a time",
            ),
            counts={"graph_nodes": len(kinds)},
            source="\n".join(self._lines),
        )

    def close(self) -> None:
        """Let go of the results, the images and the network, in this order."""
        self._results, self._images = [], []
        if self._network is not None:
            self._network.clear()
        self._network, self._parameters = None, {}


def _require_batch_first(recording: Recording, batch: Array) -> None:
    """Raise `UnsupportedProgramError` unless every layer takes and makes one row an image."""
    if batch.ndim not in (2, 4) or not len(batch):
        raise UnsupportedProgramError(
            f"ncnn expected images (N, C, H, W) or rows (N, K), received shape {batch.shape}",
            "choose another engine",
        )
    for call in recording.calls:
        # The last reshape happens on the host; one before a product shows in the product's rows.
        if call.primitive != "reshape" and call.result.shape[0] != len(batch):
            raise UnsupportedProgramError(
                f"ncnn runs one image at a time, {call.primitive} makes {call.result.shape[0]} "
                f"rows of {len(batch)} images",
                "choose another engine",
            )


class NcnnEngine(InferenceEngine):
    """ncnn on the CPU, in float32."""

    name = "ncnn"
    packages = ("ncnn",)
    extra = "ncnn"
    runner = NcnnRunner

    def require_expressible(self, workload: Program, case: Case) -> None:
        """Raise `UnsupportedProgramError` for what is no chain of ncnn's layers."""
        chain_of(probe_program(workload, case))


def make_ncnn_engine() -> NcnnEngine:
    """Factory of the entry point `ncnn`."""
    return NcnnEngine()
