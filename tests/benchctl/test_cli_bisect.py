"""`bisect` on a real project: the commit that made a workload slower is found by measuring."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from measure_plans import QUICK_PROCESSES
from test_gate_revisions import git
from test_measure_pairs import WORKLOAD

from benchctl.cli import main
from benchctl.gate import plans

# The ends differ, the middle is as the good one, and what is left does not run.
COMMITS = 4
SLOW_FROM = 3
BROKEN = 2
ROUNDS = ("--rounds", "9", "--most-rounds", "18")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commits 0 to 3 of one workload: 3 takes twice as long, 2 does not run."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "mine.py").write_text(WORKLOAD)
    for number in range(COMMITS):
        seconds = 0.004 if number >= SLOW_FROM else 0.002
        text = f"SECONDS, FACTOR = {seconds}, 2\n# {number}\n"
        (folder / "helper.py").write_text("raise OSError\n" if number == BROKEN else text)
        git(folder, "add", "-A")
        git(folder, "commit", "--quiet", "-m", f"state {number}")
        git(folder, "tag", f"state-{number}")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(plans, "MEASURE", {**plans.MEASURE, **QUICK_PROCESSES})
    return folder


@pytest.mark.slow
def test_the_commit_is_found_and_the_search_goes_on_where_it_was(project):
    arguments = ["bisect", "./mine.py", "--good", "state-0", "--engine", "numpy", "--json"]
    arguments += ROUNDS
    result = CliRunner().invoke(main, arguments)
    assert result.stdout, result.stderr
    found = json.loads(result.stdout)
    slow = git(project, "rev-parse", f"state-{SLOW_FROM}")
    # The broken commit before it cannot be told apart from it.
    broken = git(project, "rev-parse", f"state-{BROKEN}")
    assert set(found["candidates"]) == {slow, broken}, result.output
    assert found["ratio"] == pytest.approx(2, rel=0.3)
    again = CliRunner().invoke(main, arguments)
    assert json.loads(again.stdout)["candidates"] == found["candidates"]
    assert "going on with what is known" in again.stderr
    assert git(project, "worktree", "list").count("\n") == 0


def test_an_unknown_revision_is_an_error(project):
    result = CliRunner().invoke(main, ["bisect", "./mine.py", "--good", "nowhere"])
    assert result.exit_code == 2 and "nowhere" in result.stderr
