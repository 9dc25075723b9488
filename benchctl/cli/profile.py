"""`benchctl profile`: where a step's time goes, kernel by kernel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import (
    axis_option,
    complete_names,
    device_option,
    engine_option,
    precision_option,
    seed_option,
    store_option,
    threads_option,
)
from benchctl.cli.request import require_something_measurable
from benchctl.cli.screen import note, write
from benchctl.cli.single_arms import failures_of, plan_of_workload
from benchctl.cli.writable import not_written, require_writable_folder

if TYPE_CHECKING:
    from benchctl.measure.limits import Limits
    from benchctl.store.record import ArmSpec, CaseSpec, Plan

FOLDER = "profiles"
_OTHER_STORE = "choose another folder: --store DIR"


@click.command()
@click.argument("name", metavar="WORKLOAD", shell_complete=complete_names)
@engine_option("Engine to profile, with switches; repeatable.  [default: static]")
@device_option
@precision_option
@axis_option
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Steps to time; figures are medians.",
)
@click.option(
    "--by",
    type=click.Choice(["kernel", "launch"]),
    default="kernel",
    show_default=True,
    help="One line a kernel and shape, the longest first, or one a launch in order.",
)
@seed_option
@threads_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def profile(
    name: str,
    engines: tuple[str, ...],
    device: str,
    precision: str,
    axes: tuple[str, ...],
    steps: int,
    by: str,
    seed: int,
    threads: int | None,
    store: Path,
    as_json: bool,
) -> int:
    """Show where the time of a step goes: a line a kernel, a roofline, a trace.

    Rates are compared with what this machine does at best. The roofline is saved as PNG, the
    trace for chrome://tracing or Perfetto, both in the store's folder profiles.

    \b
    benchctl profile vgg16
    benchctl profile vgg16 -a mode=training -a batch=8 --engine eager
    benchctl profile xyz -a size=1000x1000 --by launch
    """
    from benchctl.measure.session import profile as profile_arm

    plan = plan_of_workload(
        name,
        engines,
        device=device,
        precision=precision,
        axes=axes,
        seed=seed,
        threads=threads,
    )
    require_writable_folder(store / FOLDER, _OTHER_STORE)
    require_something_measurable(plan)
    known = _KnownLimits(plan)
    documents: list[dict[str, Any]] = []
    for case in plan.cases:
        for arm in plan.arms:
            with failures_of(case, arm):
                found = profile_arm(plan, case, arm, steps, with_limits=known.wants(arm))
            limits = known.of(arm, found.pop("device_limits", None))
            saved = _save(store, plan, case, arm, found, limits)
            if not as_json:
                write([*([""] if documents else []), f"{case.id}  {arm.id}  {case.title}"])
                write(_lines(found, limits, by))
                write(f"Saved {path}" for path in saved)
            documents.append(_document(case, arm, found, limits, saved))
    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json({"profiles": documents})])
    return int(Exit.OK)


class _KnownLimits:
    """The limits of the machine and of each GPU, measured once for a profile."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._machine: Limits | None = None
        self._gpus: dict[str, dict[str, Any]] = {}

    def wants(self, arm: ArmSpec) -> bool:
        """Whether an arm is the first on its GPU, and is to measure what that does at best."""
        return arm.device.startswith("gpu") and arm.device not in self._gpus

    def of(self, arm: ArmSpec, measured: dict[str, Any] | None) -> Limits:
        """The limits of where the arm ran; raises `CliError` where they could not be measured."""
        from benchctl.measure.limits import LimitsError, gpu_limits

        if not arm.device.startswith("gpu"):
            try:
                return self._of_the_machine()
            except LimitsError as error:
                hint = "benchctl doctor checks this machine"
                raise CliError(str(error), hint, Exit.FAILED) from error
        if measured is not None:
            self._gpus[arm.device] = measured
        limits = gpu_limits(self._gpus[arm.device], arm.precision)
        if limits is None:
            raise CliError(
                f"{arm.id}: the limits of {arm.device} in {arm.precision} could not be measured",
                "benchctl doctor checks the GPU and its libraries",
                Exit.FAILED,
            )
        return limits

    def _of_the_machine(self) -> Limits:
        from benchctl.measure.limits import measure_limits
        from benchctl.measure.settings import settings_of, worker_environment

        if self._machine is None:
            settings, threads = settings_of(self._plan), self._plan.threads
            variables = worker_environment(settings, threads, settings.cache_folder)
            self._machine = measure_limits(threads, variables)
        return self._machine


def _lines(found: dict[str, Any], limits: Limits, by: str) -> list[str]:
    from benchctl.report.profile import kernel_rows, launch_rows, profile_table
    from benchctl.report.table import render_table

    launches, by_launch = found["launches"], by == "launch"
    rows = launch_rows(launches) if by_launch else kernel_rows(launches)
    table = profile_table(
        rows, found["step_seconds"], limits, by_launch=by_launch, phases=found["phases"]
    )
    return render_table(table)


def _document(
    case: CaseSpec,
    arm: ArmSpec,
    found: dict[str, Any],
    limits: Limits,
    saved: list[Path],
) -> dict[str, Any]:
    from dataclasses import asdict

    files = [str(path) for path in saved]
    return {"case": case.id, "arm": arm.id, "limits": asdict(limits), **found, "files": files}


def _save(
    store: Path,
    plan: Plan,
    case: CaseSpec,
    arm: ArmSpec,
    found: dict[str, Any],
    limits: Limits,
) -> list[Path]:
    """Write the trace, and the roofline where a kernel has arithmetic."""
    from benchctl.measure.environment import machine_facts
    from benchctl.report.charts.files import write_png
    from benchctl.report.charts.roofline import draw_roofline
    from benchctl.report.profile import kernel_rows, trace_document

    title = f"{case.id} on {arm.id}"
    stem = file_stem(f"{case.id}-{arm.id}")
    folder = store / FOLDER
    rows = kernel_rows(found["launches"])
    trace, picture = folder / f"{stem}.trace.json", folder / f"{stem}.png"
    where = f"{machine_facts()['cpu']}, {plan.threads} threads"
    if arm.device.startswith("gpu"):
        where = limits.words
    foot = f"{where}; convolutions count as direct sums"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trace.write_text(json.dumps(trace_document(found["launches"], title)), encoding="utf-8")
        try:
            figure = draw_roofline(rows, found["step_seconds"], limits, title, foot)
        except ValueError as error:
            note(f"note: no roofline: {error}")
            return [trace]
        write_png(figure, picture)
    except OSError as error:
        raise not_written(folder, error, _OTHER_STORE) from error
    return [picture, trace]


def file_stem(text: str) -> str:
    """A case and arm as part of a file's name."""
    return "".join(each if each.isalnum() or each in "-_." else "-" for each in text).strip("-")
