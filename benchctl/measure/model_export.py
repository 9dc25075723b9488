"""A step of a case as a model file, with the numbers that a worker would begin with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchctl.measure.verification import (
    PARAMETER_PREFIX,
    load_reference,
    save_reference,
    verify_outputs,
)
from benchctl.measure.worker import draw_parameters
from benchctl.plan.order import round_seed
from benchctl.plan.registry import load_workload
from benchctl.store.record import CaseSpec, Verification
from benchctl_engines.contract import Array, ModelEngine, ModelFile
from benchctl_workloads.reference import reference_outputs


@dataclass(frozen=True, slots=True)
class ExportedStep:
    """A model file, the arrays it was made with, and what checking it said."""

    model: ModelFile
    verification: Verification
    problems: tuple[str, ...]


def export_step(engine: ModelEngine, case: CaseSpec, seed: int, threads: int) -> ExportedStep:
    """Write a step as a model, run the model once, and compare it with the float64 reference.

    Raises `ValueError` with a hint where the engine cannot write it.
    """
    workload = load_workload(case.workload)
    parameters = draw_parameters(workload, case.parameters, seed)
    source = np.random.default_rng(round_seed(seed, case.id, 0))
    inputs = workload.inputs(case.parameters, source)
    model = engine.export_model(workload, case.parameters, parameters, inputs)
    results = engine.run_model(model.content, inputs, threads)
    outputs: Mapping[str, Array] = {
        name: results[in_file] for name, in_file in model.outputs.items()
    }
    expected = reference_outputs(workload, case.parameters, parameters, inputs)
    # A parameter that no gradient reaches is not changed, and not in the model.
    expected = {
        name: each
        for name, each in expected.items()
        if name in outputs or not name.startswith(PARAMETER_PREFIX)
    }
    with tempfile.TemporaryDirectory(prefix="benchctl-reference-") as folder:
        save_reference(Path(folder), expected, parameters)
        verification, problems = verify_outputs(
            outputs, load_reference(Path(folder)), workload, case.parameters, inputs
        )
    return ExportedStep(model, verification, problems)
