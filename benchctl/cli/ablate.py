"""`benchctl ablate`: what each pass of the static engine is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchctl.cli.exits import Exit
from benchctl.cli.options import (
    axis_option,
    complete_names,
    device_option,
    duration,
    precision_option,
    seed_option,
    store_option,
    threads_option,
)
from benchctl.cli.output import exit_code, failure_notes
from benchctl.cli.profile import file_stem
from benchctl.cli.request import Request, make_plan, require_something_measurable
from benchctl.cli.run import measured_run
from benchctl.cli.screen import note, write
from benchctl.cli.writable import not_written, require_writable_folder

if TYPE_CHECKING:
    from benchctl.compare.ladder import Measured
    from benchctl.compare.summary import CaseSummary
    from benchctl.plan.ladder import Rung
    from benchctl.store.record import CaseSpec, Plan, Run

FOLDER = "ablations"
_OTHER_STORE = "choose another folder: --store DIR"


@click.command()
@click.argument("name", metavar="WORKLOAD", shell_complete=complete_names)
@device_option
@precision_option
@axis_option
@click.option("--rounds", type=click.IntRange(min=1), metavar="N", help="Rounds of every case.")
@click.option(
    "--budget", callback=duration, metavar="TIME", help="Stop after about this long: 30s, 5m."
)
@click.option(
    "--cold",
    is_flag=True,
    help="Also compile with an empty cache, so that compile times are those of a first use.",
)
@seed_option
@threads_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def ablate(
    name: str,
    device: str,
    precision: str,
    axes: tuple[str, ...],
    rounds: int | None,
    budget: float | None,
    cold: bool,
    seed: int,
    threads: int | None,
    store: Path,
    as_json: bool,
) -> int:
    """Show what each pass of the static engine is worth.

    From eager through static with every pass off to all of them on, one after another; then all
    but each. The rungs are measured side by side and stored as a run; a chart is saved in the
    store's folder ablations.

    \b
    benchctl ablate xyz
    benchctl ablate vgg16 -a mode=training --budget 10m
    """
    from benchctl.compare.summary import summarise
    from benchctl.plan.ladder import ALL_OFF, ENGINE, ladder, passes_of
    from benchctl.plan.registry import load_engine

    rungs = ladder(passes_of(load_engine(ENGINE).switches(), device))
    request = Request(
        names=(name,),
        engines=tuple(dict.fromkeys(rung.arm for rung in rungs)),
        device=device,
        precision=precision,
        axes=axes,
        rounds=rounds,
        budget_seconds=budget,
        seed=seed,
        threads=threads,
        reference=ALL_OFF,
        cold=cold,
    )
    plan = make_plan(request)
    require_something_measurable(plan)
    arm_ids = dict(zip(request.engines, (arm.id for arm in plan.arms), strict=True))
    require_writable_folder(store / FOLDER, _OTHER_STORE)
    run = measured_run(plan, store)
    if run is None:
        return int(Exit.INTERRUPTED)
    documents: list[dict[str, Any]] = []
    for case in summarise(run).cases:
        found = _rungs(plan, case, rungs, arm_ids)
        chart = _save_chart(store, run, case.case, found)
        if not as_json:
            write([*([""] if documents else []), *_lines(case.case, found)])
            write([f"Saved {path}" for path in (run.path, chart) if path is not None])
        documents.append(_document(case.case, run, found))
    note(failure_notes(run))
    if as_json:
        from benchctl.store.export import dump_json

        write([dump_json({"ablations": documents})])
    return int(exit_code(run))


def _rungs(
    plan: Plan, case: CaseSummary, rungs: list[Rung], arm_ids: dict[str, str]
) -> list[Measured]:
    """The rungs of a case, with what is asked of the engines beside the timing."""
    from benchctl.compare.ladder import measured_rungs
    from benchctl.measure.session import ArmFailure, differences, profile
    from benchctl.plan.ladder import ALL_OFF

    timed = [arm.result.arm for arm in case.arms if arm.rounds]
    base = next((arm for arm in timed if arm.id == arm_ids[ALL_OFF]), None)
    found = {} if base is None else differences(plan, case.case, base, timed)
    counts: dict[str, dict[str, int]] = {}
    for arm in case.arms:
        spec = arm.result.arm
        if spec not in timed or "launches" in arm.result.counts:
            continue
        try:
            launches = profile(plan, case.case, spec, 1)["launches"]
        except ArmFailure as failure:
            note(f"note: {spec.id}: {failure.message}")
            continue
        moved = sum(each["bytes_moved"] for each in launches)
        counts[spec.id] = {"launches": len(launches), "bytes_moved": moved}
    return measured_rungs(case, rungs, arm_ids, found, counts)


def _lines(case: CaseSpec, rungs: list[Measured]) -> list[str]:
    from benchctl.report.ladder import ladder_table, split_rungs
    from benchctl.report.table import render_table

    lines = [f"{case.id}  {case.title}"]
    for part, own in split_rungs(rungs).items():
        lines += ["", *render_table(ladder_table(own, part))]
    return lines


def _document(case: CaseSpec, run: Run, rungs: list[Measured]) -> dict[str, Any]:
    from benchctl.report.ladder import ladder_document

    return {"case": case.id, "run": run.run_id, "rungs": ladder_document(rungs)}


def _save_chart(store: Path, run: Run, case: CaseSpec, rungs: list[Measured]) -> Path | None:
    from benchctl.report.charts.ablation import draw_ablation
    from benchctl.report.charts.files import write_png
    from benchctl.report.text import machine_words

    path = store / FOLDER / f"{file_stem(case.id)}.png"
    title = f"{case.workload}: {case.title}, what each pass is worth"
    try:
        figure = draw_ablation(rungs, title, machine_words(run))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(figure, path)
    except ValueError as error:
        note(f"note: no chart: {error}")
        return None
    except OSError as error:
        raise not_written(path, error, _OTHER_STORE) from error
    return path
