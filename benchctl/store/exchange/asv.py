"""What asv has written for one commit in one environment: results/<machine>/<commit>-<env>.json.

The names of parameters and the units lie in results/benchmarks.json; where that is not beside the
file, parameters are numbered as asv numbers unnamed ones, and names decide what is a time.

Source of the format: `Results.save` in asv/results.py and the name patterns of the timing
benchmarks in asv_runner, asv 0.6.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
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
    parameter_from_text,
    parameter_of,
    utc_from_milliseconds,
)
from benchctl.store.exchange.rounds import Rounds, rounds_of, summary_round
from benchctl.store.fields import Fields, SchemaError, shown

TOOL = "asv"
VERSION = 2
DESCRIPTIONS = "benchmarks.json"

_TIME_NAME = re.compile(r"(Time[A-Z_].+|time_.+|Timeraw[A-Z_].+|timeraw_.+)")
_SHARED_PROCESS = "asv does not tell which samples share a process"


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether a document is a result file of asv."""
    return "result_columns" in data and isinstance(data.get("results"), dict)


def read(data: Mapping[str, Any], path: Path) -> ForeignResults:
    """Every timing benchmark with its parameters as a case, its samples as rounds.

    Raises `SchemaError`.
    """
    if data.get("version") != VERSION:
        raise SchemaError(
            f"expected asv's format {VERSION}, received {shown(data.get('version'))}: "
            "asv update writes it"
        )
    fields = Fields(dict(data), "an asv file")
    columns = fields.texts("result_columns")
    described = descriptions_near(path)
    benchmarks: list[ForeignBenchmark] = []
    left_out: list[str] = []
    started: list[float] = []
    for name, row in _rows(data):
        if not isinstance(row, list):
            raise SchemaError(f"the result of {name} expected a list, received {shown(row)}")
        cells = Fields(dict(zip(columns, row, strict=False)), f"the result of {name}")
        description = described.get(name, {})
        reason = why_no_time(name, description)
        if reason:
            left_out.append(f"{name}: {reason}")
            continue
        benchmarks += _benchmarks(name, cells, description)
        if cells.has("started_at"):
            started.append(cells.number("started_at"))
    return ForeignResults(
        tool=TOOL,
        tool_version="",
        benchmarks=tuple(benchmarks),
        started_utc=utc_from_milliseconds(min(started)) if started else "",
        machine=_machine(fields),
        environment=_environment(fields),
        versions=_versions(fields),
        git=_git(fields),
        left_out=tuple(left_out),
    )


def _rows(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    results = data.get("results")
    if not isinstance(results, dict):
        raise SchemaError(f"'results' expected a JSON object, received {shown(results)}")
    yield from results.items()


def descriptions_near(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """What benchmarks.json, a folder above the file or beside it, says of each benchmark."""
    for folder in (path.parent.parent, path.parent):
        try:
            document = json.loads((folder / DESCRIPTIONS).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return {name: each for name, each in document.items() if isinstance(each, dict)}
    return {}


def why_no_time(name: str, description: Mapping[str, Any]) -> str:
    """Why a benchmark is left out; empty where its values are seconds."""
    if "unit" in description:
        unit = description["unit"]
        return "" if unit == "seconds" else f"its unit is {unit}, not seconds"
    if _TIME_NAME.fullmatch(name.rpartition(".")[2]):
        return ""
    return f"its name is not that of a time, and no {DESCRIPTIONS} lies near to tell its unit"


def _benchmarks(name: str, cells: Fields, description: Mapping[str, Any]) -> list[ForeignBenchmark]:
    """A benchmark for each combination of parameters, the last one changing fastest."""
    axes = [_texts(axis, name) for axis in cells.items("params", optional=True)]
    combinations = list(itertools.product(*axes))
    given_names = description.get("param_names")
    names = (
        given_names
        if isinstance(given_names, list) and len(given_names) == len(axes)
        else [f"param{place}" for place in range(1, len(axes) + 1)]
    )
    results = _column(cells, "result", len(combinations), name)
    samples = _column(cells, "samples", len(combinations), name)
    loops = _column(cells, "stats_number", len(combinations), name)
    found = []
    for values, result, own, number in zip(combinations, results, samples, loops, strict=True):
        parameters = {
            str(each): _parameter(value) for each, value in zip(names, values, strict=True)
        }
        found.append(_benchmark(name, parameters, result, own, _loops(number)))
    return found


def _benchmark(
    name: str, parameters: Mapping[str, Parameter], result: Any, samples: Any, loops: int | None
) -> ForeignBenchmark:
    case, arm = foreign_case(name, parameters), foreign_arm(TOOL)
    if result is None:
        return ForeignBenchmark(case, arm, status="crashed", message="asv has stored no value")
    if isinstance(result, float) and math.isnan(result):
        return ForeignBenchmark(case, arm, status="unavailable", message="asv skipped it")
    if samples is not None:
        rounds = rounds_of(finite_numbers(samples, "'samples'"), loops, own_processes=False)
        return ForeignBenchmark(case, arm, rounds.rounds, notes=(*rounds.notes, _SHARED_PROCESS))
    summary: Rounds = summary_round(finite_number(result, "'result'"), "median")
    return ForeignBenchmark(case, arm, summary.rounds, notes=summary.notes)


def _column(cells: Fields, key: str, count: int, name: str) -> Sequence[Any]:
    """One value a combination; a column that is missing or null has none."""
    values = cells.items(key, optional=True) if cells.has(key) else [None] * count
    if len(values) != count:
        raise SchemaError(
            f"{key!r} of {name} expected {count} values, one a combination of parameters, "
            f"received {len(values)}"
        )
    return values


def _texts(axis: Any, name: str) -> list[str]:
    if not isinstance(axis, list | tuple) or not all(isinstance(each, str) for each in axis):
        raise SchemaError(f"'params' of {name} expected lists of texts, received {shown(axis)}")
    return list(axis)


def _parameter(text: str) -> Parameter:
    """A parameter from its Python representation, where that is a text or a number."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return parameter_from_text(text)
    return parameter_of(value) if isinstance(value, str | int | float) else text


def _loops(number: Any) -> int | None:
    if number is None:
        return None
    value = finite_number(number, "'stats_number'")
    if value < 1 or value != int(value):
        raise SchemaError(f"'stats_number' expected a count, received {shown(number)}")
    return int(value)


def _machine(fields: Fields) -> dict[str, Any]:
    """The stable facts, which asv stores as text, without the machine's name."""
    params = fields.mapping("params")
    cores = str(params.get("num_cpu", ""))
    facts = {
        "cpu": str(params.get("cpu", "")),
        "cores": int(cores) if re.fullmatch("[0-9]{1,9}", cores) else None,
        "architecture": str(params.get("arch", "")),
        # The version of the kernel behind it changes with an update.
        "os": str(params.get("os", "")).partition(" ")[0],
    }
    return given(facts)


def _environment(fields: Fields) -> dict[str, Any]:
    params = fields.mapping("params")
    name = "" if _has_folder(fields) else fields.text("env_name", "")
    facts = {"env_name": name, "os": str(params.get("os", "")), "ram": str(params.get("ram", ""))}
    return given(facts)


def _versions(fields: Fields) -> dict[str, str]:
    """Python and the packages of the environment, as far as asv names them."""
    required = fields.mapping("requirements")
    named = {name: version for name, version in required.items() if isinstance(version, str)}
    python = "" if _has_folder(fields) else fields.text("python", "")
    return given({"python": python, **named})


def _has_folder(fields: Fields) -> bool:
    """Whether `python` is a path, as of an existing environment; `env_name` then spells it too."""
    return file_name(fields.text("python", "")) != fields.text("python", "")


def _git(fields: Fields) -> dict[str, Any]:
    date = fields.optional_number("date")
    committed = "" if date is None else utc_from_milliseconds(date)
    return given({"revision": fields.text("commit_hash", ""), "committed": committed})
