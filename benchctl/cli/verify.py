"""`benchctl verify`: every engine's results against float64, without timing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from benchctl.cli.exits import Exit
from benchctl.cli.options import (
    axis_option,
    complete_names,
    device_option,
    engine_option,
    precision_option,
    seed_option,
    threads_option,
)
from benchctl.cli.request import Request, make_plan, require_something_measurable
from benchctl.cli.screen import note, write

if TYPE_CHECKING:
    from benchctl.store.record import ArmResult, CaseSpec


@click.command()
@click.argument("names", nargs=-1, metavar="NAME...", shell_complete=complete_names)
@engine_option("Engine to check; repeatable.  [default: all that are installed]")
@device_option
@precision_option
@axis_option
@seed_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(
    names: tuple[str, ...],
    engines: tuple[str, ...],
    device: str,
    precision: str,
    axes: tuple[str, ...],
    seed: int,
    threads: int | None,
    as_json: bool,
) -> int:
    """Check every engine's results against the float64 reference; nothing is timed.

    \b
    benchctl verify xyz
    benchctl verify xyz -a expression=as_on_the_slide    the lecture's wrong gradients
    benchctl verify vgg16 -a image_size=32 -a layout=NCHW,NHWC
    """
    from benchctl.cli.progress import make_observer
    from benchctl.measure.session import verify as verify_plan

    request = Request(
        names=names,
        engines=engines or installed_engines(device),
        device=device,
        precision=precision,
        axes=axes,
        seed=seed,
        threads=threads,
    )
    plan = make_plan(request)
    require_something_measurable(plan)
    observer = make_observer(plan, quiet=True)
    try:
        found = verify_plan(plan, observer)
    finally:
        observer.stop()
    if as_json:
        _write_json(found)
    else:
        write(verification_lines(found))
    return int(verify_exit_code([result for _, result in found]))


def installed_engines(device: str) -> tuple[str, ...]:
    """The engines that run on `device` here; all of them where none does."""
    from benchctl.plan.arms import parse_place
    from benchctl.plan.errors import PlanError
    from benchctl.plan.registry import engine_names, load_engine

    device, _ = parse_place(device)
    names, available = [], []
    for name in engine_names():
        try:
            engine = load_engine(name)
        except PlanError as error:
            note(f"warning: {error.message}")
            continue
        names.append(name)
        if engine.availability(device).ok:
            available.append(name)
    return tuple(available or names)


def verification_lines(found: list[tuple[CaseSpec, ArmResult]]) -> list[str]:
    """Heading and check of every case, then what is wrong."""
    from benchctl.report.sentences import checking_words, failures_lines
    from benchctl.report.text import INDENT, checking_lines, heading, workload_words

    by_case: dict[str, tuple[CaseSpec, list[ArmResult]]] = {}
    for case, result in found:
        by_case.setdefault(case.id, (case, []))[1].append(result)
    lines = []
    for case, results in by_case.values():
        lines.append(heading(workload_words(case.workload), case.title, ""))
        lines += checking_lines([checking_words(result) for result in results])
        lines += [INDENT + line for line in failures_lines(results)]
    return lines


def verify_exit_code(results: list[ArmResult]) -> Exit:
    """5 where something is wrong or failed, 6 where nothing was checked."""
    if any(result.status in ("wrong", "crashed", "timeout") for result in results):
        return Exit.FAILED
    if not any(result.verification for result in results):
        return Exit.NOTHING_MEASURED
    return Exit.OK


def _write_json(found: list[tuple[CaseSpec, ArmResult]]) -> None:
    from benchctl.store.export import dump_json, verification_entry

    write([dump_json({"cases": [verification_entry(case, result) for case, result in found]})])
