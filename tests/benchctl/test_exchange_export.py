"""Exports hold what their formats ask for and the run has; pyperf itself reads ours."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_factory import EAGER, NUMPY, STATIC, make_case, make_run, wrong

from benchctl.compare.summary import summarise
from benchctl.store.exchange.bencher import bencher_json
from benchctl.store.exchange.csv import COLUMNS, samples_csv
from benchctl.store.exchange.errors import ExportError
from benchctl.store.exchange.exporting import export_text, write_file
from benchctl.store.exchange.formats import EXPORT_FORMATS
from benchctl.store.exchange.github import github_json
from benchctl.store.exchange.names import unique_names
from benchctl.store.exchange.pyperf import pyperf_json
from benchctl.store.record import ArmSpec, Run

CASES = (make_case(), make_case("vgg16", step="forward", layout="NCHW", batch=8))


def some_run(**how) -> Run:
    return make_run(CASES, **how)


def strict_json(text: str):
    return json.loads(text, parse_constant=pytest.fail)


def median_nanoseconds(run: Run, case_id: str, arm_id: str) -> float:
    """The median of round medians, by NumPy."""
    (case,) = (each for each in run.cases if each.case.id == case_id)
    (arm,) = (each for each in case.arms if each.arm.id == arm_id)
    return float(np.median([np.median(taken.seconds) for taken in arm.rounds])) * 1e9


# pyperf --------------------------------------------------------------------------------------


def check_pyperf(document) -> None:
    """The rules that pyperf checks when it loads a file."""
    assert document["version"] == "1.0"
    names = [each["metadata"]["name"] for each in document["benchmarks"]]
    assert len(set(names)) == len(names) > 0
    groups = [document["metadata"]]
    for each in document["benchmarks"]:
        groups.append(each["metadata"])
        assert each["runs"]
        for run in each["runs"]:
            groups.append(run["metadata"])
            assert run["values"] and all(value > 0 for value in run["values"])
            assert run["metadata"]["loops"] >= 1
    for metadata in groups:
        for value in metadata.values():
            assert isinstance(value, int | float | str)
            if isinstance(value, str):
                assert value.strip() and "\n" not in value and "\r" not in value


def test_a_pyperf_file_follows_its_rules_and_holds_every_sample() -> None:
    run = some_run()
    document = strict_json(pyperf_json(run))
    check_pyperf(document)
    assert len(document["benchmarks"]) == 6
    for each in document["benchmarks"]:
        kept = json.loads(each["metadata"]["benchctl_case"])["id"]
        arm_id = json.loads(each["metadata"]["benchctl_arm"])["id"]
        assert each["metadata"]["name"] == f"{kept} {arm_id}"
        (case,) = (other for other in run.cases if other.case.id == kept)
        (arm,) = (other for other in case.arms if other.arm.id == arm_id)
        values = [tuple(own["values"]) for own in each["runs"]]
        assert values == [taken.seconds for taken in arm.rounds]


def test_what_pyperf_cannot_hold_is_refused_with_a_way_out() -> None:
    run = some_run()
    case = run.cases[0]
    arm = case.arms[0]
    zero = replace(arm.rounds[3], seconds=(1e-6, 0.0))
    broken = replace(arm, rounds=(*arm.rounds[:3], zero))
    run = replace(run, cases=(replace(case, arms=(broken, *case.arms[1:])), *run.cases[1:]))
    with pytest.raises(ExportError) as caught:
        pyperf_json(run)
    assert "received 0.0 in round 3" in caught.value.message
    assert "--format csv" in caught.value.hint
    assert samples_csv(run)


def test_odd_names_and_empty_facts_are_still_a_pyperf_file() -> None:
    run = some_run()
    odd = replace(run.cases[0].case, id="a\nb\t c")
    case = replace(run.cases[0], case=odd)
    run = replace(run, cases=(case,), machine={}, versions={}, environment={})
    document = strict_json(pyperf_json(run))
    check_pyperf(document)
    assert document["benchmarks"][0]["metadata"]["name"] == "a b c static"


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, Path]:
    """Two exports of the same plan, the second a tenth slower."""
    files = (tmp_path / "base.json", tmp_path / "head.json")
    slower = {case.id: 1.1 for case in CASES}
    write_file(files[0], pyperf_json(some_run(seed=1)))
    write_file(files[1], pyperf_json(some_run(seed=2, scale=slower)))
    return files


def pyperf(*arguments: str | Path) -> str:
    """What `python -m pyperf` prints; the test is skipped where pyperf is not installed."""
    pytest.importorskip("pyperf")
    done = subprocess.run(
        [sys.executable, "-m", "pyperf", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_pyperf_compares_two_exports(exported: tuple[Path, Path]) -> None:
    printed = pyperf("compare_to", "--verbose", *exported)
    for case in CASES:
        for arm in ("static", "numpy", "eager"):
            assert f"{case.id} {arm}" in printed
    assert printed.count("1.10x slower") == 6 + len(["Geometric mean"])
    assert printed.count("Significant (t=") == printed.count("Mean +- std dev") == 6
    assert "ERROR" not in printed


def test_pyperf_counts_what_was_exported(exported: tuple[Path, Path]) -> None:
    printed = pyperf("stats", exported[0])
    assert printed.count("Number of run with values: 12") == 6
    assert printed.count("Total number of values: 36") == 6
    assert "Loop iterations per value: 100" in printed
    assert "Test CPU" in pyperf("metadata", exported[0])
    pyperf("check", exported[0])


# github-action-benchmark and Bencher ---------------------------------------------------------


def test_github_has_one_number_of_one_unit_a_case_and_arm() -> None:
    run = some_run()
    entries = strict_json(github_json(summarise(run)))
    names = unique_names(run)
    assert {each["name"] for each in entries} == set(names.values())
    for (case_id, arm_id), name in names.items():
        (entry,) = (each for each in entries if each["name"] == name)
        assert set(entry) == {"name", "unit", "value", "range", "extra"}
        assert entry["unit"] == "ns"
        expected = median_nanoseconds(run, case_id, arm_id)
        assert entry["value"] == pytest.approx(expected, rel=1e-12)
        low, high = map(float, entry["range"].split(" - "))
        assert low <= entry["value"] * (1 + 1e-5) and entry["value"] <= high * (1 + 1e-5)
        assert entry["extra"].splitlines() == ["12 rounds", "Test CPU", run.run_id]


def test_two_exports_differ_in_numbers_only() -> None:
    """Whichever arm is faster, entries keep their order."""
    fast = strict_json(github_json(summarise(some_run(arms=(STATIC, NUMPY, EAGER)))))
    swapped = (replace(STATIC, step_seconds=1e-3), NUMPY, EAGER)
    slow = strict_json(github_json(summarise(some_run(arms=swapped))))
    assert [each["name"] for each in fast] == [each["name"] for each in slow]


def test_bencher_has_a_latency_with_its_bounds() -> None:
    run = some_run()
    document = strict_json(bencher_json(summarise(run)))
    names = unique_names(run)
    assert set(document) == set(names.values())
    for (case_id, arm_id), name in names.items():
        metric = document[name]["latency"]
        assert set(metric) == {"value", "lower_value", "upper_value"}
        assert metric["lower_value"] <= metric["value"] <= metric["upper_value"]
        expected = median_nanoseconds(run, case_id, arm_id)
        assert metric["value"] == pytest.approx(expected, rel=1e-12)


def test_without_an_interval_none_is_claimed() -> None:
    summary = summarise(some_run(rounds=3))
    assert all("range" not in each for each in strict_json(github_json(summary)))
    metrics = strict_json(bencher_json(summary)).values()
    assert all(set(each["latency"]) == {"value"} for each in metrics)


def test_a_name_that_bencher_refuses_is_refused_before() -> None:
    run = some_run()
    long = replace(run.cases[0], case=replace(run.cases[0].case, id="x" * 1030))
    with pytest.raises(ExportError, match="at most 1024 characters, received 1037"):
        bencher_json(summarise(replace(run, cases=(long,))))


# CSV -----------------------------------------------------------------------------------------


def test_csv_has_one_row_a_sample_with_all_digits() -> None:
    run = some_run()
    rows = list(csv.DictReader(samples_csv(run).splitlines()))
    expected = [
        (case.case.id, arm.arm.id, taken.round, place, seconds)
        for case in run.cases
        for arm in case.arms
        for taken in arm.rounds
        for place, seconds in enumerate(taken.seconds)
    ]
    found = [
        (row["case"], row["arm"], int(row["round"]), int(row["sample"]), float(row["seconds"]))
        for row in rows
    ]
    assert found == expected
    assert len(rows) == 2 * 3 * 12 * 3


def test_csv_gives_every_axis_a_column_and_leaves_others_empty() -> None:
    rows = list(csv.DictReader(samples_csv(some_run()).splitlines()))
    assert set(rows[0]) == {
        *COLUMNS,
        *(f"axis:{axis}" for axis in ("expression", "size", "layout", "batch")),
    }
    assert (rows[0]["axis:size"], rows[0]["axis:batch"]) == ("3x4", "")
    assert (rows[-1]["axis:size"], rows[-1]["axis:batch"]) == ("", "8")
    assert (rows[0]["loops"], rows[0]["machine"]) == ("100", "0123456789ab")


# All formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_arms_without_samples_are_left_out(name: str) -> None:
    run = make_run(CASES, (STATIC, wrong("numpy")))
    text = export_text(run, name)
    assert "static" in text
    assert text.count("numpy") == text.count("reference_arm") == (1 if name == "pyperf" else 0)
    assert text.endswith("\n")


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_the_same_run_gives_the_same_bytes(name: str) -> None:
    assert export_text(some_run(), name) == export_text(some_run(), name)


def test_an_unknown_format_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="EXPORT_FORMATS"):
        export_text(some_run(), "xml")


@given(
    st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True),
    st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True),
)
def test_names_are_unique_lines_whatever_the_ids(case_ids: list[str], arm_ids: list[str]) -> None:
    run = make_run((make_case(),), (STATIC,), rounds=1)
    (case,) = run.cases
    (arm,) = case.arms
    arms = tuple(replace(arm, arm=ArmSpec(arm_id, "static")) for arm_id in arm_ids)
    cases = tuple(
        replace(case, case=replace(case.case, id=case_id), arms=arms) for case_id in case_ids
    )
    names = unique_names(replace(run, cases=cases))
    assert len(set(names.values())) == len(names) == len(case_ids) * len(arm_ids)
    for name in names.values():
        assert name == " ".join(name.split()) != ""


# Files ---------------------------------------------------------------------------------------


def test_a_file_that_is_there_stays_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("history")
    with pytest.raises(ExportError) as caught:
        write_file(path, "new")
    assert "is there already" in caught.value.message and "--force" in caught.value.hint
    assert path.read_text() == "history"
    write_file(path, "new", force=True)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("force", [False, True])
def test_a_failure_half_way_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    path = tmp_path / "run.json"
    if force:
        path.write_text("history")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ExportError, match="No space left on device"):
        write_file(path, "new", force=force)
    monkeypatch.undo()
    assert [each.read_text() for each in tmp_path.iterdir()] == (["history"] if force else [])


def test_a_file_appears_whole_even_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "run.json"
    write_file(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(ExportError, match="is there already"):
        write_file(path, "newer")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as caught:
        write_file(tmp_path / "no" / "run.json", "new")
    assert "cannot be written" in caught.value.message
    assert "-o" in caught.value.hint


def test_a_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        write_file(tmp_path / "run.json", "new")
    finally:
        os.umask(mask)
    assert math.log2((tmp_path / "run.json").stat().st_mode & 0o777) == math.log2(0o644)
