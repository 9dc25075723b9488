"""The float64 reference: the eager engine on the plain NumPy kernels of the device "reference"."""

from __future__ import annotations

from collections.abc import Mapping

from ..contract import Array, Case, EngineOptions, Program, as_float64
from ..devices.cpu import Device
from .engine import EagerRunner


def evaluate(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    seed: int = 0,
) -> dict[str, Array]:
    """Outputs of one step in float64, under the names of the contract's `Runner.outputs`.

    The arrays given are not changed.
    """
    runner = EagerRunner(
        workload,
        case,
        as_float64(parameters),
        as_float64(inputs),
        EngineOptions(seed=seed),
        Device("reference"),
    )
    runner.build()
    runner.step()
    return runner.outputs()
