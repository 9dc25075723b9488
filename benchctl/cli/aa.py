"""`benchctl aa`: gates of unchanged code, to know what this machine's noise does to a gate."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.exits import Exit
from benchctl.cli.gate import measuring_into, screen_plan
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
    from benchctl.gate.noise import AaGate
    from benchctl.gate.run import GateRequest
    from benchctl.store.record import Plan

DEFAULT_NAMES = ("xyz",)
UNCHANGED = "unchanged code"


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
@click.option(
    "--plant",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SHARE",
    help="Slow one case of each gate down, by 0.05 for 5 %, to see whether the gate finds it.",
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
    plant: float | None,
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

    With --plant the head is slower in one case, another in each gate, by a busy loop in its timed
    window: what share of such slowdowns the gate finds here is its power.

    \b
    benchctl aa
    benchctl aa --gates 40 xyz -a size=3x4,100x100 --engine static
    benchctl aa --gates 10 --plant 0.05 xyz -a size=3x4,100x100 --engine static
    """
    from benchctl.gate.config import load_config
    from benchctl.gate.noise import append_aa, load_aa, noise_floor
    from benchctl.gate.run import GateRequest
    from benchctl.plan.subjects import Subject
    from benchctl.report.noise import noise_document, noise_lines
    from benchctl.store.export import dump_json

    config = load_config(Path.cwd())
    if names:
        config = replace(config, cases=(), commands={})
    elif not (config.cases or config.commands):
        names = DEFAULT_NAMES
    subjects = Subject("base"), Subject("head")
    plan, rule = screen_plan(
        config, names, axes, (), subjects, config.rule, engines, device, 0, threads
    )
    request = GateRequest(rule, UNCHANGED, UNCHANGED, config.counts)
    # Read first: a file that is damaged is found before an hour is spent.
    first = len(load_aa(store))
    for number in range(gates):
        gate = _one_gate(replace(plan, seed=first + number), request, store, number, plant)
        append_aa(store, gate)
        note(f"[{number + 1}/{gates}] {_gate_words(gate)}")
    floor = noise_floor(load_aa(store), gate.machine_id)
    assert floor is not None, "a gate was just appended"
    write([dump_json(noise_document(floor))] if as_json else noise_lines(floor))
    return int(Exit.OK)


def _one_gate(
    plan: Plan, request: GateRequest, store: Path, number: int, plant: float | None
) -> AaGate:
    """What one gate of unchanged code found, or of code that is slower by `plant` in one case."""
    from benchctl.gate.noise import aa_gate
    from benchctl.gate.plans import with_planted_slowdown
    from benchctl.gate.run import run_gate
    from benchctl.store.locations import utc_now

    planted = None
    if plant is not None:
        plan, key = with_planted_slowdown(plan, number, plant)
        planted = key, plant
    started, begin = utc_now(), time.monotonic()
    result, runs = run_gate(
        plan, request, measuring_into(store), lambda text: note(f"note: {text}")
    )
    machine_id = str(runs[-1].machine.get("id", ""))
    return aa_gate(result, machine_id, started, time.monotonic() - begin, planted)


def _gate_words(gate: AaGate) -> str:
    words = [gate.ending, f"{gate.candidates} candidates", f"{gate.regressed} regressed"]
    if gate.planted is not None:
        words.append(
            f"the slower case {'found' if gate.planted.found else 'not found'}: {gate.planted.case}"
        )
    return ", ".join([*words, f"{gate.seconds:.0f} s"])
