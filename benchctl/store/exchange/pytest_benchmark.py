"""What pytest-benchmark has written with `--benchmark-json` or `--benchmark-save`.

Single values are in the file with `--benchmark-save-data` and in every `--benchmark-json`.

Source of the format: `Metadata.as_dict` in src/pytest_benchmark/stats.py and
`pytest_benchmark_generate_json` in its plugin.py, pytest-benchmark 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchctl.store.exchange.foreign import (
    ForeignBenchmark,
    ForeignResults,
    Parameter,
    foreign_arm,
    foreign_case,
    given,
    name_in,
    numbers_in,
    parameter_of,
    utc_text,
)
from benchctl.store.exchange.rounds import Rounds, rounds_of, summary_round
from benchctl.store.fields import Fields

TOOL = "pytest-benchmark"

_UNKNOWN_REVISIONS = ("", "unknown", "unversioned")


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether a document is pytest-benchmark's."""
    return isinstance(data.get("machine_info"), dict) and isinstance(data.get("benchmarks"), list)


def read(data: Mapping[str, Any], path: Path) -> ForeignResults:
    """Every test with its parameters as a case, its rounds as rounds; raises `SchemaError`."""
    fields = Fields(dict(data), "a pytest-benchmark file")
    info = fields.child("machine_info", "the machine")
    benchmarks = [_benchmark(each) for each in fields.children("benchmarks", "a benchmark")]
    return ForeignResults(
        tool=TOOL,
        tool_version=fields.text("version", ""),
        benchmarks=tuple(benchmarks),
        started_utc=utc_text(fields.text("datetime")) if fields.has("datetime") else "",
        machine=_machine(info),
        environment=_environment(info),
        versions=given({"python": info.text("python_version", "")}),
        git=_git(fields),
    )


def _benchmark(fields: Fields) -> ForeignBenchmark:
    name = name_in(fields, "fullname" if fields.has("fullname") else "name")
    parameters = _parameters(fields)
    if parameters:
        name = name.removesuffix(f"[{fields.text('param', '')}]")
    found = _rounds(fields.child("stats", f"the statistics of {name}"))
    case = foreign_case(name, parameters)
    return ForeignBenchmark(case, foreign_arm(TOOL), found.rounds, notes=found.notes)


def _parameters(fields: Fields) -> dict[str, Parameter]:
    """The parameters by name, or the test's own word for all of them."""
    if fields.has("params"):
        return {name: parameter_of(value) for name, value in fields.mapping("params").items()}
    return {"param": fields.text("param")} if fields.has("param") else {}


def _rounds(stats: Fields) -> Rounds:
    """All values come from one process; each is averaged over the same iterations."""
    if not stats.has("data"):
        return summary_round(stats.number("median"), "median")
    loops = stats.whole("iterations", least=1) if stats.has("iterations") else None
    return rounds_of(numbers_in(stats, "data"), loops, own_processes=False)


def _machine(info: Fields) -> dict[str, Any]:
    """The stable facts without the machine's name; `cpu` is an object that py-cpuinfo fills."""
    cpu = Fields(info.mapping("cpu"), "the processor")
    facts = {
        "cpu": cpu.text("brand_raw", "") or cpu.text("brand", ""),
        "cores": cpu.optional_whole("count"),
        "architecture": info.text("machine", ""),
        "os": info.text("system", ""),
    }
    return given(facts)


def _environment(info: Fields) -> dict[str, Any]:
    facts = {
        "kernel": info.text("release", ""),
        "python_implementation": info.text("python_implementation", ""),
        "python_compiler": info.text("python_compiler", ""),
    }
    return given(facts)


def _git(fields: Fields) -> dict[str, Any]:
    """The revision where the tests lay in a repository."""
    if not fields.has("commit_info"):
        return {}
    commit = fields.child("commit_info", "the commit")
    revision = commit.text("id", "") if commit.has("id") else ""
    if revision in _UNKNOWN_REVISIONS:
        return {}
    committed = commit.text("time") if commit.has("time") else ""
    dirty = {"dirty": commit.flag("dirty")} if commit.has("dirty") else {}
    return {**given({"revision": revision, "committed": committed}), **dirty}
