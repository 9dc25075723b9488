"""The README does what it says: its commands, its Python, its tables and its figures."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner
from documents import DEMONSTRATION, REFERENCE, ROOT, blocks_of, simple_commands

from benchctl.cli import main
from benchctl.cli.exits import MEANINGS
from benchctl.compare.peers import PEER_ENGINES
from benchctl.report.demonstration import write_demonstration
from benchctl.report.readme import PICTURES, charts_named, fill, load_source, parts
from benchctl.store.reader import load_run

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def command_under(heading: str) -> list[list[str]]:
    """The simple commands of the one shell line under a heading."""
    (block,) = [each for each in blocks_of(README, "sh") if each.heading == heading]
    (line,) = block.text.splitlines()
    return simple_commands(line)


# The two commands ----------------------------------------------------------------------------


@pytest.mark.parametrize("heading", ["Measure", "Pass the tests"])
def test_a_command_makes_the_environment_that_it_uses(heading: str) -> None:
    commands = command_under(heading)
    assert commands[0] == ["python3", "-m", "venv", ".venv"]
    scripts = {"pip", "python", *PROJECT["project"]["scripts"]}
    for program, *_ in commands[1:]:
        assert program.removeprefix(".venv/bin/") in scripts


@pytest.mark.parametrize("heading", ["Measure", "Pass the tests"])
def test_pip_is_asked_for_what_the_project_has(heading: str) -> None:
    installs = [words[1:] for words in command_under(heading) if words[0].endswith("/pip")]
    # An old pip knows no dependency groups.
    assert installs[0] == ["install", "-q", "-U", "pip"]
    assert any(words[:4] == ["install", "-q", "-e", "."] for words in installs)
    for words in installs[1:]:
        for option, value in zip(words[4::2], words[5::2], strict=True):
            assert option == "--group"
            assert value in PROJECT["dependency-groups"]


def test_the_main_job_is_planned_and_with_the_claims_covers_every_workload(
    tmp_path, monkeypatch
) -> None:
    run, report = [words for words in command_under("Measure") if words[0].endswith("benchctl")]
    monkeypatch.chdir(tmp_path)
    planned = CliRunner().invoke(main, [*run[1:], "--dry-run"])
    assert planned.exit_code == 0, planned.output
    claims = CliRunner().invoke(main, ["claims", "--dry-run"])
    shown = f"\n{planned.stdout}\n{claims.stdout}"
    for workload in PROJECT["project"]["entry-points"]["benchctl.workloads"]:
        assert f"\n{workload}  " in shown
    assert report[1:] == ["report"]


def test_the_tests_are_pytest_with_the_group_that_holds_it() -> None:
    *_, install, tests = command_under("Pass the tests")
    assert tests == [".venv/bin/python", "-m", "pytest"]
    group = PROJECT["dependency-groups"][install[-1]]
    assert any(requirement.startswith("pytest>") for requirement in group)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    take = f"eval \"$(sed -n '/^test_command() {{/,/^}}/p' '{script}')\"; test_command"
    taken = subprocess.run(
        ["bash", "-c", take], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    (block,) = [each for each in blocks_of(README, "sh") if each.heading == "Pass the tests"]
    assert taken == block.text
    assert re.search(r"^run_tests$", script.read_text(), re.MULTILINE)


# Python --------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks_of(README, "python"), ids=lambda block: block.text[:40])
def test_python_prints_what_its_comments_say(block) -> None:
    expected = re.findall(r"^\s*print\(.*?\)  # (.+)$", block.text, re.MULTILINE)
    assert expected
    done = subprocess.run(
        [sys.executable, "-c", block.text], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected


# Tables --------------------------------------------------------------------------------------


def test_exit_codes_are_those_of_the_program() -> None:
    listed = re.findall(r"^\| (\d+) \| (.+) \|$", TEXT, re.MULTILINE)
    assert listed == [(str(int(code)), meaning) for code, meaning in MEANINGS]


def test_engines_are_those_that_are_installed() -> None:
    engines = PROJECT["project"]["entry-points"]["benchctl.engines"]
    peers = {name for name, factory in engines.items() if ".peers." in factory}
    for title, expected in (("engine", set(engines) - peers), ("framework", peers)):
        section = TEXT.split(f"| {title} |")[1].split("\n\n")[0]
        assert set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == expected
    assert peers == set(PEER_ENGINES)


# Figures -------------------------------------------------------------------------------------


def test_the_readme_asks_for_parts_of_every_kind() -> None:
    kinds = {marker.split()[1] for marker, _ in parts(TEXT)}
    assert kinds == {"screen:", "table:", "chart:", "frameworks:"}


def test_every_figure_comes_from_the_committed_run(tmp_path) -> None:
    """Without a committed run there is none; with one, the documents show it and nothing else."""
    if not REFERENCE.is_file():
        assert [body for _, body in parts(TEXT) if body] == []
        assert not DEMONSTRATION.exists()
        assert not (ROOT / PICTURES).exists()
        return
    run = load_run(REFERENCE)
    assert fill(TEXT, load_source(ROOT)) == TEXT, "python -m benchctl.report.readme renews it"
    for words in charts_named(TEXT):
        name = words.split()[0]
        assert (ROOT / PICTURES / f"{name}.png").is_file()
    page = tmp_path / DEMONSTRATION.name
    write_demonstration(run, page)
    assert page.read_text(encoding="utf-8") == DEMONSTRATION.read_text(encoding="utf-8")
