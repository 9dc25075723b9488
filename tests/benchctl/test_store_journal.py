"""What is appended to a journal is what is loaded, to the last nanosecond."""

import hashlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import (
    ARMS,
    CASE,
    arm_result,
    as_stored,
    planned_run,
    round_of,
    write_run,
)
from store_strategies import runs

from benchctl.store.journal import Journal, StoreError
from benchctl.store.reader import load_run
from benchctl.store.record import ArmRound


@settings(max_examples=60, deadline=None)
@given(run=runs())
def test_any_run_comes_back_as_it_was(run):
    with tempfile.TemporaryDirectory() as folder:
        with Journal.create(Path(folder), run) as journal:
            write_run(journal, run)
            journal.finish()
        loaded = load_run(journal.path)
    assert loaded.complete
    assert loaded == as_stored(run, loaded)
    assert list(loaded.machine) == list(run.machine)


@given(
    seconds=st.floats(1e-12, 1e4),
    loops=st.integers(1, 10**7),
)
@settings(max_examples=50, deadline=None)
def test_a_sample_is_off_by_at_most_half_a_nanosecond_of_its_loop(seconds, loops):
    with tempfile.TemporaryDirectory() as folder:
        with Journal.create(Path(folder), planned_run()) as journal:
            journal.append_rounds(CASE, {"static": ArmRound(0, (seconds,), loops)})
        loaded = load_run(journal.path).cases[0].arms[0].rounds[0].seconds[0]
    rounding_of_floats = 1e-15 * seconds * loops
    assert abs(loaded - seconds) * loops <= 0.5e-9 + 4 * rounding_of_floats


def test_file_holds_integer_nanoseconds_of_the_whole_loop(tmp_path):
    with Journal.create(tmp_path, planned_run()) as journal:
        journal.append_rounds(CASE, {"static": ArmRound(3, (0.25e-9, 1e-9), 1000)})
    line = json.loads(journal.path.read_text().splitlines()[1])
    assert line["kind"] == "round"
    assert line["round"] == 3
    assert line["arms"]["static"]["ns"] == [250, 1000]


def test_file_lies_under_year_and_month_and_carries_the_run_id(tmp_path):
    with Journal.create(tmp_path, planned_run()) as journal:
        pass
    assert journal.path.parent == tmp_path / "runs" / "2026" / "11"
    start, machine, random = journal.path.stem.split("-")
    assert (start, machine, len(random)) == ("20261105T120000Z", "a1b2c3d4e5f6", 8)
    assert load_run(journal.path).run_id == journal.run_id == journal.path.stem


def test_parameters_are_stored_once(tmp_path):
    with Journal.create(tmp_path, planned_run()) as journal:
        for number in range(5):
            journal.append_rounds(CASE, round_of(number))
    assert journal.path.read_text().count('"expression"') == 1


def test_footer_is_the_checksum_of_all_before_it(tmp_path):
    run = planned_run()
    with Journal.create(tmp_path, run) as journal:
        journal.append_arm(CASE, arm_result(run.plan.arms[0]))
        journal.append_rounds(CASE, round_of(0))
        journal.append_rounds(CASE, round_of(1))
        journal.finish()
    *before, last = journal.path.read_bytes().splitlines(keepends=True)
    footer = json.loads(last)
    assert footer["sha256"] == hashlib.sha256(b"".join(before)).hexdigest()
    assert (footer["arm_lines"], footer["round_lines"]) == (1, 2)


def test_each_append_is_one_write_followed_by_a_sync(tmp_path, monkeypatch):
    calls = []
    write, sync = os.write, os.fsync

    def counted_write(descriptor, data):
        calls.append("write")
        return write(descriptor, data)

    def counted_sync(descriptor):
        calls.append("sync")
        return sync(descriptor)

    with Journal.create(tmp_path, planned_run()) as journal:
        monkeypatch.setattr(os, "write", counted_write)
        monkeypatch.setattr(os, "fsync", counted_sync)
        journal.append_rounds(CASE, round_of(0, samples=range(5000)))
        journal.append_rounds(CASE, round_of(1))
    assert calls == ["write", "sync", "write", "sync"]


def test_a_later_arm_line_replaces_the_earlier_and_keeps_the_rounds(tmp_path):
    run = planned_run()
    arm = run.plan.arms[0]
    with Journal.create(tmp_path, run) as journal:
        journal.append_arm(CASE, arm_result(arm))
        journal.append_rounds(CASE, round_of(0))
        journal.append_arm(CASE, replace(arm_result(arm, "crashed"), message="signal 11"))
    loaded = load_run(journal.path).cases[0].arms[0]
    assert (loaded.status, loaded.message, len(loaded.rounds)) == ("crashed", "signal 11", 1)


def test_arms_without_any_line_are_planned_and_rounds_alone_mean_ok(tmp_path):
    with Journal.create(tmp_path, planned_run()) as journal:
        journal.append_rounds(CASE, round_of(0, arms=("static",)))
    run = load_run(journal.path)
    assert not run.complete
    assert [arm.status for arm in run.cases[0].arms] == ["ok", "planned"]


def test_case_arms_narrow_what_is_planned(tmp_path):
    run = planned_run(settings={"case_arms": {CASE: ("eager@gpu",)}})
    with Journal.create(tmp_path, run) as journal:
        pass
    assert [arm.arm.id for arm in load_run(journal.path).cases[0].arms] == ["eager@gpu"]


def test_rounds_appended_out_of_order_are_loaded_in_order(tmp_path):
    with Journal.create(tmp_path, planned_run()) as journal:
        for number in (2, 0, 1):
            journal.append_rounds(CASE, round_of(number))
    assert [r.round for r in load_run(journal.path).cases[0].arms[1].rounds] == [0, 1, 2]


@pytest.mark.parametrize(
    ("case_id", "rounds", "expected"),
    [
        ("other", round_of(1), "received case 'other'"),
        (CASE, round_of(1, arms=("torch",)), "arm 'torch'"),
        (CASE, round_of(0), "round 0 of static"),
        (CASE, {}, "expected one round"),
        (CASE, {"static": round_of(1)["static"], "eager@gpu": round_of(2)["eager@gpu"]}, "one"),
        (CASE, {"static": ArmRound(1, (float("nan"),), 1)}, "finite seconds"),
        (CASE, {"static": ArmRound(1, (1.0,), 0)}, "at least 1"),
    ],
)
def test_what_the_reader_would_refuse_is_never_written(tmp_path, case_id, rounds, expected):
    with Journal.create(tmp_path, planned_run()) as journal:
        journal.append_rounds(CASE, round_of(0))
        before = journal.path.read_bytes()
        with pytest.raises(ValueError, match=expected):
            journal.append_rounds(case_id, rounds)
        assert journal.path.read_bytes() == before


def test_counts_of_a_plug_in_that_are_no_whole_numbers_are_refused(tmp_path):
    run = planned_run()
    bad = replace(arm_result(run.plan.arms[0]), counts={"launches": 1.5})
    journal = Journal.create(tmp_path, run)
    with journal, pytest.raises(ValueError, match="whole number"):
        journal.append_arm(CASE, bad)
    assert load_run(journal.path).cases[0].arms[0].status == "planned"


def test_an_incomplete_run_is_resumed_and_finished(tmp_path):
    with Journal.create(tmp_path, planned_run()) as journal:
        journal.append_rounds(CASE, round_of(0))
    with journal.path.open("ab") as file:
        file.write(b'{"kind":"round","case"')
    with Journal.resume(journal.path) as resumed:
        assert resumed.run_id == journal.run_id
        with pytest.raises(ValueError, match="a second time"):
            resumed.append_rounds(CASE, round_of(0))
        resumed.append_rounds(CASE, round_of(1))
        resumed.finish()
    run = load_run(journal.path)
    assert run.complete
    assert [taken.round for taken in run.cases[0].arms[0].rounds] == [0, 1]


def test_a_complete_run_cannot_be_resumed(tmp_path):
    with Journal.create(tmp_path, planned_run()) as journal:
        journal.finish()
    with pytest.raises(StoreError, match="is complete"):
        Journal.resume(journal.path)


def test_a_closed_journal_takes_nothing(tmp_path):
    journal = Journal.create(tmp_path, planned_run())
    journal.finish()
    with pytest.raises(StoreError, match="closed"):
        journal.append_rounds(CASE, round_of(0))


def test_a_given_run_id_is_used_once(tmp_path):
    with Journal.create(tmp_path, planned_run("mine")) as journal:
        assert journal.path.name == "mine.jsonl"
    content = journal.path.read_bytes()
    with pytest.raises(StoreError, match="there already"):
        Journal.create(tmp_path, planned_run("mine"))
    assert journal.path.read_bytes() == content
    assert [path.name for path in journal.path.parent.iterdir()] == ["mine.jsonl"]


@pytest.mark.parametrize("run_id", ["../escape", "a/b", ".hidden", "x" * 300])
def test_a_run_id_that_names_no_file_is_refused(tmp_path, run_id):
    with pytest.raises(ValueError, match="run id expected"):
        Journal.create(tmp_path, planned_run(run_id))


def test_all_arms_of_a_round_share_one_line(tmp_path):
    with Journal.create(tmp_path, planned_run()) as journal:
        journal.append_rounds(CASE, round_of(0))
    header, *rest = journal.path.read_text().splitlines()
    assert json.loads(header)["schema"] == "benchctl.run/1"
    assert len(rest) == 1
    assert list(json.loads(rest[0])["arms"]) == list(ARMS)
