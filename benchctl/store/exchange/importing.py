"""From a file of another tool to a run: read it, recognise it, name what it came from."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchctl.measure.environment import fingerprint
from benchctl.plan.schedule import CASE_ARMS, CASE_ROUNDS
from benchctl.store.exchange import asv, google_benchmark, hyperfine, pyperf, pytest_benchmark
from benchctl.store.exchange.errors import ForeignFileError
from benchctl.store.exchange.foreign import ForeignBenchmark, ForeignResults
from benchctl.store.exchange.formats import AUTO, IMPORT_FORMATS
from benchctl.store.fields import SchemaError, shown
from benchctl.store.locations import new_run_id, utc_now
from benchctl.store.record import ArmResult, ArmSpec, CaseResult, CaseSpec, Plan, Run

_DIGITS_OF_FILE = 8
_GZIP = b"\x1f\x8b"
_NO_START = "the file names no time: the run starts when it was imported"


@dataclass(frozen=True, slots=True)
class Reader:
    """How one format is told from the others, and read."""

    recognises: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Mapping[str, Any], Path], ForeignResults]


READERS = {
    "pyperf": Reader(pyperf.recognises, pyperf.read),
    "pytest-benchmark": Reader(pytest_benchmark.recognises, pytest_benchmark.read),
    "asv": Reader(asv.recognises, asv.read),
    "google-benchmark": Reader(google_benchmark.recognises, google_benchmark.read),
    "hyperfine": Reader(hyperfine.recognises, hyperfine.read),
}


@dataclass(frozen=True, slots=True)
class Imported:
    """The run that a file makes, and what was left out of it; nothing is stored yet."""

    run: Run
    tool: str
    source: str
    left_out: tuple[str, ...]

    def notes(self) -> tuple[str, ...]:
        """What to know of the benchmarks, each once, and then what was left out."""
        told = (note for case in self.run.cases for arm in case.arms for note in arm.notes)
        kept = dict.fromkeys(note for note in told if note != self.source)
        return (*kept, *(f"left out: {line}" for line in self.left_out))


def import_file(path: Path, wanted: str = AUTO) -> Imported:
    """The run of one file, whose format is `wanted` or found by its keys.

    The same file makes the same run id, if it names a time. Raises `ForeignFileError`.
    """
    content = _read_bytes(path)
    data = _decode(path, content)
    name = recognise(path, data) if wanted == AUTO else wanted
    try:
        results = READERS[name].read(data, path)
        return _imported(path, content, results)
    except SchemaError as error:
        raise ForeignFileError(path, f"is no file of {name}: {error}") from error
    except OverflowError as error:
        raise ForeignFileError(path, f"has a number that is too large: {error}") from error


def recognise(path: Path, data: Mapping[str, Any]) -> str:
    """The name of the format of a document; raises `ForeignFileError`."""
    for name, reader in READERS.items():
        if reader.recognises(data):
            return name
    if str(data.get("schema", "")).startswith("benchctl."):
        raise ForeignFileError(
            path,
            f"expected a file of another tool, received benchctl's own {data['schema']}",
            "benchctl show reads run files; benchctl export RUN --format pyperf writes one to "
            "import",
        )
    keys = ", ".join(map(str, list(data)[:6])) or "none"
    raise ForeignFileError(
        path,
        f"expected JSON of {', '.join(IMPORT_FORMATS)}; received an object with the keys {keys}",
        "import the file that the tool has written, or name its format with --format",
    )


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(_GZIP) else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ForeignFileError(path, f"cannot be unpacked: {error}") from error
    except OSError as error:
        raise ForeignFileError(
            path, f"cannot be read: {error.strerror or error}", "check the path"
        ) from error


def _decode(path: Path, content: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        beginning = content[:60].decode("utf-8", "backslashreplace").strip()
        hint = ""
        if beginning.startswith('{"kind":"header"'):
            hint = f"it is a run of benchctl: benchctl show {path}"
        raise ForeignFileError(
            path, f"expected one JSON document, received {shown(beginning)}", hint
        ) from error
    if not isinstance(data, dict):
        raise ForeignFileError(path, f"expected a JSON object, received {shown(data)}")
    return data


def _imported(path: Path, content: bytes, results: ForeignResults) -> Imported:
    if not results.benchmarks:
        what = "; ".join(results.left_out[:3]) or "no benchmark"
        raise ForeignFileError(path, f"expected at least one time to import, received {what}")
    tool = f"{results.tool} {results.tool_version}".rstrip()
    source = f"imported from {path.name}, written by {tool}"
    notes = (source, *results.notes, *(() if results.started_utc else (_NO_START,)))
    benchmarks = tuple(
        replace(each, notes=(*notes, *each.notes)) for each in _distinct(results.benchmarks)
    )
    started = results.started_utc or utc_now()
    machine = dict(results.machine)
    if machine and "id" not in machine:
        machine = {"id": fingerprint(machine), **machine}
    digest = hashlib.sha256(content).hexdigest()
    plan = _plan(benchmarks, results)
    run = Run(
        run_id=_run_id(started, str(machine.get("id", "")), digest),
        started_utc=started,
        plan=plan,
        machine=machine,
        environment={
            **results.environment,
            "imported": {
                "file": path.name,
                "sha256": digest,
                "tool": results.tool,
                "tool_version": results.tool_version,
            },
        },
        versions=results.versions,
        git=results.git,
        command=("benchctl", "import", path.name),
        cases=tuple(_case_result(case, benchmarks) for case in plan.cases),
        complete=True,
    )
    return Imported(run, tool, source, results.left_out)


def _distinct(benchmarks: tuple[ForeignBenchmark, ...]) -> list[ForeignBenchmark]:
    """The benchmarks with a number after the arm of each that has the name of one before it."""
    found: dict[tuple[str, str], ForeignBenchmark] = {}
    for each in benchmarks:
        arm, count = each.arm, 1
        while (each.case.id, arm.id) in found:
            count += 1
            arm = replace(each.arm, id=f"{each.arm.id} ({count})")
        found[each.case.id, arm.id] = replace(each, arm=arm)
    return list(found.values())


def _plan(benchmarks: tuple[ForeignBenchmark, ...], results: ForeignResults) -> Plan:
    """What the tool must have planned: every benchmark with the rounds that it has."""
    cases = {each.case.id: each.case for each in benchmarks}
    arms: dict[str, ArmSpec] = {}
    arm_ids: dict[str, list[str]] = {}
    rounds = dict.fromkeys(cases, 0)
    for each in benchmarks:
        arms.setdefault(each.arm.id, each.arm)
        arm_ids.setdefault(each.case.id, []).append(each.arm.id)
        rounds[each.case.id] = max(rounds[each.case.id], len(each.rounds))
    most = max(rounds.values())
    first = next(iter(arms))
    return Plan(
        cases=tuple(cases.values()),
        arms=tuple(arms.values()),
        rounds=most,
        seed=results.seed,
        threads=results.threads,
        reference_arm=results.reference_arm or first,
        suite=results.suite,
        settings={
            CASE_ARMS: {case: ids for case, ids in arm_ids.items() if len(ids) < len(arms)},
            CASE_ROUNDS: {case: count for case, count in rounds.items() if count != most},
        },
    )


def _case_result(case: CaseSpec, benchmarks: tuple[ForeignBenchmark, ...]) -> CaseResult:
    own = [each for each in benchmarks if each.case.id == case.id]
    return CaseResult(case, tuple(_arm_result(each) for each in own))


def _arm_result(benchmark: ForeignBenchmark) -> ArmResult:
    """The arm with its rounds; one of which no value is left was not measured."""
    status, message = benchmark.status, benchmark.message
    if status == "ok" and not benchmark.rounds:
        status, message = "unavailable", "the file has no time above zero"
    return ArmResult(
        arm=benchmark.arm,
        status=status,
        message=message,
        notes=benchmark.notes,
        rounds=benchmark.rounds,
    )


def _run_id(started_utc: str, machine_id: str, digest: str) -> str:
    """An id like any other that ends in digits of the file's checksum."""
    return new_run_id(started_utc, machine_id)[:-_DIGITS_OF_FILE] + digest[:_DIGITS_OF_FILE]
