"""`benchctl graph`: the graph of a step before and after the passes, as a picture or a log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
from benchctl.cli.output import STDOUT, write_document
from benchctl.cli.profile import file_stem
from benchctl.cli.request import require_something_measurable
from benchctl.cli.screen import note, write
from benchctl.cli.single_arms import failures_of, plan_of_workload
from benchctl.cli.writable import not_written, require_writable, require_writable_folder

if TYPE_CHECKING:
    from benchctl.measure.session import ArmGraphs
    from benchctl.store.record import ArmSpec, CaseSpec

FOLDER = "graphs"
TENSORBOARD = "tensorboard"
FORMATS = {"svg": ".svg", "dot": ".dot", "mermaid": ".mmd", TENSORBOARD: ""}
_BY_SUFFIX = {".svg": "svg", ".dot": "dot", ".gv": "dot", ".mmd": "mermaid"}
_OTHER_PATH = "choose another path: --out PATH"
_OTHER_STORE = "choose another folder: --store DIR; or name the file: --out PATH"


@click.command()
@click.argument("name", metavar="WORKLOAD", shell_complete=complete_names)
@engine_option("Engine whose graph is drawn, with switches; repeatable.  [default: static]")
@device_option
@precision_option
@axis_option
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="Picture, Graphviz, Mermaid, or a log folder.  [default: by --out, or svg]",
)
@click.option(
    "--out",
    metavar="PATH",
    help="File, or folder of a log; `-` prints.  [default: in the store's folder graphs]",
)
@click.option("--before", is_flag=True, help="Only the graph as it was recorded.")
@click.option("--after", is_flag=True, help="Only the graph that runs, after the passes.")
@click.option("--expand", is_flag=True, help="Show single operations of a large graph, too.")
@click.option("--times", is_flag=True, help="Also time each launch of the graph that runs.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Steps to time with --times; figures are medians.",
)
@seed_option
@threads_option
@store_option
def graph(
    name: str,
    engines: tuple[str, ...],
    device: str,
    precision: str,
    axes: tuple[str, ...],
    form: str | None,
    out: str | None,
    before: bool,
    after: bool,
    expand: bool,
    times: bool,
    steps: int,
    seed: int,
    threads: int | None,
    store: Path,
) -> int:
    """Draw the graph of a step before and after the passes.

    Shapes, layouts, fused operations, kernels, bytes and places in the arena are written into the
    boxes. A large graph is drawn layer by layer. TensorBoard opens the folder of a log.

    \b
    benchctl graph xyz
    benchctl graph vgg16 -a mode=training --times
    benchctl graph xyz --format mermaid --out -
    benchctl graph gan --format tensorboard --out logs
    """
    from benchctl.measure.session import graphs as graphs_of_arm

    wanted = [each for each, on in (("before", before), ("after", after)) if on]
    wanted = wanted or ["before", "after"]
    if times and "after" not in wanted:
        raise click.UsageError("--times expected the graph that runs, received --before alone")
    form = form or _format_of(out)
    if out == STDOUT and form == TENSORBOARD:
        raise click.UsageError("--format tensorboard expected a folder, received --out -")
    plan = plan_of_workload(
        name,
        engines,
        device=device,
        precision=precision,
        axes=axes,
        seed=seed,
        threads=threads,
    )
    pairs = [(case, arm) for case in plan.cases for arm in plan.arms]
    if out is not None and len(pairs) > 1:
        raise CliError(
            f"--out expected one graph, received {len(pairs)}",
            "name one value of each axis and one engine, or leave --out out",
        )
    _require_place(store, out, form)
    require_something_measurable(plan)
    for case, arm in pairs:
        with failures_of(case, arm):
            found = graphs_of_arm(plan, case, arm, steps if times else 0)
        stem = file_stem(f"{case.id}-{arm.id}") + FORMATS[form]
        target = out if out is not None else str(store / FOLDER / stem)
        if out != STDOUT:
            write(_facts(case, arm, found))
        try:
            if form == TENSORBOARD:
                _write_logs(Path(target), found, wanted, arm)
            else:
                _write_picture(target, form, case, arm, found, wanted, expand)
        except OSError as error:
            raise not_written(Path(target), error, _OTHER_PATH) from error
    return int(Exit.OK)


def _require_place(store: Path, out: str | None, form: str) -> None:
    """Raise before anything is run where the picture or the log could not be written."""
    if out is None:
        require_writable_folder(store / FOLDER, _OTHER_STORE)
    elif form == TENSORBOARD:
        require_writable_folder(Path(out), _OTHER_PATH)
    elif out != STDOUT:
        require_writable(Path(out), _OTHER_PATH)


def _format_of(out: str | None) -> str:
    """The format that the name of the file tells; svg where there is none."""
    if out in (None, STDOUT):
        return "svg"
    suffix = Path(str(out)).suffix
    if suffix not in _BY_SUFFIX:
        raise click.UsageError(
            f"--out expected a name ending in {', '.join(_BY_SUFFIX)}, received {out}; "
            f"or name the format: --format {'|'.join(FORMATS)}"
        )
    return _BY_SUFFIX[suffix]


def _facts(case: CaseSpec, arm: ArmSpec, found: ArmGraphs) -> list[str]:
    from benchctl.graphs.words import view_words

    return [
        f"{case.id}  {arm.id}  {case.title}",
        f"  before  {view_words(found.graphs.before)}",
        f"  after   {view_words(found.graphs.after, sum(found.launch_seconds))}",
    ]


def _write_picture(
    target: str,
    form: str,
    case: CaseSpec,
    arm: ArmSpec,
    found: ArmGraphs,
    wanted: Sequence[str],
    expand: bool,
) -> None:
    from benchctl.graphs.diagram import diagrams_of
    from benchctl.graphs.dot import dot_document
    from benchctl.graphs.mermaid import mermaid_document

    diagrams = diagrams_of(found.graphs, wanted, expand=expand, launch_seconds=found.launch_seconds)
    heading = f"{case.id.partition('[')[0]} on {arm.id}: {case.title}"
    if form == "svg":
        # Measuring text needs a font, and with it matplotlib.
        from benchctl.graphs.svg import svg_document

        text = svg_document(diagrams, heading)
    else:
        text = (dot_document if form == "dot" else mermaid_document)(diagrams, heading)
    if target == STDOUT:
        write([text.rstrip("\n")])
        return
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_document(path, text)
    write([f"Saved {path}"])


def _write_logs(folder: Path, found: ArmGraphs, wanted: Sequence[str], arm: ArmSpec) -> None:
    from benchctl.graphs.tensorboard import write_graph

    device = "GPU" if arm.device.startswith("gpu") else "CPU"
    views = {"before": found.graphs.before, "after": found.graphs.after}
    for name in wanted:
        seconds = found.launch_seconds if name == "after" else ()
        path = write_graph(folder / name, views[name], device=device, launch_seconds=seconds)
        write([f"Saved {path}"])
    note(f"tensorboard --logdir {folder} shows them (pip install tensorboard)")
