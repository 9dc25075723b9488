"""`benchctl export WORKLOAD --to FILE`: a step of a workload as an ONNX model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.screen import note, write
from benchctl.cli.writable import not_written

if TYPE_CHECKING:
    from benchctl.measure.model_export import ExportedStep
    from benchctl.store.record import CaseSpec
    from benchctl_engines.contract import ModelEngine

ENGINE = "onnxruntime"
SUFFIX = ".onnx"


def export_model(name: str, axes: tuple[str, ...], target: Path, force: bool, seed: int) -> int:
    """Write the one case that is asked for, checked before it has its name."""
    from benchctl.cli.request import usable_cores
    from benchctl.measure.model_export import export_step
    from benchctl.store.files import write_whole

    if target.suffix != SUFFIX:
        raise click.UsageError(f"--to expected a name ending in {SUFFIX}, received {target}")
    case = _one_case(name, axes)
    engine = _engine()
    if target.exists() and not force:
        raise CliError(f"{target} is there already", "choose another file, or replace it: --force")
    try:
        found = export_step(engine, case, seed, usable_cores())
    except ValueError as error:
        raise CliError(f"{case.id}: {error}", str(getattr(error, "hint", ""))) from error
    if not found.verification.ok:
        raise CliError(
            f"{case.id}: the model computes something else: {found.problems[0]}",
            "nothing was written; this is a defect of benchctl",
            Exit.FAILED,
        )
    try:
        write_whole(target, found.model.content, replace=force)
    except OSError as error:
        raise not_written(target, error, "choose another path") from error
    write(_lines(case, found))
    note(f"Wrote {target}")
    return int(Exit.OK)


def _one_case(name: str, axes: tuple[str, ...]) -> CaseSpec:
    from benchctl.cli.request import entries_of_names
    from benchctl.plan.cases import expand_cases

    entries = entries_of_names((name,), axes)
    cases = [case for entry in entries for case in expand_cases(entry.workload, entry.axes)]
    if len(cases) != 1:
        raise CliError(
            f"expected one case to export, received {len(cases)}",
            "name one value of each axis, such as -a batch=1",
        )
    return cases[0]


def _engine() -> ModelEngine:
    from benchctl.plan.registry import load_engine
    from benchctl_engines.contract import ModelEngine

    engine = load_engine(ENGINE)
    state = engine.availability("cpu")
    if not state.ok or not isinstance(engine, ModelEngine):
        raise CliError(state.reason, state.hint, Exit.NOTHING_MEASURED)
    return engine


def _lines(case: CaseSpec, found: ExportedStep) -> list[str]:
    from benchctl.report.numbers import format_error

    model = found.model
    most = Counter(model.operations).most_common(4)
    listed = ", ".join(f"{count} {operation}" for operation, count in most)
    return [
        f"{case.id}: one {case.step} step",
        f"  {len(model.operations)} nodes ({listed}, ...), {len(model.inputs)} inputs, "
        f"{len(model.outputs)} outputs, {len(model.content) / 1e6:.1f} MB, "
        f"opset {model.opset}, IR {model.ir_version}",
        "  onnx.checker accepts it, and ONNX Runtime computes what float64 does "
        f"({format_error(found.verification.worst_relative_error)})",
    ]
