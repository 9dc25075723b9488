"""`benchctl export`: a stored run in the format of another tool."""

from __future__ import annotations

from pathlib import Path

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import axis_option, seed_option, store_option
from benchctl.cli.screen import note
from benchctl.store.exchange.formats import EXPORT_FORMATS

STDOUT = "-"


@click.command("export")
@click.argument("run_name", metavar="[RUN]", default="last")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(EXPORT_FORMATS),
    help="pyperf's JSON; that of github-action-benchmark (customSmallerIsBetter); Bencher's BMF; "
    "CSV with one row a sample.",
)
@click.option(
    "-o",
    "--output",
    "target",
    default=STDOUT,
    metavar="PATH",
    help="File to write; `-` prints.  [default: -]",
)
@click.option(
    "--to",
    "model",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.onnx",
    help="Write one step of a workload, named in place of a run, as an ONNX model.",
)
@axis_option
@seed_option
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@store_option
def export_run(
    run_name: str,
    format_name: str | None,
    target: str,
    model: Path | None,
    axes: tuple[str, ...],
    seed: int,
    force: bool,
    store: Path,
) -> int:
    """Write a stored run in the format of another tool, or a workload as an ONNX model.

    RUN is "last", a file, or a run id or its beginning or end; with --to a workload or a file.

    \b
    benchctl export --format pyperf -o run.json         python -m pyperf stats run.json
    benchctl export --format github -o benchmark.json   for github-action-benchmark
    benchctl export --format csv > samples.csv          every sample of the newest run
    benchctl export vgg16 --to vgg16.onnx               a step, with its gradients if it has any
    """
    if model is not None:
        from benchctl.cli.export_model import export_model

        if format_name is not None:
            raise click.UsageError("--to writes a workload and --format a run: give one of them")
        return export_model(run_name, axes, model, force, seed)
    if format_name is None:
        raise click.UsageError("expected --format NAME for a run, or --to FILE.onnx for a workload")
    if axes:
        raise click.UsageError("-a chooses a case of a workload: expected --to FILE.onnx beside it")
    from benchctl.store.exchange.errors import ExportError
    from benchctl.store.exchange.exporting import export_text, write_file
    from benchctl.store.exchange.names import measured_arms
    from benchctl.store.reader import find_run

    run = find_run(store, run_name)
    measured = {(case.id, arm.arm.id) for case, arm in measured_arms(run)}
    if not measured:
        raise CliError(
            f"run {run.run_id} has no sample to export",
            f"benchctl show {run.run_id} says why",
            Exit.NOTHING_MEASURED,
        )
    try:
        text = export_text(run, format_name)
        if target == STDOUT:
            click.echo(text, nl=False)
        else:
            write_file(Path(target), text, force=force)
            note(f"Wrote {target}")
    except ExportError as error:
        raise CliError(error.message, error.hint) from error
    if not run.complete:
        note("note: the run is not complete; benchctl run --resume measures the rest")
    for case in run.cases:
        for arm in case.arms:
            if (case.case.id, arm.arm.id) not in measured:
                note(f"note: left out: {case.case.id} on {arm.arm.id}: {arm.status}, no sample")
    return int(Exit.OK)
