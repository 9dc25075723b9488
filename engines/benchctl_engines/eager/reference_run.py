"""The float64 reference: the eager engine on the plain NumPy kernels of the device "reference"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..contract import Array, Case, EngineOptions, Program, as_float64
from ..devices.cpu import Device
from .engine import make_runner


def evaluate_steps(
    workload: Program,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    seed: int = 0,
) -> Iterator[dict[str, Array]]:
    """Outputs of one step after another in float64, named as the contract's `Runner.outputs` says.

    The arrays given are not changed; those of a step are, once the next is asked for.
    """
    runner = make_runner(
        workload,
        case,
        as_float64(parameters),
        as_float64(inputs),
        EngineOptions(seed=seed),
        Device("reference"),
    )
    runner.build()
    while True:
        runner.step()
        yield runner.outputs()
