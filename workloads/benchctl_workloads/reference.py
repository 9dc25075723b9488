"""The float64 results that every engine is checked against before it is timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchctl_engines.contract import Array, Case, as_float64

from .workload import Workload


def reference_outputs(
    workload: Workload,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    seed: int = 0,
) -> dict[str, Array]:
    """Values, `grad_<name>` and, after a training step, `parameter/<name>`, all in float64.

    `seed` is that of the program's random operations. The given arrays are not changed.
    """
    return next(reference_steps(workload, case, parameters, inputs, seed))


def reference_steps(
    workload: Workload,
    case: Case,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    seed: int = 0,
) -> Iterator[dict[str, Array]]:
    """The outputs of one step after another, without end, a training step from the last's result.

    A step's arrays are valid until the next is asked for. A workload's own method
    `reference(case, parameters, inputs)` is asked first; without one, the program runs on the
    plain reference kernels.
    """
    own = getattr(workload, "reference", None)
    if own is None:
        from benchctl_engines.eager.reference_run import evaluate_steps

        yield from evaluate_steps(workload, case, parameters, inputs, seed)
        return
    exact, known = as_float64(parameters), as_float64(inputs)
    while True:
        results: dict[str, Array] = dict(own(case, exact, known))
        exact = {name: results.get(f"parameter/{name}", array) for name, array in exact.items()}
        yield results
