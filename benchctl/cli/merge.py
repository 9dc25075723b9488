"""`benchctl merge`: one run from shards, or from parts that were resumed elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.options import store_option
from benchctl.cli.screen import write


@click.command()
@click.argument("run_names", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--across-machines",
    is_flag=True,
    help="Allow runs of several machines, each with whole cases of its own; the run says which.",
)
@store_option
def merge(run_names: tuple[str, ...], across_machines: bool, store: Path) -> int:
    """Make one complete run from the shards of a plan.

    RUN is a file, or a run id or its beginning or end. The runs must be of one plan, one seed, one
    machine, the same versions and engines; parts of one run that were resumed apart merge too, as
    long as no round is in two of them. The merged run is a new one: the others stay.

    \b
    benchctl run slides --shard 1/2        on one node
    benchctl run slides --shard 2/2        on another of the same kind
    benchctl merge shards/*.jsonl          where the files of both lie
    """
    from benchctl.store.exchange.errors import MergeError
    from benchctl.store.exchange.merge import merge_runs
    from benchctl.store.exchange.writing import store_run
    from benchctl.store.reader import find_run

    parts = [find_run(store, name) for name in run_names]
    try:
        run = merge_runs(parts, across_machines=across_machines)
    except MergeError as error:
        raise CliError(error.message, error.hint) from error
    path = store_run(store, run)
    rounds = sum(max((len(arm.rounds) for arm in case.arms), default=0) for case in run.cases)
    write(
        [
            f"Merged {len(parts)} run{'' if len(parts) == 1 else 's'}: {len(run.cases)} "
            f"case{'' if len(run.cases) == 1 else 's'}, {rounds} rounds",
            f"  Saved {path}",
            f"  tables: benchctl show {shlex.quote(str(path))}",
        ]
    )
    return int(Exit.OK)
