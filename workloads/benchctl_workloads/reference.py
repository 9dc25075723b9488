"""The float64 results that every engine is checked against before it is timed."""

from __future__ import annotations

from collections.abc import Mapping

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

    A workload's own method `reference(case, parameters, inputs)` is asked first; without one, the
    program runs on the plain reference kernels. `seed` is that of the program's random
    operations. The given arrays are not changed.
    """
    own = getattr(workload, "reference", None)
    if own is not None:
        return dict(own(case, as_float64(parameters), as_float64(inputs)))
    from benchctl_engines.eager.reference_run import evaluate

    results: dict[str, Array] = evaluate(workload, case, parameters, inputs, seed)
    return results
