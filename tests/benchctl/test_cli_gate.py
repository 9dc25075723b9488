"""`gate` and `aa` on a real project: a planted slowdown turns it red, unchanged code does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from gate_runs import CASES, FakeMachine, scripted_gate
from measure_plans import QUICK_PROCESSES
from test_gate_revisions import git
from test_measure_pairs import WORKLOAD

from benchctl.cli import main
from benchctl.gate import plans
from benchctl.gate.noise import (
    FILE,
    aa_gate,
    append_aa,
    load_aa,
    noise_floor,
    upper_bound,
)
from benchctl.measure.environment import machine_facts
from benchctl.plan.planted import PLANTED
from benchctl.report.gate import gate_document, gate_lines, gate_markdown, junit_xml
from benchctl.store.errors import RecordError

# As few rounds as a gate takes, for slowdowns that nobody could miss.
PROJECT = """
[tool.benchctl]
paths = ["."]

[tool.benchctl.gate]
cases = [{ workload = "./mine.py", engines = ["numpy"] }]
screen_rounds = 6
confirm_rounds = 7
margin = 0.3
"""


def helper(seconds: float) -> str:
    return f"SECONDS, FACTOR = {seconds}, 2\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "mine.py").write_text(WORKLOAD)
    (folder / "helper.py").write_text(helper(0.002))
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "start")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr(plans, "MEASURE", {**plans.MEASURE, **QUICK_PROCESSES})
    # Each control is two processes a round, and one tells whether the machine is disturbed.
    monkeypatch.setattr(plans, "KINDS", plans.KINDS[:1])
    return folder


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.slow
def test_a_planted_slowdown_is_found_and_told(project, monkeypatch):
    (project / "helper.py").write_text(helper(0.004))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "summary.md"))
    result = invoke(
        "gate", "--base", "HEAD", "--junit", "gate.xml", "--json", "gate.json", "--store", "store"
    )
    assert result.exit_code == 1, result.output
    assert result.stdout.startswith("REGRESSION: working tree against HEAD: 1 case slower")
    assert "▲ regressed" in result.stdout
    document = json.loads((project / "gate.json").read_text())
    assert document["ending"] == "regression"
    assert document["cases"][0]["ratio"] == pytest.approx(2, rel=0.3)
    suite = ElementTree.parse(project / "gate.xml").getroot()
    assert suite.attrib["failures"] == "1"
    summary = (project / "summary.md").read_text()
    assert summary.startswith("## benchctl gate: REGRESSION")
    assert "benchctl" in document["command"]


@pytest.mark.slow
def test_aa_tells_whether_a_slowdown_on_purpose_is_found(project, monkeypatch):
    # On a disturbed machine nothing is found, as scripted gates show: this one has no controls.
    monkeypatch.setattr(plans, "KINDS", ())
    result = invoke("aa", "--plant", "1.0", "--json", "--store", "store")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["gates"] == 0
    (power,) = document["planted"]
    assert (power["share"], power["gates"], power["found"]) == (1.0, 1, 1)


class ThisMachine(FakeMachine):
    """Scripted times that count as measured here; a slowdown that was planted shows in them."""

    def __call__(self, plan):
        self.settings["ratios"] = {
            case: 1 + share
            for case, arms in plan.settings.get(PLANTED, {}).items()
            for share in arms.values()
        }
        return replace(super().__call__(plan), machine=machine_facts())


@pytest.mark.slow
def test_unchanged_code_is_clean_and_aa_says_how_sure(project, monkeypatch):
    monkeypatch.setattr("benchctl.cli.aa.measuring_into", lambda store: ThisMachine())
    result = invoke("aa", "--gates", "3", "--store", "store")
    assert result.exit_code == 0, result.output
    assert "3 A/A gates found 0 regressions" in result.stdout
    result = invoke("gate", "--base", "HEAD", "--store", "store")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("CLEAN")
    assert "3 A/A gates found 0 regressions" in result.stdout
    assert git(project, "status", "--porcelain", "--untracked-files=no") == ""


def test_aa_counts_which_planted_slowdowns_were_found(project, monkeypatch):
    monkeypatch.setattr("benchctl.cli.aa.measuring_into", lambda store: ThisMachine())
    for share, found in ((1.0, 2), (0.01, 0)):
        result = invoke("aa", "--gates", "2", "--plant", str(share), "--json", "--store", "store")
        assert result.exit_code == 0, result.output
        powers = {each["share"]: each for each in json.loads(result.stdout)["planted"]}
        assert (powers[share]["gates"], powers[share]["found"]) == (2, found)


def test_a_dry_run_shows_the_plan_and_measures_nothing(project):
    result = invoke("gate", "--base", "HEAD", "--dry-run", "--store", "store")
    assert result.exit_code == 0, result.output
    assert "numpy~base, numpy~head" in result.stdout and "nothing was run" in result.stdout
    assert "measured again, for 7 rounds" in result.stdout
    assert not (project / "store").exists()
    result = invoke("gate", "--base", "nowhere", "--dry-run")
    assert result.exit_code == 2 and "no revision 'nowhere'" in result.stderr


def test_errors_say_what_to_do(project):
    result = invoke("gate", "--base", "nowhere")
    assert result.exit_code == 2 and "no revision 'nowhere'" in result.stderr
    (project / "pyproject.toml").write_text("[tool.benchctl]\npath = 'x'\n")
    result = invoke("gate", "--base", "HEAD")
    assert result.exit_code == 2 and "no key 'path'" in result.stderr
    (project / "pyproject.toml").write_text("")
    result = invoke("gate", "--base", "HEAD")
    assert result.exit_code == 2 and "nothing to gate" in result.stderr


def test_too_few_rounds_are_refused(project):
    (project / "pyproject.toml").write_text(PROJECT.replace("= 7", "= 4"))
    result = invoke("gate", "--base", "HEAD")
    assert result.exit_code == 2
    assert "needs at least 7 rounds, received 4" in result.stderr


# The documents, from a scripted machine


REGRESSED = {"ratios": {CASES[0]: 1.2}}


def test_a_clean_summary_is_folded_away_and_a_red_one_is_not():
    clean = "\n".join(gate_markdown(scripted_gate(), None, "benchctl gate", "Test CPU"))
    assert clean.startswith("## benchctl gate: CLEAN") and "<details>" in clean
    red = "\n".join(gate_markdown(scripted_gate(**REGRESSED), None, "benchctl gate", "Test CPU"))
    assert red.startswith("## benchctl gate: REGRESSION") and "<details>" not in red
    assert "benchctl aa measures its noise floor" in red


def test_the_worst_case_comes_first_in_every_document():
    result = scripted_gate(**REGRESSED)
    lines = gate_lines(result, None, "benchctl gate --base main")
    assert "1 case slower, the worst xyz[size=3x4] numpy" in lines[0]
    assert gate_document(result, None, "c")["cases"][0]["outcome"] == "regressed"
    assert lines[-1] == "  again: benchctl gate --base main"


def test_junit_counts_what_failed():
    root = ElementTree.fromstring(junit_xml(scripted_gate(**REGRESSED), 12.34))
    assert root.attrib["tests"] == "3" and root.attrib["failures"] == "1"
    assert root.attrib["errors"] == "0"
    assert [each.find("failure") is not None for each in root] == [True, False, False]
    root = ElementTree.fromstring(junit_xml(scripted_gate(control=1.1), 1))
    assert root.attrib["errors"] == "1"
    root = ElementTree.fromstring(junit_xml(scripted_gate(statuses={"numpy~head": "wrong"}), 1))
    assert root.attrib["errors"] == "3"


# The noise floor


def test_aa_gates_are_kept_line_by_line(tmp_path):
    result = scripted_gate()
    for number in range(3):
        append_aa(tmp_path, aa_gate(result, "m" if number < 2 else "other", "2026-01-01", 1.5))
    gates = load_aa(tmp_path)
    assert [gate.machine_id for gate in gates] == ["m", "m", "other"]
    floor = noise_floor(gates, "m")
    assert (floor.gates, floor.red, floor.cases) == (2, 0, 6)
    assert floor.red_bound == pytest.approx(1 - 0.05 ** (1 / 2))
    assert all(0.001 < spread < 0.02 for spread in floor.spreads.values())
    assert noise_floor(gates, "nobody") is None


def test_a_torn_last_line_is_forgiven_and_any_other_is_named(tmp_path):
    gate = aa_gate(scripted_gate(), "m", "2026-01-01", 1.5)
    append_aa(tmp_path, gate)
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    assert load_aa(tmp_path) == [gate]
    append_aa(tmp_path, gate)
    assert load_aa(tmp_path) == [gate, gate]
    path.write_bytes(whole + whole[:40] + b"\n" + whole)
    with pytest.raises(RecordError, match="line 2"):
        load_aa(tmp_path)
    append_aa(tmp_path, gate)
    # What was there is still there: nothing is overwritten because it cannot be read.
    assert path.read_bytes() == whole + whole[:40] + b"\n" + whole + whole


@pytest.mark.parametrize(("events", "trials", "bound"), [(0, 300, 0.00994), (1, 40, 0.1132)])
def test_upper_bounds(events, trials, bound):
    from scipy.stats import beta

    assert upper_bound(events, trials) == pytest.approx(bound, rel=1e-2)
    exact = beta.ppf(0.95, events + 1, trials - events)
    assert upper_bound(events, trials) == pytest.approx(exact, rel=1e-9)
