"""`compare`: what to compare is clear or refused; engines and commands are measured for real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from record_factory import NUMPY, STATIC, make_run, write_run

from benchctl.cli import main


def invoke(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", *arguments, "--store", str(store)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected two sides to compare, received 0"),
        (("last",), "expected two sides to compare, received 1"),
        (("--head", "main"), "--head expected beside --base"),
        (("--base", "main"), "--base expected --on WORKLOAD or --command LINE"),
        (("a", "b", "--base", "main", "--on", "xyz"), "leave out a b"),
        (("--command", "true"), "expected two --command LINE"),
        (("numpy", "static"), "are engines: expected a workload"),
        (("nowhere", "last"), "no run 'nowhere'"),
        (("numpy", "statik", "--on", "xyz"), "static"),
    ],
)
def test_what_to_compare_must_be_clear(tmp_path, arguments, words):
    result = invoke(tmp_path, *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr


def test_stored_runs(tmp_path):
    base = write_run(tmp_path, make_run(arms=(STATIC, NUMPY), rounds=30, seed=1))
    slower = replace(STATIC, step_seconds=2.5e-6)
    head = write_run(tmp_path, make_run(arms=(slower, NUMPY), rounds=30, seed=2))
    names = (base.run_id[-8:], head.run_id[-8:])
    result = invoke(tmp_path, *names)
    assert result.exit_code == 0, result.output
    assert "▲ slower" in result.stdout and "1 slower" in result.stdout
    assert invoke(tmp_path, *names, "--fail-slower").exit_code == 1
    # The other way round something is faster, and that never fails.
    assert invoke(tmp_path, *reversed(names), "--fail-slower").exit_code == 0
    document = json.loads(invoke(tmp_path, *names, "--json").stdout)
    assert document["pairs"][0]["arm"] == "static"
    assert document["pairs"][0]["ratio"] == pytest.approx(2.5 / 1.9, rel=0.03)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_ratios_as_a_chart(tmp_path, suffix):
    base = write_run(tmp_path, make_run(arms=(STATIC, NUMPY), rounds=30, seed=1))
    head = write_run(tmp_path, make_run(arms=(STATIC, NUMPY), rounds=30, seed=2))
    file = tmp_path / f"ratios.{suffix}"
    result = invoke(tmp_path, base.run_id, head.run_id, "--chart", str(file))
    assert result.exit_code == 0, result.output
    assert f"Chart in {file}" in result.stderr
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    if suffix == "svg":
        text = content.decode()
        assert "xyz" in text and "static" in text and "margin 0.02" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [("ratios.jpg", "ending in .png or .svg"), ("nowhere/ratios.png", "cannot be written")],
)
def test_a_chart_that_could_not_be_written_is_refused_first(tmp_path, name, words):
    result = invoke(tmp_path, "a", "b", "--chart", str(tmp_path / name))
    assert result.exit_code == 2 and words in result.stderr


def test_an_incomplete_run_stands_for_nothing(tmp_path):
    base = write_run(tmp_path, make_run(seed=1))
    head = write_run(tmp_path, make_run(seed=2, complete=False))
    result = invoke(tmp_path, base.run_id, head.run_id)
    assert result.exit_code == 2 and "incomplete" in result.stderr


@pytest.mark.slow
def test_two_engines_now(tmp_path):
    result = invoke(
        tmp_path, "eager", "numpy", "--on", "xyz", "-a", "size=3x4", "--rounds", "6", "--markdown"
    )
    assert result.exit_code == 0, result.output
    assert "numpy against eager: " in result.stdout and "1 faster" in result.stdout
    assert list(tmp_path.rglob("*.jsonl"))


@pytest.mark.slow
def test_two_commands_now(tmp_path):
    result = invoke(
        tmp_path,
        "--command",
        "sleep 0.02",
        "--command",
        "sleep 0.06",
        "--rounds",
        "6",
        "--fail-slower",
        "--json",
    )
    assert result.exit_code == 1, result.output
    (pair,) = json.loads(result.stdout)["pairs"]
    assert pair["verdict"] == "slower" and pair["head_seconds"] > 0.06 > pair["base_seconds"]
