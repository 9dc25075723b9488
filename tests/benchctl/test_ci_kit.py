"""The CI kit: its shell steps run as written, with the gate's exit codes told apart."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest
from test_gate_revisions import git

KIT = Path(__file__).parents[2] / "docs" / "ci"


def block(text: str, after: str) -> str:
    """The indented lines of the first `|` block behind the line that ends in `after`."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.strip() == after)
    indent = len(lines[start + 1]) - len(lines[start + 1].lstrip())
    found = []
    for line in lines[start + 1 :]:
        if line.strip() and len(line) - len(line.lstrip()) < indent:
            break
        found.append(line[indent:])
    return "\n".join(found) + "\n"


STEPS = {
    "github": (block((KIT / "benchctl-gate" / "action.yml").read_text(), "run: |"), "BASE"),
    "gitlab": (block((KIT / "gitlab.yml").read_text(), "- |"), "CI_MERGE_REQUEST_DIFF_BASE_SHA"),
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "start")
    return folder


def run_step(kind: str, folder: Path, code: int) -> tuple[subprocess.CompletedProcess[str], str]:
    """The step with a `python` that records its arguments and exits with `code`."""
    script, variable = STEPS[kind]
    programs = folder.parent / "programs"
    programs.mkdir(exist_ok=True)
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{programs}/arguments"\nexit {code}\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        variable: git(folder, "rev-parse", "HEAD"),
        "ARGUMENTS": "--strict xyz",
        "PYTHON": "python",
    }
    ended = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    return ended, (programs / "arguments").read_text()


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("code", [0, 1, 4, 5])
def test_the_steps_pass_the_exit_code_on(repository, kind, code):
    ended, arguments = run_step(kind, repository, code)
    disturbed_is_a_warning = kind == "github" and code == 4
    assert ended.returncode == (0 if disturbed_is_a_warning else code), ended.stderr
    assert ("::warning::" in ended.stdout) == disturbed_is_a_warning
    words = arguments.split()
    assert words[:4] == ["-m", "benchctl", "gate", "--base"]
    assert re.fullmatch("[0-9a-f]{40}", words[4])
    assert words[5:9] == ["--junit", "gate.xml", "--json", "gate.json"]
    assert (words[9:] == ["--strict", "xyz"]) == (kind == "github")


def test_gitlab_lets_a_disturbed_machine_pass():
    text = (KIT / "gitlab.yml").read_text()
    assert re.search(r"allow_failure:\s+exit_codes: 4", text)


def test_the_options_exist():
    from click.testing import CliRunner

    from benchctl.cli import main

    text = CliRunner().invoke(main, ["gate", "--help"]).stdout
    for script, _ in STEPS.values():
        for option in re.findall(r"(--[a-z]+) ", script.partition("benchctl gate")[2]):
            assert option in text, option
