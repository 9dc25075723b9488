"""What `hyperfine --export-json` has written: commands, each measured one after another.

hyperfine finishes a command before it starts the next, so no two commands share a round: their
rounds are numbered on, and nothing is paired that was not measured in turn.

Source of the format: src/benchmark/benchmark_result.rs and src/export/json.rs of hyperfine 1.20.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchctl.store.exchange.foreign import (
    ForeignBenchmark,
    ForeignResults,
    Parameter,
    foreign_arm,
    foreign_case,
    name_in,
    numbers_in,
    parameter_from_text,
)
from benchctl.store.exchange.rounds import Rounds, rounds_of, summary_round
from benchctl.store.fields import Fields, SchemaError

TOOL = "hyperfine"


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether a document is hyperfine's."""
    results = data.get("results")
    if not isinstance(results, list) or not results:
        return False
    return all(isinstance(each, dict) and "command" in each for each in results)


def read(data: Mapping[str, Any], path: Path) -> ForeignResults:
    """Every command as an arm of one case, `hyperfine`; raises `SchemaError`.

    Values of hyperfine's parameters make cases of their own.
    """
    rounds_so_far: Counter[str] = Counter()
    benchmarks = []
    for each in Fields(dict(data), "a hyperfine file").children("results", "a result"):
        command = name_in(each, "command")
        case = foreign_case(TOOL, _parameters(each))
        found = _rounds(each, rounds_so_far[case.id])
        rounds_so_far[case.id] += len(found.rounds)
        notes = (*found.notes, *_exit_notes(each))
        arm = foreign_arm(TOOL, command)
        benchmarks.append(ForeignBenchmark(case, arm, found.rounds, notes=notes))
    return ForeignResults(TOOL, "", tuple(benchmarks))


def _rounds(result: Fields, first: int) -> Rounds:
    """Every run of the command is a process of its own."""
    if result.has("times"):
        return rounds_of(numbers_in(result, "times"), 1, own_processes=True, first=first)
    what = "median" if result.has("median") else "mean"
    return summary_round(result.number(what), what, first)


def _parameters(result: Fields) -> dict[str, Parameter]:
    parameters = result.mapping("parameters")
    for name, value in parameters.items():
        if not isinstance(value, str):
            raise SchemaError(f"parameter {name} of a result expected text, received {value!r}")
    return {name: parameter_from_text(value) for name, value in parameters.items()}


def _exit_notes(result: Fields) -> tuple[str, ...]:
    """Commands that failed were timed all the same (`--ignore-failure`)."""
    codes = result.items("exit_codes", optional=True)
    failed = sum(code != 0 for code in codes)
    return (f"{failed} of {len(codes)} runs did not end with exit code 0",) if failed else ()
