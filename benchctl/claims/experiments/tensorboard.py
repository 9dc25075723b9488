"""TensorBoard shows the structure and how parameters change: does it read what we write?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchctl.claims.claim import Claim, Facts
from benchctl.claims.evidence import Evidence, checked, missing
from benchctl.claims.experiments.frameworks import told_gap
from benchctl.claims.user_programs import printed_document
from benchctl.claims.verdicts import Observation
from benchctl.store.record import CaseSpec, Plan

PACKAGE = "tensorboard"
WORKLOAD = "layer_api"
STEPS = 5
_PROGRAM = "reading_tensorboard"


def probe(plan: Plan) -> Facts:
    """What was written of a training step and of some steps, and what TensorBoard read of it."""
    if find_spec(PACKAGE) is None:
        reason = "tensorboard, which reads the logs, is not installed"
        return {PACKAGE: {"missing": [reason, 'pip install "benchctl[tensorboard]"']}}
    from benchctl.plan.cases import expand_cases

    (case,) = expand_cases(WORKLOAD, {"batch": ("2",)})
    with tempfile.TemporaryDirectory(prefix="benchctl-tensorboard-") as name:
        folder = Path(name)
        nodes = _write_graph(folder, case, plan)
        scalars = _write_scalars(folder, case, plan.seed)
        read = printed_document(_PROGRAM, plan, str(folder))
    if "failed" in read:
        return {PACKAGE: read}
    return {
        "nodes": {"written": sorted(nodes), "read": sorted(read["nodes"])},
        "scalars": {"written": _rows(scalars), "read": _rows(read["scalars"])},
    }


def _write_graph(folder: Path, case: CaseSpec, plan: Plan) -> list[str]:
    """Write the graph that runs; the names of its nodes."""
    from benchctl.graphs.tensorboard import node_names, write_graph
    from benchctl.measure.session import graphs
    from benchctl.plan.arms import parse_arm

    view = graphs(plan, case, parse_arm("static")).graphs.after
    write_graph(folder, view)
    return list(node_names(view).values())


def _write_scalars(folder: Path, case: CaseSpec, seed: int) -> dict[str, list[float]]:
    """Train a few steps; the loss and how far a weight has moved, as they were logged."""
    import numpy as np

    from benchctl.graphs.event_file import ScalarLog
    from benchctl.plan.registry import load_workload
    from benchctl_workloads.reference import reference_steps

    workload, rng = load_workload(case.workload), np.random.default_rng(seed)
    parameters = workload.parameters(case.parameters, rng)
    inputs = workload.inputs(case.parameters, rng)
    weight = next(iter(parameters))
    logged: dict[str, list[float]] = {"loss": [], f"moved/{weight}": []}
    with ScalarLog(folder, first_step=1) as log:
        steps = reference_steps(workload, case.parameters, parameters, inputs)
        for number, outputs in zip(range(1, STEPS + 1), steps, strict=False):
            moved = outputs[f"parameter/{weight}"] - parameters[weight]
            values = (float(outputs["loss"]), float(np.abs(moved).mean()))
            found = dict(zip(logged, values, strict=True))
            log.write(number, found)
            for name, value in found.items():
                # As the file has it: in 32 bits.
                logged[name].append(float(np.float32(value)))
    return logged


def _rows(scalars: Mapping[str, Any]) -> list[list[Any]]:
    """(name, step from 1, value) of every scalar."""
    return [
        [name, step, value]
        for name in sorted(scalars)
        for step, value in enumerate(scalars[name], start=1)
    ]


def judge(evidence: Evidence) -> tuple[Observation, ...]:
    """Nothing is lost of the graph, and nothing of the numbers."""
    found = []
    for what, words in (("nodes", "nodes of the graph"), ("scalars", "scalars of a training")):
        told = evidence.facts.get(what)
        if told is None:
            found.append(missing(f"{words} in TensorBoard", *told_gap(evidence.facts, PACKAGE)))
            continue
        written, read = told["written"], told["read"]
        same = len(written) > 0 and written == read
        seen = f"{len(written)} written, {len(read)} read"
        found.append(checked(f"{words} in TensorBoard", same, seen))
    return tuple(found)


CLAIM = Claim(
    name="tensorboard",
    says="TensorBoard shows the structure and how parameters change",
    asks=(
        "the graph of a training step, loss and weights over some steps, written as logs and read "
        "by TensorBoard's own reader"
    ),
    rule="TensorBoard reads every node and every scalar that was written, with its value",
    kind="check",
    judge=judge,
    probe=probe,
)
