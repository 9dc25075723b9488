"""The script for minutes with a GPU: what it says without one, and what it would run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import registered
from click.testing import CliRunner

from benchctl.cli import main
from benchctl.plan.arms import parse_arm, parse_place
from benchctl.plan.registry import load_workload
from benchctl_engines.devices.availability import device_availability

SCRIPT = Path(__file__).with_name("check.sh")
DEFAULT = ("doctor", "verify", "suite", "tests", "profile")
WITHOUT_GPU = not device_availability("gpu").ok

STAND_IN = """#!/usr/bin/env bash
case "$1" in
-m) printf '%s\\n' "$*" >>"$COMMANDS" ; echo done ;;
-) cat >/dev/null ;;
esac
"""


def checked(*arguments, python=sys.executable, **variables):
    environment = {**os.environ, "PYTHON": str(python), **variables}
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, env=environment
    )


@pytest.fixture
def commands(tmp_path):
    """Runs parts with a Python that finds a GPU and notes what it is asked for."""
    python, noted = tmp_path / "python", tmp_path / "commands"
    python.write_text(STAND_IN)
    python.chmod(0o755)

    def asked(*arguments):
        noted.write_text("")
        made = checked(*arguments, python=python, COMMANDS=str(noted))
        assert made.returncode == 0, made.stderr
        return [line.split() for line in noted.read_text().splitlines()]

    return asked


@pytest.mark.skipif(not WITHOUT_GPU, reason="a GPU is here")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path):
    made = checked(tmp_path / "made")
    assert made.returncode == 6 and not made.stderr
    [line] = made.stdout.splitlines()
    assert line.startswith("nothing checked: no CUDA device")


def test_a_part_that_does_not_exist_and_a_missing_package_are_named(tmp_path):
    made = checked(tmp_path, "suite", "tests", "nonsense")
    assert made.returncode == 2 and "received nonsense" in made.stderr
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    made = checked(tmp_path, python=bare)
    assert made.returncode == 2 and re.search(r"has no numpy .*\(pip install numpy", made.stderr)


def test_the_parts_together_take_less_than_eight_minutes():
    text = SCRIPT.read_text()
    seconds = dict(re.findall(r"^(?:lines=\d+ )?(?:part|quick) (\w+) (\d+) ", text, re.MULTILINE))
    assert set(seconds) == {*DEFAULT, "compiled"}
    assert sum(int(seconds[each]) for each in DEFAULT) <= 480
    assert int(seconds["compiled"]) <= 300


def test_every_part_is_run_and_packed(tmp_path, commands):
    folder, archive = tmp_path / "made", tmp_path / "away" / "made.tar.gz"
    archive.parent.mkdir()
    asked = commands("-a", archive, folder)
    assert [" ".join(line[:3]) for line in asked if "show" not in line] == [
        "-m benchctl doctor",
        "-m benchctl verify",
        "-m benchctl run",
        "-m pytest -m",
        "-m benchctl profile",
    ]
    with tarfile.open(archive) as packed:
        names = packed.getnames()
    assert {f"made/{each}.log" for each in DEFAULT} <= set(names)
    assert [line[2] for line in commands(folder, "profile")] == ["profile"]


def test_what_it_asks_of_the_command_line_can_be_planned(tmp_path, commands):
    asked = commands(tmp_path / "made", *DEFAULT, "compiled")
    lines = [line[2:] for line in asked if line[1] == "benchctl" and line[2] != "show"]
    assert len(lines) == 5
    for verb, *arguments in lines:
        command = main.get_command(None, verb)
        given = command.make_context(verb, list(arguments)).params
        device, _ = parse_place(given.get("device", "cpu"))
        arms = [parse_arm(each, device) for each in given.get("engines", ())]
        assert all(arm.device == "gpu" for arm in arms)
        for name in [given["name"]] if "name" in given else given.get("names", ()):
            assert name == "gpu-quick" or load_workload(name)
        if verb == "run":
            planned = CliRunner().invoke(main, [verb, *arguments, "--dry-run"])
            assert planned.exit_code == 0, planned.output


def test_an_uninstalled_checkout_is_registered_as_an_installed_one(tmp_path):
    [found] = distributions(path=[str(registered.registered(tmp_path))])
    project = tomllib.loads((registered.ROOT / "pyproject.toml").read_text())["project"]
    assert found.metadata["Name"] == "benchctl"
    made: dict[str, dict[str, str]] = {}
    for each in found.entry_points:
        made.setdefault(each.group, {})[each.name] = each.value
    assert made == project["entry-points"]
