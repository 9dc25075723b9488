"""An ONNX model as the content of a file: made and checked, and run by ONNX Runtime."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..contract import Array, Case, ModelFile, ModelProgram, Program
from .inference_runtimes import UnsupportedProgramError
from .onnx_model import IR_VERSION, OPSET, onnx_model, onnx_step

LARGEST_BYTES = 2**31 - 1
"""A protobuf message can be no larger."""


def model_file(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> ModelFile:
    """A whole step, accepted by onnx.checker; raises `UnsupportedProgramError`."""
    model = onnx_step(workload, case, parameters, inputs)
    size = model.proto.ByteSize()
    if size > LARGEST_BYTES:
        raise UnsupportedProgramError(
            f"the model has {size / 1e9:.1f} GB, and an ONNX file at most 2 GB",
            "choose a smaller case",
        )
    importlib.import_module("onnx").checker.check_model(model.proto, full_check=True)
    return ModelFile(
        model.proto.SerializeToString(),
        model.inputs,
        model.outputs,
        model.operations,
        OPSET,
        IR_VERSION,
    )


def served_model(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
) -> ModelFile:
    """What a runtime is to serve: the user's own file where there is one, else the program."""
    if isinstance(workload, ModelProgram):
        return workload.model_file(case)
    model = onnx_model(workload, case, parameters, inputs)
    content = model.proto.SerializeToString()
    return ModelFile(content, model.inputs, model.outputs, model.operations, OPSET, IR_VERSION)


def run_model(content: bytes, inputs: Mapping[str, Array], threads: int) -> dict[str, Array]:
    """The outputs of one run on the CPU, by name."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Initial values of parameters that are inputs too are no mistake.
    options.log_severity_level = 3
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    known = [*session.get_inputs(), *session.get_overridable_initializers()]
    wanted = {each.name for each in known}
    given = {name: np.ascontiguousarray(each) for name, each in inputs.items() if name in wanted}
    return dict(zip(names, session.run(names, given), strict=True))
