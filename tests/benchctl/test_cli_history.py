"""`benchctl history` as a user types it: table, finding, decisions, exit codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from history_records import (
    LARGE,
    NUMPY,
    SMALL,
    STATIC,
    day_run,
    history_runs,
    revision_of,
    step_at,
    steps,
    write_history,
)
from record_factory import FakeArm, make_case

from benchctl.cli.group import LazyGroup
from benchctl.store.reader import load_store

VERBS = {"history": ("benchctl.cli.history:history", "History.")}
main = LazyGroup(name="benchctl", verbs=VERBS)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["history", *(str(each) for each in arguments)])


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static becomes 20 % slower on day 12, and later 10 % faster; numpy never changes."""
    store = tmp_path_factory.mktemp("slower")
    factor = steps(step_at(12, 1.2, arm="static"), step_at(24, 1 / 1.1, arm="static"))
    write_history(store, history_runs(36, factor, rounds=6))
    return store


@pytest.fixture
def store(slower: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(slower, tmp_path / "store"))


def document(store: Path, *arguments: str) -> dict:
    done = invoke("--store", store, "--json", *arguments)
    return json.loads(done.stdout)


def static_changes(store: Path) -> list[dict]:
    (static,) = [each for each in document(store)["series"] if each["arm"] == "static"]
    return static["changes"]


def test_the_table_has_a_row_a_series_and_one_for_each_further_change(store: Path) -> None:
    done = invoke("--store", store)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"Slower: {SMALL.id} on static, ")
    assert "Test CPU, 2 threads" in lines[2]
    titles, *rows = lines[3:]
    assert titles.split() == ["case", "arm", "points", "last", "change", "since", "state", "id"]
    newest, older, numpy = rows
    assert newest.split()[:3] == [SMALL.id, "static", "36"]
    assert re.search(r"9\.\d* % \(.*\) faster", newest) and "confirmed" in newest
    assert re.search(r"\d\d\.?\d* % \(.*\) slower", older)
    assert older.startswith("    ") and SMALL.id not in older
    assert numpy.split()[:2] == ["numpy", "36"] and "steady" in numpy
    # What to do next goes beside the result.
    assert "benchctl history --ack" in done.stderr
    assert "--good" in done.stderr and revision_of(11)[:10] in done.stderr + done.stdout


def test_the_command_that_is_proposed_names_case_arm_and_revisions(store: Path) -> None:
    (line,) = [x for x in invoke("--store", store).stderr.splitlines() if "bisect" in x]
    (change, _) = static_changes(store)
    good, bad = (change[end]["revision"][:10] for end in ("last_before", "surely_after"))
    expected = f"benchctl bisect xyz --engine static -a size=3x4 --good {good} --bad {bad}"
    assert line == f"find it: {expected}"


def test_json_is_one_document_with_everything(store: Path) -> None:
    found = document(store)
    assert found["schema"] == "benchctl.history-document/1"
    assert [(each["case"], each["arm"]) for each in found["series"]] == [
        (SMALL.id, "static"),
        (SMALL.id, "numpy"),
    ]
    static = found["series"][0]
    runs, _ = load_store(store)
    assert [point["run_id"] for point in static["points"]] == [run.run_id for run in runs]
    slow, fast = static["changes"]
    assert slow["ratio"] == pytest.approx(1.2, abs=0.02) and slow["state"] == "confirmed"
    assert fast["ratio"] == pytest.approx(1 / 1.1, abs=0.02)
    assert slow["low"] <= slow["ratio"] <= slow["high"]
    assert slow["last_before"]["revision"] in [revision_of(day) for day in (9, 10, 11)]
    assert found["open"] == 1 and found["machine_events"] == []


def test_markdown_is_a_table_that_never_wraps(store: Path) -> None:
    lines = invoke("--store", store, "--markdown").stdout.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 5
    assert len({line.count(" | ") for line in table}) == 1


def test_strict_fails_until_the_slowdown_is_decided_on(store: Path) -> None:
    assert invoke("--store", store).exit_code == 0
    assert invoke("--store", store, "--strict").exit_code == 1
    assert invoke("--store", store, "--strict", "--json").exit_code == 1
    (slow, _) = static_changes(store)
    done = invoke("--store", store, "--ack", slow["id"][:6], "--reason", "more checks")
    assert done.exit_code == 0, done.output
    assert f"acknowledged {slow['id']} in {store / 'history.json'}" in done.stderr
    assert "acknowledged: more checks" in done.stdout
    again = invoke("--store", store, "--strict")
    assert again.exit_code == 0
    assert again.stdout.startswith("No slowdown is left to decide on in 2 series")
    fixed = invoke("--store", store, "--fixed", slow["id"])
    assert re.search(r"slower .* fixed", fixed.stdout)
    assert len(json.loads((store / "history.json").read_text())["decisions"]) == 1


def test_a_speedup_never_fails(tmp_path: Path) -> None:
    write_history(tmp_path, history_runs(24, step_at(12, 0.8, arm="static"), rounds=6))
    done = invoke("--store", tmp_path, "--strict")
    assert done.exit_code == 0 and "% (" in done.stdout and "faster" in done.stdout


def test_an_unknown_id_changes_nothing_and_lists_those_there_are(store: Path) -> None:
    (slow, fast) = static_changes(store)
    done = invoke("--store", store, "--ack", slow["id"], "--ack", "nothing")
    assert done.exit_code == 2
    assert "'nothing' is no change" in done.stderr
    assert slow["id"] in done.stderr and fast["id"] in done.stderr
    assert not (store / "history.json").exists()
    assert invoke("--store", store, "--ack", "").exit_code == 2


def test_an_unreadable_file_of_decisions_is_an_error_and_stays(store: Path) -> None:
    path = store / "history.json"
    path.write_text("{half a file")
    for arguments in ((), ("--strict",), ("--ack", "00000000")):
        done = invoke("--store", store, *arguments)
        assert done.exit_code == 2, done.output
        assert str(path) in done.stderr and "nothing was changed" in done.stderr
    assert path.read_text() == "{half a file"


@pytest.mark.parametrize(
    "arguments", [("--json", "--markdown"), ("--reason", "why")], ids=["formats", "reason"]
)
def test_options_that_make_no_sense_together_are_refused(
    store: Path, arguments: tuple[str, ...]
) -> None:
    done = invoke("--store", store, *arguments)
    assert done.exit_code == 2 and done.stdout == ""
    assert arguments[0] in done.stderr


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    done = invoke("--store", tmp_path)
    assert done.exit_code == 6
    assert "benchctl run xyz" in done.stderr and "Traceback" not in done.stderr


def test_a_store_of_unfinished_runs_says_so(tmp_path: Path) -> None:
    write_history(tmp_path, [day_run(0, complete=False)])
    done = invoke("--store", tmp_path)
    assert done.exit_code == 6
    assert "of 1 stored, none is finished" in done.stderr
    assert "benchctl run --resume" in done.stderr


def test_a_single_run_says_what_is_missing(tmp_path: Path) -> None:
    write_history(tmp_path, [day_run(0)])
    done = invoke("--store", tmp_path, "--strict")
    assert done.exit_code == 0
    assert done.stdout.startswith("Nothing can be said yet of 2 series: a change takes 5 complete")
    assert "1 of 10 points" in done.stdout


def test_a_suspected_slowdown_is_named_and_does_not_fail(tmp_path: Path) -> None:
    write_history(tmp_path, history_runs(18, step_at(16, 1.3, arm="static"), rounds=6))
    done = invoke("--store", tmp_path, "--strict")
    assert done.exit_code == 0
    assert done.stdout.startswith("No slowdown is confirmed in 2 series; suspected: ")
    found = document(tmp_path)["series"][0]["changes"]
    refused = invoke("--store", tmp_path, "--ack", found[0]["id"])
    assert refused.exit_code == 2 and "only suspected" in refused.stderr


def test_a_bad_file_is_named_and_hides_nothing(store: Path) -> None:
    (store / "runs" / "bad.jsonl").write_text("{}\n")
    done = invoke("--store", store)
    assert done.exit_code == 0
    assert "bad.jsonl" in done.stderr and "36" in done.stdout


def test_workloads_limit_the_table_and_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    other = make_case("heads", head="fc")
    file = make_case("bench/my_workload.py", size=3)
    write_history(tmp_path, [day_run(0, cases=(SMALL, other, file))])
    assert LARGE.id not in invoke("--store", tmp_path).stdout
    only = invoke("heads", "my_workload.py", "--store", tmp_path).stdout
    assert other.id in only and file.id in only and SMALL.id not in only
    unknown = invoke("head", "--store", tmp_path)
    assert unknown.exit_code == 2
    assert "Did you mean heads? (xyz, heads, my_workload.py)" in unknown.stderr


def test_conditions_that_changed_are_listed_below_the_table(tmp_path: Path) -> None:
    runs = [day_run(day, machine={"cpu": "New" if day > 2 else "Old"}) for day in range(5)]
    write_history(tmp_path, runs)
    text = invoke("--store", tmp_path).stdout
    assert f"2026-01-08 {revision_of(3)[:10]}: cpu Old -> New (2 series begin anew)" in text
    assert "2 of 10 points" in text


def test_machines_have_tables_of_their_own(tmp_path: Path) -> None:
    runs = [day_run(0), day_run(1, machine={"id": "other", "cpu": "Other CPU"})]
    write_history(tmp_path, runs)
    text = invoke("--store", tmp_path).stdout
    assert text.count("case ") == 2
    assert "Test CPU, 2 threads" in text and "Other CPU, 2 threads" in text


def test_an_event_of_the_machine_is_reported_once_and_accepted_at_once(tmp_path: Path) -> None:
    arms = (STATIC, NUMPY, FakeArm("eager", 9e-6))
    write_history(tmp_path, history_runs(24, step_at(12, 1.2), arms=arms, rounds=6))
    done = invoke("--store", tmp_path, "--strict")
    assert done.exit_code == 1
    found = document(tmp_path)
    (event,) = found["machine_events"]
    assert f"machine event {event['id']}: 3 of 3 series of one machine" in done.stdout
    assert done.stdout.count("% (") == 0, "the changes of the series are not reported too"
    settled = invoke("--store", tmp_path, "--ack", event["id"], "--strict")
    assert settled.exit_code == 0, settled.output
    assert settled.stderr.count("acknowledged ") == 3
    assert "(acknowledged)" in settled.stdout


def test_runs_without_a_revision_are_named_by_their_day(tmp_path: Path) -> None:
    runs = history_runs(24, step_at(12, 1.2, arm="static"), rounds=6, revision="")
    write_history(tmp_path, runs)
    done = invoke("--store", tmp_path)
    assert re.search(r"2026-01-1\d\.\.2026-01-1\d", done.stdout)
    assert "bisect" not in done.stderr and "--ack" in done.stderr


def test_help_names_every_option() -> None:
    text = invoke("--help").stdout
    for option in ("--ack", "--fixed", "--reason", "--strict", "--json", "--markdown", "--store"):
        assert option in text
