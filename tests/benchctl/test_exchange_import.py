"""What other tools have written becomes runs: every value, and nothing that is not told.

The files under foreign/ were written by the tools themselves; foreign/README.md says how.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchctl.cli import main
from benchctl.compare.summary import summarise
from benchctl.store.exchange.errors import ForeignFileError
from benchctl.store.exchange.formats import IMPORT_FORMATS
from benchctl.store.exchange.google_benchmark import split_name
from benchctl.store.exchange.importing import READERS, import_file
from benchctl.store.exchange.rounds import MOST_ROUNDS, rounds_of
from benchctl.store.exchange.writing import store_run
from benchctl.store.reader import load_run
from benchctl.store.record import Run

FOREIGN = Path(__file__).parent / "foreign"
ASV = FOREIGN / "asv" / "machine" / "result.json"
FILES = {
    "pyperf": FOREIGN / "pyperf.json",
    "pytest-benchmark": FOREIGN / "pytest_benchmark.json",
    "asv": ASV,
    "google-benchmark": FOREIGN / "google_benchmark.json",
    "hyperfine": FOREIGN / "hyperfine.json",
}
SUMMARIES = {
    "pytest-benchmark": FOREIGN / "pytest_benchmark_summary.json",
    "google-benchmark": FOREIGN / "google_benchmark_aggregates.json",
}

every_format = pytest.mark.parametrize("name", IMPORT_FORMATS)


def document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def written(folder: Path, content: Any, name: str = "results.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def stored(path: Path, store: Path) -> Run:
    return load_run(store_run(store, import_file(path).run))


def values(run: Run) -> dict[tuple[str, str], list[float]]:
    """All samples in the order of rounds, by case and arm."""
    return {
        (case.case.id, arm.arm.id): [each for taken in arm.rounds for each in taken.seconds]
        for case in run.cases
        for arm in case.arms
    }


def notes(run: Run) -> str:
    return "\n".join(note for case in run.cases for arm in case.arms for note in arm.notes)


# Every value arrives: the oracle reads the files its own way -----------------------------------


def pyperf_values(data) -> dict[tuple[str, str], list[float]]:
    shared = data.get("metadata", {})
    found = {}
    for each in data["benchmarks"]:
        metadata = {**shared, **each.get("metadata", {})}
        times = [value for run in each["runs"] for value in run.get("values", ())]
        if metadata.get("unit", "second") == "second":
            found[metadata["name"], metadata.get("command", "pyperf")] = times
    return found


def pytest_values(data) -> dict[tuple[str, str], list[float]]:
    found = {}
    for each in data["benchmarks"]:
        case = each["fullname"].partition("[")[0]
        if each["params"]:
            inside = ",".join(f"{name}={value}" for name, value in each["params"].items())
            case = f"{case}[{inside}]"
        found[case, "pytest-benchmark"] = each["stats"]["data"]
    return found


def asv_values(data) -> dict[tuple[str, str], list[float]]:
    columns = data["result_columns"]
    described = document(FOREIGN / "asv" / "benchmarks.json")
    found = {}
    for name, row in data["results"].items():
        if described[name]["unit"] != "seconds":
            continue
        cells = dict(zip(columns, row, strict=False))
        combinations = list(itertools.product(*cells["params"]))
        samples = cells.get("samples") or [None] * len(combinations)
        for chosen, own in zip(combinations, samples, strict=True):
            pairs = zip(described[name]["param_names"], chosen, strict=True)
            inside = ",".join(f"{axis}={value}" for axis, value in pairs).replace("'", "")
            found[f"{name}[{inside}]" if inside else name, "asv"] = own or []
    return found


def google_values(data) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    for each in data["benchmarks"]:
        if each["run_type"] == "iteration":
            scale = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}[each["time_unit"]]
            workload, parameters = split_name(each["run_name"])
            inside = ",".join(f"{name}={value}" for name, value in parameters.items())
            key = (f"{workload}[{inside}]" if inside else workload, "google-benchmark")
            own = found.setdefault(key, [])
            if not each.get("error_occurred"):
                own.append(each["real_time"] * scale)
    return found


def hyperfine_values(data) -> dict[tuple[str, str], list[float]]:
    return {("hyperfine", each["command"]): each["times"] for each in data["results"]}


ORACLES = {
    "pyperf": pyperf_values,
    "pytest-benchmark": pytest_values,
    "asv": asv_values,
    "google-benchmark": google_values,
    "hyperfine": hyperfine_values,
}


@every_format
def test_every_value_arrives(name: str, tmp_path: Path) -> None:
    expected = ORACLES[name](document(FILES[name]))
    found = values(stored(FILES[name], tmp_path))
    assert set(found) == set(expected)
    assert sum(map(len, expected.values())) > 10
    for key, times in expected.items():
        loops = {taken.loops for taken in _rounds(name, key, tmp_path)} or {1}
        # Whole nanoseconds of a sample of `loops` steps.
        assert found[key] == pytest.approx(times, rel=1e-12, abs=0.51e-9 / min(loops))


def _rounds(name: str, key: tuple[str, str], store: Path):
    run = import_file(FILES[name]).run
    return [
        taken
        for case in run.cases
        for arm in case.arms
        if (case.case.id, arm.arm.id) == key
        for taken in arm.rounds
    ]


@every_format
def test_a_file_is_recognised_as_what_it_is(name: str) -> None:
    data = document(FILES[name])
    assert [each for each, reader in READERS.items() if reader.recognises(data)] == [name]
    assert import_file(FILES[name]).run.cases == import_file(FILES[name], name).run.cases


@every_format
def test_an_imported_run_is_like_any_other(name: str, tmp_path: Path) -> None:
    run = stored(FILES[name], tmp_path)
    assert run.complete
    for case in summarise(run).cases:
        for arm in case.arms:
            medians = [np.median(taken.seconds) for taken in arm.result.rounds]
            if medians:
                assert arm.median_seconds == pytest.approx(float(np.median(medians)))
    for arguments in (["show"], ["show", "--csv"], ["show", "--json", "-"], ["report"]):
        done = CliRunner().invoke(main, [*arguments, "--store", str(tmp_path)])
        assert done.exit_code == 0, done.output


@every_format
def test_the_record_says_where_it_is_from_and_names_nobody(name: str, tmp_path: Path) -> None:
    run = stored(FILES[name], tmp_path)
    imported = run.environment["imported"]
    assert imported["file"] == FILES[name].name
    assert run.command == ("benchctl", "import", FILES[name].name)
    for case in run.cases:
        for arm in case.arms:
            assert arm.notes[0].startswith(f"imported from {FILES[name].name}, written by {name}")
    assert run.path is not None
    text = run.path.read_text()
    assert str(Path.home()) not in text
    assert str(FOREIGN) not in text


@every_format
def test_the_same_file_makes_the_same_run(name: str) -> None:
    first, second = (import_file(FILES[name]).run for _ in range(2))
    assert first.run_id[-8:] == second.run_id[-8:]
    assert first.cases == second.cases


# What a format says, and what it does not -------------------------------------------------------


def with_identity(name: str) -> Any:
    """The file as the tool writes it before names and folders were taken out."""
    data = copy.deepcopy(document(FILES[name]))
    secret, folder = "ada-laptop", "/home/ada/secret/bench"
    match name:
        case "pyperf":
            data["metadata"] |= {"hostname": secret, "python_executable": folder}
        case "pytest-benchmark":
            data["machine_info"]["node"] = secret
        case "asv":
            data["params"]["machine"] = secret
            data |= {"python": f"{folder}/python3", "env_name": "existing-py_home_ada_python3"}
        case "google-benchmark":
            data["context"] |= {"host_name": secret, "executable": f"{folder}/run_it"}
    return data


@pytest.mark.parametrize("name", [each for each in IMPORT_FORMATS if each != "hyperfine"])
def test_names_of_machines_and_folders_are_not_taken(name: str, tmp_path: Path) -> None:
    run = stored(written(tmp_path, with_identity(name)), tmp_path)
    assert run.path is not None
    text = run.path.read_text()
    assert "ada" not in text
    if name == "google-benchmark":
        assert run.environment["executable"] == "run_it"


def test_pyperf_runs_are_processes() -> None:
    data = document(FILES["pyperf"])
    run = import_file(FILES["pyperf"]).run
    shared = data["metadata"]
    for case, each in zip(run.cases, data["benchmarks"], strict=True):
        counts = [len(own["values"]) for own in each["runs"] if "values" in own]
        (arm,) = case.arms
        assert [len(taken.seconds) for taken in arm.rounds] == counts
        assert len({taken.process for taken in arm.rounds}) == len(arm.rounds)
    assert run.machine["cores"] == shared["cpu_count"]
    assert run.versions["python"] == shared["python_version"]
    assert run.environment["imported"]["tool_version"] == shared["perf_version"]
    assert "taken as UTC" in notes(run)
    assert run.plan.threads == run.plan.seed == 0


def test_inner_loops_of_pyperf_count(tmp_path: Path) -> None:
    data = document(FILES["pyperf"])
    data["benchmarks"][0]["metadata"] |= {"loops": 10, "inner_loops": 3}
    run = import_file(written(tmp_path, data)).run
    assert {taken.loops for taken in run.cases[0].arms[0].rounds} == {30}
    del data["benchmarks"][0]["metadata"]["loops"]
    told = import_file(written(tmp_path, data)).run.cases[0].arms[0].notes
    assert any("does not say over how many loops" in note for note in told)


def test_the_command_that_pyperf_timed_is_the_arm(tmp_path: Path) -> None:
    data = document(FILES["pyperf"])
    data["benchmarks"][0]["metadata"]["command"] = "python3 -c pass"
    run = import_file(written(tmp_path, data)).run
    assert run.cases[0].arms[0].arm.id == "python3 -c pass"


def test_what_is_no_time_is_left_out_and_named(tmp_path: Path) -> None:
    data = document(FILES["pyperf"])
    extra = copy.deepcopy(data["benchmarks"][0])
    extra["metadata"] |= {"name": "peak", "unit": "byte"}
    data["benchmarks"].append(extra)
    imported = import_file(written(tmp_path, data))
    assert imported.left_out == ("peak: its unit is byte, not second",)
    assert "peak" not in [case.case.workload for case in imported.run.cases]
    data["benchmarks"] = [extra]
    with pytest.raises(ForeignFileError, match="at least one time to import, received peak"):
        import_file(written(tmp_path, data))


def test_pytest_benchmark_tells_machine_revision_and_parameters() -> None:
    data = document(FILES["pytest-benchmark"])
    run = import_file(FILES["pytest-benchmark"]).run
    assert run.started_utc == data["datetime"][:19] + "Z"
    assert run.machine["cpu"] == data["machine_info"]["cpu"]["brand_raw"]
    assert run.machine["architecture"] == data["machine_info"]["machine"]
    assert run.git.get("revision", "") in (data["commit_info"]["id"], "")
    assert any(case.case.parameters for case in run.cases)
    processes = {t.process for case in run.cases for arm in case.arms for t in arm.rounds}
    assert processes == {0}


def test_loops_are_those_that_a_file_tells() -> None:
    tests = document(FILES["pytest-benchmark"])["benchmarks"]
    for case, each in zip(import_file(FILES["pytest-benchmark"]).run.cases, tests, strict=True):
        loops = {taken.loops for taken in case.arms[0].rounds}
        assert loops == {each["stats"]["iterations"]}
    repetitions = document(FILES["google-benchmark"])["benchmarks"]
    expected = [each["iterations"] for each in repetitions if each["run_type"] == "iteration"]
    rounds = [t for c in import_file(FILES["google-benchmark"]).run.cases for t in c.arms[0].rounds]
    assert [taken.loops for taken in rounds] == [each for each in expected if each]


@pytest.mark.parametrize(("unit", "in_a_second"), [("us", 1e6), ("ms", 1e3), ("s", 1)])
def test_times_of_google_benchmark_have_a_unit(
    unit: str, in_a_second: float, tmp_path: Path
) -> None:
    data = document(FILES["google-benchmark"])
    for each in data["benchmarks"]:
        each["real_time"] *= in_a_second / 1e9
        each["time_unit"] = unit
    converted = values(import_file(written(tmp_path, data)).run)
    for key, expected in values(import_file(FILES["google-benchmark"]).run).items():
        assert converted[key] == pytest.approx(expected, rel=1e-9)


def test_a_unit_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    data = document(FILES["google-benchmark"])
    data["benchmarks"][0]["time_unit"] = "min"
    with pytest.raises(ForeignFileError, match="expected one of ns, us, ms, s, received 'min'"):
        import_file(written(tmp_path, data))


def test_asv_names_parameters_and_leaves_out_memory() -> None:
    imported = import_file(ASV)
    data, described = document(ASV), document(FOREIGN / "asv" / "benchmarks.json")
    other = {n for n, e in described.items() if n != "version" and e["unit"] != "seconds"}
    assert {line.partition(":")[0] for line in imported.left_out} == other != set()
    names = {axis for case in imported.run.cases for axis in case.case.parameters}
    assert names == {
        axis
        for each in described.values()
        if isinstance(each, dict)
        for axis in each["param_names"]
    }
    assert imported.run.git["revision"] == data["commit_hash"]
    assert imported.run.machine["cores"] == int(data["params"]["num_cpu"])


def test_asv_without_descriptions_goes_by_names(tmp_path: Path) -> None:
    imported = import_file(written(tmp_path, document(ASV)))
    with_names = import_file(ASV)
    assert [len(case.arms[0].rounds) for case in imported.run.cases] == [
        len(case.arms[0].rounds) for case in with_names.run.cases
    ]
    names = {axis for case in imported.run.cases for axis in case.case.parameters}
    assert names <= {"param1", "param2"} != set()
    assert all("no benchmarks.json lies near" in line for line in imported.left_out)


def test_asv_says_which_benchmarks_failed_or_were_skipped(tmp_path: Path) -> None:
    data = document(ASV)
    columns = data["result_columns"]
    row: list[Any] = [None] * len(columns)
    row[columns.index("params")] = [["1", "2", "3"]]
    row[columns.index("result")] = [None, math.nan, 0.5]
    data["results"] = {"bench.time_it": row}
    (failed, skipped, summary) = import_file(written(tmp_path, data)).run.cases
    assert (failed.arms[0].status, failed.arms[0].rounds) == ("crashed", ())
    assert (skipped.arms[0].status, skipped.arms[0].rounds) == ("unavailable", ())
    (taken,) = summary.arms[0].rounds
    assert taken.seconds == (0.5,)
    assert "no single values" in "\n".join(summary.arms[0].notes)


def test_google_benchmark_tells_errors(tmp_path: Path) -> None:
    data = document(FILES["google-benchmark"])
    each = data["benchmarks"][0]
    broken = {
        **{name: each[name] for name in ("name", "run_type", "repetitions")},
        "run_name": "BM_broken",
        "repetition_index": 0,
        "error_occurred": True,
        "error_message": "no file",
        "iterations": 0,
        "real_time": 0.0,
        "cpu_time": 0.0,
        "time_unit": "ns",
    }
    data["benchmarks"].append(broken)
    run = import_file(written(tmp_path, data)).run
    arm = run.cases[-1].arms[0]
    assert (arm.status, arm.message, arm.rounds) == ("crashed", "no file", ())
    assert run.cases[0].arms[0].status == "ok"


@pytest.mark.parametrize(
    ("name", "workload", "parameters"),
    [
        ("BM_copy", "BM_copy", {}),
        ("BM_copy/8", "BM_copy", {"arg1": 8}),
        ("BM_copy/8/64", "BM_copy", {"arg1": 8, "arg2": 64}),
        ("BM_copy/size:8/threads:2", "BM_copy", {"size": 8, "threads": 2}),
        ("BM_copy/8/real_time", "BM_copy", {"arg1": 8, "clock": "real_time"}),
        ("Fixture/Test/8", "Fixture/Test", {"arg1": 8}),
        ("Fixture/Test", "Fixture/Test", {}),
        ("BM_fill<std::vector<int>>/8", "BM_fill<std::vector<int>>", {"arg1": 8}),
        ("BM_copy/min_time:0.500", "BM_copy", {"min_time": 0.5}),
        ("BM_copy/n:1/n:2", "BM_copy/n:1/n:2", {}),
    ],
)
def test_names_of_google_benchmark_hold_arguments(name, workload, parameters) -> None:
    assert split_name(name) == (workload, parameters)


@pytest.mark.parametrize("name", SUMMARIES)
def test_a_summary_is_one_round_and_says_so(name: str, tmp_path: Path) -> None:
    run = stored(SUMMARIES[name], tmp_path)
    measured = [arm for case in run.cases for arm in case.arms if arm.status == "ok"]
    assert len(measured) == 3
    for arm in measured:
        assert len(arm.rounds) == 1 and len(arm.rounds[0].seconds) == 1
        assert any("no single values: the one round is their" in note for note in arm.notes)


def test_the_median_stands_for_a_summary(tmp_path: Path) -> None:
    data = document(SUMMARIES["pytest-benchmark"])
    run = import_file(SUMMARIES["pytest-benchmark"]).run
    for case, each in zip(run.cases, data["benchmarks"], strict=True):
        assert case.arms[0].rounds[0].seconds == (each["stats"]["median"],)
    google = document(SUMMARIES["google-benchmark"])
    medians = [each for each in google["benchmarks"] if each.get("aggregate_name") == "median"]
    scale = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    expected = [each["real_time"] * scale[each["time_unit"]] for each in medians]
    run = import_file(SUMMARIES["google-benchmark"]).run
    arms = [case.arms[0] for case in run.cases if case.arms[0].rounds]
    assert [arm.rounds[0].seconds[0] for arm in arms] == pytest.approx(expected)


def test_commands_of_hyperfine_share_no_round(tmp_path: Path) -> None:
    """They were measured one after another: nothing may be paired."""
    run = stored(FILES["hyperfine"], tmp_path)
    (case,) = run.cases
    numbers = [taken.round for arm in case.arms for taken in arm.rounds]
    assert len(numbers) == len(set(numbers))
    assert sorted(numbers) == list(range(len(numbers)))
    (summary,) = summarise(run).cases
    assert summary.winner is None
    assert all(arm.relative is None and arm.median_seconds for arm in summary.arms)
    for arm in case.arms:
        assert len({taken.process for taken in arm.rounds}) == len(arm.rounds)


def test_parameters_of_hyperfine_are_cases(tmp_path: Path) -> None:
    run = import_file(FOREIGN / "hyperfine_parameters.json").run
    found = [(dict(case.case.parameters), [arm.arm.id for arm in case.arms]) for case in run.cases]
    data = document(FOREIGN / "hyperfine_parameters.json")
    expected = [
        ({name: float(value) for name, value in each["parameters"].items()}, [each["command"]])
        for each in data["results"]
    ]
    assert found == expected


def test_hyperfine_tells_failed_runs_and_no_time_of_day(tmp_path: Path) -> None:
    data = document(FILES["hyperfine"])
    data["results"][0]["exit_codes"][:2] = [1, None]
    run = import_file(written(tmp_path, data)).run
    total = len(data["results"][0]["exit_codes"])
    assert f"2 of {total} runs did not end with exit code 0" in notes(run)
    assert "the file names no time" in notes(run)
    assert dict(run.machine) == {} and dict(run.git) == {} and dict(run.versions) == {}


def test_a_command_that_was_timed_twice_keeps_both(tmp_path: Path) -> None:
    data = document(FILES["hyperfine"])
    data["results"].append(copy.deepcopy(data["results"][0]))
    run = stored(written(tmp_path, data), tmp_path)
    command = data["results"][0]["command"]
    assert {command, f"{command} (2)"} <= {arm.arm.id for arm in run.cases[0].arms}


# Rounds from values ------------------------------------------------------------------------------

times = st.lists(st.floats(1e-7, 1e3), min_size=1, max_size=500)


@given(times, st.integers(1, 10**6), st.integers(0, 100))
def test_rounds_hold_every_value_once_and_in_order(found: list[float], loops: int, first: int):
    made = rounds_of(found, loops, own_processes=True, first=first)
    assert [value for taken in made.rounds for value in taken.seconds] == found
    assert len(made.rounds) == min(len(found), MOST_ROUNDS)
    assert [taken.round for taken in made.rounds] == [
        first + place for place in range(len(made.rounds))
    ]
    sizes = {len(taken.seconds) for taken in made.rounds}
    assert max(sizes) - min(sizes) <= 1
    assert bool(made.notes) == (len(found) > MOST_ROUNDS)


@given(st.lists(st.floats(1e-11, 10.0), min_size=1, max_size=20))
def test_values_without_loops_keep_six_digits(tmp_path_factory, found: list[float]) -> None:
    middle = float(np.median(found))
    alike = [value for value in found if middle / 2 <= value <= middle * 2]
    for taken in rounds_of(alike, None, own_processes=False).rounds:
        for value in taken.seconds:
            nanoseconds = round(value * taken.loops * 1e9)
            assert nanoseconds / (taken.loops * 1e9) == pytest.approx(value, rel=2e-6)


def test_values_that_the_clock_could_not_tell_are_left_out_and_counted() -> None:
    made = rounds_of([0.0, 1e-3, -1e-9, 1e-12], 1, own_processes=False)
    assert [taken.seconds for taken in made.rounds] == [(1e-3,)]
    assert "3 of 4 values are not above zero" in made.notes[0]


def test_a_benchmark_of_zeros_was_not_measured(tmp_path: Path) -> None:
    data = document(FILES["hyperfine"])
    data["results"][0]["times"] = [0.0, 0.0]
    run = stored(written(tmp_path, data), tmp_path)
    arm = run.cases[0].arms[0]
    assert (arm.status, arm.message) == ("unavailable", "the file has no time above zero")
    done = CliRunner().invoke(main, ["show", "--store", str(tmp_path)])
    assert done.exit_code == 0 and "no time above zero" in done.stdout
