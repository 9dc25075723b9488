"""`show`, `list`, `doctor`, `env`: verbs that only read."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from record_factory import NUMPY, STATIC, FakeArm, make_run, write_run, wrong

from benchctl.cli import main
from benchctl.cli.env import fact_lines
from benchctl.compare.case_tables import IMPLEMENTATION, PARADIGM


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_run(tmp_path, make_run(seed=1, started_utc="2026-11-05T12:00:00Z"))
    return tmp_path


def test_show_prints_the_newest_run(store: Path) -> None:
    result = invoke("show", "--store", store)
    assert result.exit_code == 0, result.output
    assert "static is 2.3" in result.stdout
    assert "engine" in result.stdout and "95 % interval" in result.stdout
    assert ".jsonl" in result.stderr and ".jsonl" not in result.stdout


@pytest.mark.parametrize("columns", ["80", "120"])
def test_tables_are_the_same_at_any_width_and_the_block_fits(tmp_path: Path, columns: str) -> None:
    arms = (STATIC, NUMPY, FakeArm("torch", 4e-5), FakeArm("jax", status="unavailable"))
    write_run(tmp_path, make_run(arms=arms))
    command = ["show", "--store", str(tmp_path)]
    shown = CliRunner().invoke(main, command, env={"COLUMNS": columns})
    live = CliRunner().invoke(main, command, env={"COLUMNS": columns}, color=True)
    assert shown.exit_code == 0 and shown.stdout == live.stdout == invoke(*command).stdout
    lines = shown.stdout.splitlines()
    titles = [line.strip() for line in lines if line.startswith(("  paradigm", "  implementation"))]
    assert titles == [PARADIGM, IMPLEMENTATION]
    block = lines[lines.index("  frameworks") :]
    block = block[: block.index("")] if "" in block else block
    assert len(block) == 5 and max(map(len, block)) <= 80
    assert block[-1] == "  jax    n/a: no reason was recorded"


def test_show_finds_a_run_by_its_end(store: Path) -> None:
    assert invoke("show", "00000001", "--store", store).exit_code == 0
    missing = invoke("show", "77777777", "--store", store)
    assert missing.exit_code == 2
    assert "77777777" in missing.stderr and "00000001" in missing.stderr


def test_json_on_stdout_is_exactly_one_document(store: Path) -> None:
    document = json.loads(invoke("show", "--store", store, "--json", "-").stdout)
    assert len(document["cases"]) == 3


def test_json_to_a_file_goes_beside_the_tables(store: Path, tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    result = invoke("show", "--store", store, "--json", target)
    assert "static is" in result.stdout
    assert len(json.loads(target.read_text())["cases"]) == 3


def test_unwritable_json_is_refused_before_anything_else(store: Path, tmp_path: Path) -> None:
    result = invoke("show", "--store", store, "--json", tmp_path / "no" / "run.json")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert result.stdout == ""


def test_csv_and_markdown_are_plain_documents(store: Path) -> None:
    rows = list(csv.DictReader(invoke("show", "--store", store, "--csv").stdout.splitlines()))
    assert [row["arm"] for row in rows] == ["static", "numpy", "eager"]
    markdown = invoke("show", "--store", store, "--markdown").stdout
    table = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert len({line.count(" | ") for line in table}) == 1


def test_two_formats_for_one_stdout_are_refused(store: Path) -> None:
    result = invoke("show", "--store", store, "--json", "-", "--csv")
    assert result.exit_code == 2
    assert "--csv" in result.stderr


def test_a_bad_file_is_named_with_its_line_and_hides_nothing(store: Path) -> None:
    second = write_run(store, make_run(seed=2, started_utc="2026-11-06T12:00:00Z"))
    assert second.path is not None
    lines = second.path.read_text().splitlines(keepends=True)
    lines[2] = "{not json}\n"
    second.path.write_text("".join(lines))
    bad = invoke("show", second.run_id, "--store", store)
    assert bad.exit_code == 2
    assert f"{second.path}, line 3: expected one JSON object, received '{{not json}}'" in bad.stderr
    assert "benchctl show --all lists the runs that load" in bad.stderr
    listed = invoke("show", "--all", "--store", store)
    assert listed.exit_code == 0
    assert "00000001" in listed.stdout
    assert "line 3" in listed.stderr


def test_wrong_results_are_told_again(tmp_path: Path) -> None:
    write_run(tmp_path, make_run(arms=(STATIC, wrong("numpy"))))
    assert "it equals grad_y of x*y + z" in invoke("show", "--store", tmp_path).stdout


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    shown = invoke("show", "--store", tmp_path)
    assert shown.exit_code == 6 and "benchctl run" in shown.stderr
    reported = invoke("report", "--store", tmp_path)
    assert reported.exit_code == 6
    assert "benchctl run slides" in reported.stderr
    assert "Traceback" not in reported.stderr


def test_report_writes_the_page_and_says_where(store: Path) -> None:
    (store / "runs" / "bad.jsonl").write_text("{}\n")
    result = invoke("report", "--store", store)
    assert result.exit_code == 0, result.output
    page = store / "report" / "index.html"
    assert str(page) in result.stdout
    assert "<html" in page.read_text()
    assert "bad.jsonl" in result.stderr


def test_list_names_everything_registered() -> None:
    document = json.loads(invoke("list", "--json").stdout)
    assert {each["name"] for each in document["workloads"]} >= {"xyz", "vgg16", "layout", "heads"}
    assert {each["name"] for each in document["engines"]} >= {"static", "eager", "numpy"}
    assert {each["name"] for each in document["suites"]} >= {"slides", "smoke"}
    text = invoke("list", "workloads").stdout
    assert "product* multiply_add" in text
    assert "slides" not in text


@pytest.mark.parametrize("kind", ["workloads", "engines", "suites"])
def test_no_name_runs_into_what_is_said_of_it(kind: str) -> None:
    names = {each["name"] for each in json.loads(invoke("list", "--json").stdout)[kind]}
    lines = invoke("list", kind).stdout.splitlines()[1:]
    heads = [line.split() for line in lines if line.startswith("  ") and line[2:3].strip()]
    assert {head[0] for head in heads} == names


def test_a_broken_plug_in_does_not_break_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchctl.plan import registry
    from benchctl.plan.errors import PlanError

    real = registry.load_engine

    def load(name: str) -> object:
        if name == "eager":
            raise PlanError("engine eager could not be loaded", "see why")
        return real(name)

    monkeypatch.setattr(registry, "load_engine", load)
    result = invoke("list", "engines")
    assert result.exit_code == 0
    assert "broken: engine eager could not be loaded" in result.stdout
    assert "numpy" in result.stdout


def test_doctor_shows_every_check_with_its_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchctl.doctor import checks
    from benchctl.doctor.check import Check

    found = [Check("clock", "ok", "fine"), Check("gpu", "missing", "no driver", "install one")]
    monkeypatch.setattr(checks, "run_checks", lambda store: found)
    text = invoke("doctor").stdout
    assert "clock" in text and "no driver" in text and "    install one" in text
    rows = json.loads(invoke("doctor", "--json").stdout)["checks"]
    assert [row["status"] for row in rows] == ["ok", "missing"]


def test_env_is_what_a_run_records() -> None:
    document = json.loads(invoke("env", "--json").stdout)
    assert set(document) == {"machine", "environment", "versions", "git"}
    assert len(document["machine"]["id"]) == 12
    text = invoke("env").stdout
    assert document["machine"]["id"] in text


def test_facts_within_facts_are_indented() -> None:
    lines = fact_lines({"a": 1, "inner": {"b": [1, 2]}, "none": None})
    assert lines == ["  a      1", "  inner", "    b  1, 2", "  none   -"]
