"""The JSON document of a run holds what the record holds, as strict JSON."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from record_factory import EAGER, NUMPY, STATIC, FakeArm, make_run, write_run, wrong

from benchctl.compare.summary import summarise
from benchctl.report.csv import run_csv
from benchctl.report.text import run_lines
from benchctl.store.export import dump_json, run_document

REQUIRED = {
    "workload",
    "parameters",
    "engine",
    "device",
    "status",
    "verification",
    "phases_seconds",
    "samples_seconds",
    "median_seconds",
    "interval_seconds",
    "peak_bytes",
    "kernels",
}


def document_of(run):
    return json.loads(dump_json(run_document(run, summarise(run))), parse_constant=pytest.fail)


def test_every_case_and_arm_has_an_entry_with_all_keys(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_run())
    document = document_of(run)
    assert document["run_id"] == run.run_id
    assert {entry["arm"] for entry in document["cases"]} == {"static", "numpy", "eager"}
    for entry in document["cases"]:
        assert set(entry) >= REQUIRED
        assert set(entry["phases_seconds"]) == {"import", "build", "compile", "first_run"}


def test_figures_are_those_of_the_samples() -> None:
    run = make_run()
    for entry in document_of(run)["cases"]:
        medians = [np.median(each["seconds"]) for each in entry["samples_seconds"]]
        assert entry["median_seconds"] == pytest.approx(float(np.median(medians)), rel=1e-12)
        low, high = entry["interval_seconds"]
        assert low <= entry["median_seconds"] <= high
        assert len(entry["samples_seconds"]) == 12


def test_winner_is_structured() -> None:
    entry = document_of(make_run())["cases"][0]
    winner = entry["winner"]
    assert (winner["arm_id"], winner["over_id"]) == ("static", "numpy")
    assert winner["low"] <= winner["ratio"] <= winner["high"]
    assert winner["ratio"] == pytest.approx(4.4 / 1.9, rel=0.02)


def test_winners_are_those_of_the_printed_tables() -> None:
    run = make_run(arms=(STATIC, NUMPY, EAGER, FakeArm("torch", 43e-6), FakeArm("jax", 13e-6)))
    printed = [line.strip() for line in run_lines(summarise(run))]
    paradigm, implementation = [line for line in printed if re.match(r"static is .* faster", line)]
    entries = {entry["arm"]: entry for entry in document_of(run)["cases"]}
    rows = {row["arm"]: row for row in csv.DictReader(run_csv(summarise(run)))}
    assert len(entries) == len(rows) == 5
    for arm, entry in entries.items():
        ours = arm in ("static", "numpy", "eager")
        assert words_of(entry["winner"]) in (paradigm if ours else implementation)
        assert words_of(entry["implementation"]["winner"]) in implementation
        assert rows[arm]["reference"] == ("numpy" if ours else "static")
        assert rows[arm]["implementation_reference"] == "static"
        for prefix, told in (("", entry), ("implementation_", entry["implementation"])):
            ratio = "" if told["relative"] is None else repr(told["relative"]["ratio"])
            assert rows[arm][f"{prefix}ratio"] == ratio
    assert entries["jax"]["winner"]["over_id"] == "jax"
    assert entries["eager"]["winner"]["over_id"] == "numpy"
    assert entries["eager"]["relative"]["ratio"] == pytest.approx(14.1 / 4.4, rel=0.02)
    assert entries["eager"]["implementation"]["relative"]["ratio"] == pytest.approx(
        14.1 / 1.9, rel=0.02
    )


def words_of(winner) -> str:
    """How a sentence names both sides: `faster than jax`."""
    return f"faster than {winner['over_id']}."


def test_without_frameworks_there_is_one_table() -> None:
    run = make_run(arms=(STATIC, NUMPY))
    assert {str(entry["implementation"]) for entry in document_of(run)["cases"]} == {"None"}
    assert {row["implementation_reference"] for row in csv.DictReader(run_csv(summarise(run)))} == {
        ""
    }


def test_verification_shows_the_worst_check() -> None:
    entries = document_of(make_run(arms=(STATIC, wrong("numpy"))))["cases"]
    failed = next(entry for entry in entries if entry["arm"] == "numpy")
    assert failed["status"] == "wrong"
    assert failed["verification"]["ok"] is False
    assert failed["verification"]["output"] == "grad_x"
    assert failed["verification"]["max_error"] == 3.1
    assert failed["verification"]["tolerance"] == 1e-6
    assert failed["median_seconds"] is None and failed["samples_seconds"] == []


def test_what_json_cannot_hold_becomes_null() -> None:
    bad = FakeArm("numpy", status="wrong", error=math.inf)
    entries = document_of(make_run(arms=(STATIC, bad)))["cases"]
    failed = next(entry for entry in entries if entry["arm"] == "numpy")
    assert failed["verification"]["output"] == "grad_x"
    assert failed["verification"]["max_error"] is None
    assert json.loads(dump_json({"a": math.nan, "b": (1, Path("x"))})) == {"a": None, "b": [1, "x"]}


def test_warnings_carry_hints() -> None:
    document = document_of(make_run(rounds=3))
    entry = next(each for each in document["cases"] if each["arm"] == "static")
    kinds = {warning["kind"]: warning for warning in entry["warnings"]}
    assert "few_rounds" in kinds
    assert "--rounds" in kinds["few_rounds"]["hint"]
