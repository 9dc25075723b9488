"""`benchctl aa`: gates of unchanged code, to know what this machine's noise does to a gate."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.compare import entries_of_names
from benchctl.cli.exits import Exit
from benchctl.cli.gate import measuring_into
from benchctl.cli.options import (
    axis_option,
    complete_names,
    device_option,
    engine_option,
    store_option,
    threads_option,
)
from benchctl.cli.screen import note, write

if TYPE_CHECKING:
    from benchctl.gate.config import GateConfig
    from benchctl.gate.noise import AaGate
    from benchctl.gate.outcomes import GateResult
    from benchctl.store.record import Run

DEFAULT_NAMES = ("xyz",)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_names)
@click.option(
    "--gates",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="How many gates of unchanged code to run.",
)
@engine_option("Engine to run; repeatable.  [default: static, eager, numpy]")
@device_option
@axis_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@store_option
def aa(
    names: tuple[str, ...],
    gates: int,
    engines: tuple[str, ...],
    device: str,
    axes: tuple[str, ...],
    threads: int | None,
    as_json: bool,
    store: Path,
) -> int:
    """Measure this machine's noise floor: gates in which nothing has changed.

    Base and head are both the code that is installed here, and the gate is the one that judges
    changes, so that what it finds is what chance alone finds. The results are kept in the store and
    quoted by `benchctl gate`. NAME is a workload, a file or a suite; the cases of pyproject.toml
    where none is given, else xyz.

    \b
    benchctl aa
    benchctl aa --gates 40 xyz -a size=3x4,100x100 --engine static
    """
    from benchctl.gate.noise import append_aa, load_aa, noise_floor
    from benchctl.store.export import dump_json

    done: list[AaGate] = []
    # Read first: a file that is damaged is found before an hour is spent.
    first = len(load_aa(store))
    for number in range(gates):
        result, run, gate = _one_gate(
            names, engines, device, axes, threads, store, seed=first + number
        )
        append_aa(store, gate)
        done.append(gate)
        note(f"[{number + 1}/{gates}] {_gate_words(result, gate)}")
    floor = noise_floor(load_aa(store), str(run.machine.get("id", "")))
    assert floor is not None, "a gate was just appended"
    if as_json:
        from benchctl.report.noise import noise_document

        write([dump_json(noise_document(floor))])
    else:
        from benchctl.report.noise import noise_lines

        write(noise_lines(floor))
    return int(Exit.OK)


def _one_gate(
    names: tuple[str, ...],
    engines: tuple[str, ...],
    device: str,
    axes: tuple[str, ...],
    threads: int | None,
    store: Path,
    seed: int,
) -> tuple[GateResult, Run, AaGate]:
    from benchctl.cli.request import usable_cores
    from benchctl.gate.decide import GateRule
    from benchctl.gate.noise import aa_gate
    from benchctl.gate.plans import entries_of_cases, margins_of_cases, pair_plan
    from benchctl.gate.run import GateRequest, run_gate
    from benchctl.plan.subjects import Subject
    from benchctl.store.locations import utc_now

    config = _config() if not names else None
    if config is not None and (config.cases or config.commands):
        entries, commands = entries_of_cases(config.cases), dict(config.commands)
        rule = config.rule
        margins = margins_of_cases(config.cases)
        counts = config.counts
    else:
        entries, commands = entries_of_names(names or DEFAULT_NAMES, axes), {}
        rule, margins, counts = GateRule(), {}, {}
    rule = replace(rule, margins=margins)
    plan = pair_plan(
        entries,
        (Subject("base"), Subject("head")),
        commands={name: (line, line) for name, line in commands.items()},
        arms=engines,
        rounds=rule.screen_rounds,
        seed=seed,
        threads=threads or usable_cores(),
        device=device,
    )
    started, begin = utc_now(), time.monotonic()
    request = GateRequest(rule, "unchanged code", "unchanged code", counts)
    result, runs = run_gate(
        plan, request, measuring_into(store), lambda text: note(f"note: {text}")
    )
    seconds = time.monotonic() - begin
    machine_id = str(runs[-1].machine.get("id", ""))
    return result, runs[-1], aa_gate(result, machine_id, started, seconds)


def _config() -> GateConfig | None:
    from benchctl.gate.config import load_config

    return load_config(Path.cwd())


def _gate_words(result: GateResult, gate: AaGate) -> str:
    return (
        f"{result.ending.value}, {gate.candidates} candidates, {gate.regressed} regressed, "
        f"{gate.seconds:.0f} s"
    )
