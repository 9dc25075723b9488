"""Options that several verbs share, and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from benchctl.cli.writable import require_writable

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Seconds from `30s`, `5m`, `1h30m` or `90`: the callback of an option."""
    if value is None:
        return None
    match = _DURATION.fullmatch(value.strip().lower())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600 * hours + 60 * minutes + seconds
    if total <= 0:
        raise click.BadParameter(
            f"expected a duration such as 30s, 5m or 1h30m, received {value!r}", ctx, param
        )
    return total


def complete_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Workloads and suites, then files."""
    from benchctl.plan.registry import workload_names
    from benchctl.plan.suites import suite_names

    names = [*workload_names(), *(suite_names() if param.name == "names" else ())]
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def complete_engines(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of engines."""
    from benchctl.plan.registry import engine_names

    return [CompletionItem(name) for name in engine_names() if name.startswith(incomplete)]


def engine_option(text: str) -> Decorator:
    """`--engine NAME[:switch=value,...]`, repeatable."""
    return click.option(
        "--engine",
        "engines",
        multiple=True,
        metavar="NAME[:switch=value,...]",
        shell_complete=complete_engines,
        help=text,
    )


axis_option = click.option(
    "-a",
    "--axis",
    "axes",
    multiple=True,
    metavar="AXIS=VALUE[,VALUE]",
    help="Value or values of one axis; repeatable. `benchctl list` shows the axes.",
)

device_option = click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="cpu|gpu|gpu:N",
    help="Where the engines run; gpu/tf32 also names the precision.",
)

precision_option = click.option(
    "--precision",
    default="",
    metavar="fp32|tf32|fp16|bf16",
    help="How a GPU computes float32, and stores it.  [default: fp32, strictly]",
)

autotune_option = click.option(
    "--autotune",
    is_flag=True,
    help="Let our engines measure a GPU's kernels and library plans, and take the fastest.",
)

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results"),
    help="Folder of the stored runs.  [default: ./results]",
)

seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Seed of all inputs.",
)

threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Threads of every engine.  [default: all usable cores]",
)


CHART_FORMATS = (".png", ".svg")


def _chart_file(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a chart that could not be written, before anything is measured."""
    if value is None:
        return None
    if value.suffix not in CHART_FORMATS:
        raise click.BadParameter(f"expected a name ending in .png or .svg, received {value}")
    require_writable(value, "choose another path: --chart FILE")
    return value


chart_option = click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_chart_file,
    metavar="FILE",
    help="Also draw the ratios, as .png or .svg.",
)


def format_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, `--markdown` and `--csv`; see `benchctl.cli.output`."""
    for option in (
        click.option("--csv", "csv_format", is_flag=True, help="Print CSV instead of tables."),
        click.option("--markdown", is_flag=True, help="Print Markdown instead of tables."),
        click.option(
            "--json",
            "json_target",
            metavar="PATH",
            help="Write one JSON document to a file; `-` prints it instead of tables.",
        ),
        click.option("--full", is_flag=True, help="Give every case its own table."),
    ):
        function = option(function)
    return function
