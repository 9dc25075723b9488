"""pyperf's JSON, format 1.0: a run as pyperf reads it, and what pyperf has written.

A round is a run of pyperf, its samples are that run's values. Metadata whose names begin with
`benchctl_` keep what pyperf has no place for, so that an export can be imported again.

Source of the format: the history of formats and the checks in pyperf/_bench.py and
pyperf/_metadata.py of pyperf 2.10.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchctl.store.exchange.errors import ExportError
from benchctl.store.exchange.foreign import (
    ForeignBenchmark,
    ForeignResults,
    foreign_arm,
    foreign_case,
    given,
    name_in,
    numbers_in,
    parameter_of,
    utc_text,
)
from benchctl.store.exchange.names import one_line, unique_names
from benchctl.store.exchange.rounds import Samples, samples_of
from benchctl.store.fields import Fields, SchemaError, is_whole, plain, shown
from benchctl.store.record import ArmResult, ArmRound, ArmSpec, CaseSpec, Run

TOOL = "pyperf"
VERSION = "1.0"
READABLE_VERSIONS = (VERSION, 6)

Metadata = Mapping[str, Any]

_ENVIRONMENT = (
    "aslr",
    "cpu_affinity",
    "cpu_config",
    "platform",
    "python_compiler",
    "python_hash_seed",
    "python_implementation",
    "timer",
)
_OF_THE_PLAN = ("threads", "seed", "reference_arm", "suite")
_ZONE = "the file names no time zone: its times are taken as UTC"


# From a run ----------------------------------------------------------------------------------


def pyperf_json(run: Run) -> str:
    """All measured arms of a run as benchmarks named `<case> <arm>`; no medians, only samples.

    Raises `ExportError` for a sample that is not above zero: pyperf refuses such a file.
    """
    names = unique_names(run)
    document = {
        "version": VERSION,
        "metadata": _run_metadata(run),
        "benchmarks": [
            _benchmark(names[case.case.id, arm.arm.id], case.case, arm)
            for case in run.cases
            for arm in case.arms
            if (case.case.id, arm.arm.id) in names
        ],
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _run_metadata(run: Run) -> dict[str, str | int | float]:
    """What all benchmarks share; pyperf allows text of one line and numbers, nothing empty."""
    metadata: dict[str, str | int | float] = {"unit": "second"}
    texts = {
        "cpu_model_name": run.machine.get("cpu"),
        "python_version": run.versions.get("python"),
        "python_implementation": run.environment.get("python_implementation"),
        "benchctl_version": run.versions.get("benchctl"),
        "benchctl_run": run.run_id,
        "benchctl_started_utc": run.started_utc,
    }
    for name, text in texts.items():
        line = one_line(text) if isinstance(text, str) else ""
        if line:
            metadata[name] = line
    if is_whole(run.machine.get("cores")):
        metadata["cpu_count"] = int(run.machine["cores"])
    plan = {name: getattr(run.plan, name) for name in _OF_THE_PLAN}
    kept = {"plan": plan, "machine": run.machine, "versions": run.versions, "git": run.git}
    return metadata | {f"benchctl_{name}": _json_text(each, name) for name, each in kept.items()}


def _benchmark(name: str, case: CaseSpec, result: ArmResult) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "benchctl_case": _json_text(_case_document(case), f"case {case.id}"),
            "benchctl_arm": _json_text(_arm_document(result.arm), f"arm {result.arm.id}"),
        },
        "runs": [_run(name, taken) for taken in result.rounds if taken.seconds],
    }


def _run(name: str, taken: ArmRound) -> dict[str, Any]:
    for value in taken.seconds:
        if not value > 0:
            raise ExportError(
                f"pyperf expected times above zero, received {value!r} in round {taken.round} "
                f"of {name}",
                "export with --format csv, which holds any time",
            )
    return {
        "metadata": {
            "loops": taken.loops,
            "benchctl_round": taken.round,
            "benchctl_position": taken.position,
            "benchctl_process": taken.process,
            "benchctl_steady": int(taken.steady),
        },
        "values": list(taken.seconds),
    }


def _case_document(case: CaseSpec) -> dict[str, Any]:
    return {
        "id": case.id,
        "workload": case.workload,
        "parameters": case.parameters,
        "title": case.title,
        "step": case.step,
        "flops": case.flops,
        "bytes_moved": case.bytes_moved,
        "parameter_count": case.parameter_count,
    }


def _arm_document(arm: ArmSpec) -> dict[str, Any]:
    return {
        "id": arm.id,
        "engine": arm.engine,
        "device": arm.device,
        "switches": dict(arm.switches),
        "subject": arm.subject,
    }


def _json_text(value: Any, name: str) -> str:
    return json.dumps(plain(value, name), separators=(",", ":"), allow_nan=False)


# Into a run ----------------------------------------------------------------------------------


def recognises(data: Metadata) -> bool:
    """Whether a document is pyperf's."""
    benchmarks = data.get("benchmarks")
    if not isinstance(benchmarks, list) or not benchmarks:
        return False
    return all(isinstance(each, dict) and "runs" in each for each in benchmarks)


def read(data: Metadata, path: Path) -> ForeignResults:
    """Every benchmark of a pyperf file as a case; raises `SchemaError`."""
    if data.get("version") not in READABLE_VERSIONS:
        raise SchemaError(
            f"expected pyperf's format {VERSION}, received {shown(data.get('version'))}: "
            "python -m pyperf convert FILE -o NEW.json writes it"
        )
    fields = Fields(data, "a pyperf file")
    shared = fields.mapping("metadata")
    benchmarks: list[ForeignBenchmark] = []
    left_out: list[str] = []
    runs: list[Metadata] = []
    for each in fields.children("benchmarks", "a benchmark"):
        common = {**shared, **each.mapping("metadata")}
        name = name_in(Fields(common, "the metadata of a benchmark"), "name")
        unit = common.get("unit", "second")
        if unit != "second":
            left_out.append(f"{name}: its unit is {unit}, not second")
            continue
        # A run without values only calibrated the loops.
        measured = [run for run in each.children("runs", "a run") if run.has("values")]
        metadata = [{**common, **run.mapping("metadata")} for run in measured]
        runs += metadata
        benchmarks.append(_foreign_benchmark(name, common, measured, metadata))
    return _results(runs[0] if runs else shared, runs, tuple(benchmarks), tuple(left_out))


def _foreign_benchmark(
    name: str, common: Metadata, measured: Sequence[Fields], metadata: Sequence[Metadata]
) -> ForeignBenchmark:
    case, arm = foreign_case(name, {}), foreign_arm(TOOL, _command(common))
    if "benchctl_case" in common:
        case = _read_case(Fields(_embedded(common, "benchctl_case"), "benchctl_case"))
    if "benchctl_arm" in common:
        arm = _read_arm(Fields(_embedded(common, "benchctl_arm"), "benchctl_arm"))
    rounds: dict[int, ArmRound] = {}
    notes: dict[str, None] = {}
    for place, (run, told) in enumerate(zip(measured, metadata, strict=True)):
        samples, taken = _read_round(run, told, place)
        notes |= dict.fromkeys(samples.notes)
        if taken.round in rounds:
            raise SchemaError(f"expected each round once, received {taken.round} of {name} twice")
        if taken.seconds:
            rounds[taken.round] = taken
    return ForeignBenchmark(case, arm, tuple(rounds.values()), notes=tuple(notes))


def _read_round(run: Fields, metadata: Metadata, place: int) -> tuple[Samples, ArmRound]:
    """The values of one run as one round: they share a process."""
    told = Fields(dict(metadata), "the metadata of a run")
    loops = None
    if told.has("loops"):
        loops = told.whole("loops", least=1) * told.whole("inner_loops", 1, least=1)
    samples = samples_of(numbers_in(run, "values"), loops)
    return samples, ArmRound(
        round=told.whole("benchctl_round", place),
        seconds=samples.seconds,
        loops=samples.loops,
        steady=bool(told.whole("benchctl_steady", 1)),
        position=told.whole("benchctl_position", 0),
        process=told.whole("benchctl_process", place),
    )


def _command(metadata: Metadata) -> str:
    """What `pyperf command` has measured; empty for benchmarks in Python."""
    command = metadata.get("command")
    return command if isinstance(command, str) else ""


def _embedded(metadata: Metadata, key: str) -> dict[str, Any]:
    """The JSON object that an export of ours has put into one line of metadata."""
    text = metadata.get(key, "")
    try:
        document = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaError(f"{key!r} expected one line of JSON, received {shown(text)}") from error
    if not isinstance(document, dict):
        raise SchemaError(f"{key!r} expected a JSON object, received {shown(document)}")
    return document


def _read_case(fields: Fields) -> CaseSpec:
    parameters = fields.mapping("parameters")
    return CaseSpec(
        id=fields.text("id"),
        workload=fields.text("workload"),
        parameters={name: parameter_of(value) for name, value in parameters.items()},
        title=fields.text("title", ""),
        step=fields.text("step", "forward"),
        flops=fields.whole("flops", 0),
        bytes_moved=fields.whole("bytes_moved", 0),
        parameter_count=fields.whole("parameter_count", 0),
    )


def _read_arm(fields: Fields) -> ArmSpec:
    return ArmSpec(
        id=fields.text("id"),
        engine=fields.text("engine"),
        device=fields.text("device", ""),
        switches=fields.text_mapping("switches"),
        subject=fields.text("subject", ""),
    )


def _results(
    first: Metadata,
    runs: Sequence[Metadata],
    benchmarks: tuple[ForeignBenchmark, ...],
    left_out: tuple[str, ...],
) -> ForeignResults:
    """The benchmarks, with what the metadata of the first run say of machine and software."""
    told = Fields(dict(first), "the metadata of a run")
    if told.has("benchctl_run"):
        return _exported_results(told, first, benchmarks, left_out)
    dates = [utc_text(str(run["date"])) for run in runs if "date" in run]
    environment = given({name: first.get(name) for name in _ENVIRONMENT})
    if told.has("load_avg_1min"):
        environment["load_average"] = (told.number("load_avg_1min"),)
    return ForeignResults(
        tool=TOOL,
        tool_version=told.text("perf_version", ""),
        benchmarks=benchmarks,
        started_utc=min(dates, default=""),
        machine=given({"cpu": first.get("cpu_model_name"), "cores": first.get("cpu_count")}),
        environment=environment,
        versions=given({"python": told.text("python_version", "")}),
        notes=(_ZONE,) if dates else (),
        left_out=left_out,
    )


def _exported_results(
    told: Fields,
    metadata: Metadata,
    benchmarks: tuple[ForeignBenchmark, ...],
    left_out: tuple[str, ...],
) -> ForeignResults:
    """The benchmarks of an export of ours, with what it has kept of the run."""
    kept = Fields(
        {
            name: _embedded(metadata, f"benchctl_{name}")
            for name in ("plan", "machine", "versions", "git")
        },
        "the metadata of an export",
    )
    plan = kept.child("plan", "the plan")
    return ForeignResults(
        tool="benchctl",
        tool_version=told.text("benchctl_version", ""),
        benchmarks=benchmarks,
        started_utc=utc_text(told.text("benchctl_started_utc")),
        machine=kept.mapping("machine"),
        environment={"exported_from": told.text("benchctl_run")},
        versions=kept.text_mapping("versions"),
        git=kept.mapping("git"),
        threads=plan.whole("threads"),
        seed=plan.whole("seed"),
        reference_arm=plan.text("reference_arm"),
        suite=plan.text("suite", ""),
        left_out=left_out,
    )
