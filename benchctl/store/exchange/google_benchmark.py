"""What Google Benchmark has written with `--benchmark_out_format=json`.

Source of the format: src/json_reporter.cc of google/benchmark 1.9; names of benchmarks,
`family/arguments/flags`, from src/benchmark_name.cc.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchctl.store.exchange.foreign import (
    ForeignBenchmark,
    ForeignResults,
    Parameter,
    file_name,
    finite_number,
    finite_numbers,
    foreign_arm,
    foreign_case,
    given,
    name_in,
    parameter_from_text,
    utc_text,
)
from benchctl.store.exchange.rounds import Rounds, rounds_of, summary_round
from benchctl.store.fields import Fields, SchemaError
from benchctl.store.record import ArmRound, ArmStatus

TOOL = "google-benchmark"
UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
SUMMARIES = ("median", "mean")
"""Aggregates that can stand for a benchmark, the better one first."""

_CLOCKS = ("real_time", "process_time", "manual_time")
_NAMED_ARGUMENT = re.compile(r"([A-Za-z_]\w*):([^:].*)")


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether a document is Google Benchmark's."""
    return isinstance(data.get("context"), dict) and isinstance(data.get("benchmarks"), list)


def read(data: Mapping[str, Any], path: Path) -> ForeignResults:
    """Every benchmark with its arguments as a case, its repetitions as rounds of wall time.

    Raises `SchemaError`.
    """
    fields = Fields(dict(data), "a Google Benchmark file")
    context = fields.child("context", "the context")
    entries: dict[str, list[Fields]] = {}
    for each in fields.children("benchmarks", "a benchmark"):
        name = name_in(each, "run_name" if each.has("run_name") else "name")
        entries.setdefault(name, []).append(each)
    benchmarks, left_out = [], []
    for name, own in entries.items():
        found = _benchmark(name, own)
        if found is None:
            left_out.append(f"{name}: no time of a repetition, no median and no mean")
        else:
            benchmarks.append(found)
    debug = context.text("library_build_type", "") == "debug"
    return ForeignResults(
        tool=TOOL,
        tool_version=context.text("library_version", ""),
        benchmarks=tuple(benchmarks),
        started_utc=utc_text(context.text("date")) if context.has("date") else "",
        machine=_machine(context),
        environment=_environment(context),
        notes=("the library was built for debugging, which slows it down",) if debug else (),
        left_out=tuple(left_out),
    )


def _benchmark(name: str, entries: Sequence[Fields]) -> ForeignBenchmark | None:
    """One benchmark from its repetitions, or from an aggregate where only those were kept."""
    workload, parameters = split_name(name)
    case, arm = foreign_case(workload, parameters), foreign_arm(TOOL)
    repetitions = [each for each in entries if each.text("run_type", "iteration") == "iteration"]
    if not repetitions:
        aggregate = _aggregate(entries)
        if aggregate is None:
            return None
        return ForeignBenchmark(case, arm, aggregate.rounds, notes=aggregate.notes)
    repetitions.sort(key=_repetition)
    timed = [each for each in repetitions if not _skipped(each)]
    rounds: list[ArmRound] = []
    notes: dict[str, None] = {}
    for each in timed:
        found = rounds_of(
            [_seconds(each)],
            each.whole("iterations", least=1),
            own_processes=False,
            first=len(rounds),
        )
        rounds += found.rounds
        notes |= dict.fromkeys(found.notes)
    status, message = _status(repetitions)
    return ForeignBenchmark(case, arm, tuple(rounds), status, message, tuple(notes))


def split_name(name: str) -> tuple[str, dict[str, Parameter]]:
    """The family and the arguments of `BM_copy/8/threads:2/real_time`; those without a name count.

    Only what stands at the end and is a number, `name:value` or a clock is an argument: families
    may have slashes too.
    """
    family, *parts = name.split("/")
    first = len(parts)
    while first > 0 and _argument(parts[first - 1], first) is not None:
        first -= 1
    arguments = [_argument(part, place) for place, part in enumerate(parts[first:], start=1)]
    parameters = dict(each for each in arguments if each is not None)
    if len(parameters) < len(arguments):
        return name, {}
    return "/".join([family, *parts[:first]]), parameters


def _argument(part: str, place: int) -> tuple[str, Parameter] | None:
    named = _NAMED_ARGUMENT.fullmatch(part)
    if named:
        return named[1], parameter_from_text(named[2])
    if part in _CLOCKS:
        return "clock", part
    value = parameter_from_text(part)
    return None if isinstance(value, str) else (f"arg{place}", value)


def _repetition(entry: Fields) -> int:
    return entry.whole("repetition_index", 0)


def _skipped(entry: Fields) -> bool:
    return entry.flag("error_occurred", False) or entry.flag("skipped", False)


def _status(repetitions: Sequence[Fields]) -> tuple[ArmStatus, str]:
    """How the repetitions ended; one that failed speaks for all."""
    for each in repetitions:
        if each.flag("error_occurred", False):
            return "crashed", each.text("error_message", "")
    for each in repetitions:
        if each.flag("skipped", False):
            return "unavailable", each.text("skip_message", "")
    return "ok", ""


def _aggregate(entries: Sequence[Fields]) -> Rounds | None:
    by_name = {each.text("aggregate_name", ""): each for each in entries}
    for what in SUMMARIES:
        if what in by_name:
            return summary_round(_seconds(by_name[what]), what)
    return None


def _seconds(entry: Fields) -> float:
    unit = entry.text("time_unit", "ns")
    if unit not in UNITS:
        raise SchemaError(f"'time_unit' expected one of {', '.join(UNITS)}, received {unit!r}")
    return finite_number(entry.number("real_time"), "'real_time'") * UNITS[unit]


def _machine(context: Fields) -> dict[str, Any]:
    return given(
        {
            "cores": context.optional_whole("num_cpus"),
            "caches": tuple(
                _cache(each) for each in context.children("caches", "a cache", optional=True)
            ),
        }
    )


def _cache(cache: Fields) -> dict[str, Any]:
    return given(
        {
            "type": cache.text("type", ""),
            "level": cache.optional_whole("level"),
            "bytes": cache.optional_whole("size"),
            "cores": cache.optional_whole("num_sharing"),
        }
    )


def _environment(context: Fields) -> dict[str, Any]:
    """What may differ between runs; of the executable the name alone, without its folder."""
    load = context.items("load_avg", optional=True)
    switches = [name for name in ("cpu_scaling_enabled", "aslr_enabled") if context.has(name)]
    facts = {
        "mhz_per_cpu": context.optional_whole("mhz_per_cpu"),
        "executable": file_name(context.text("executable", "")),
        "load_average": tuple(finite_numbers(load, "'load_avg'")),
        "library_build_type": context.text("library_build_type", ""),
    }
    return {**given(facts), **{name: context.flag(name) for name in switches}}
