"""`benchctl check` as a user types it: tables with reasons, JSON, exit codes, bad files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from record_factory import EAGER, NUMPY, STATIC, FakeArm, make_run, write_run

from benchctl.cli.check import percent_words
from benchctl.cli.group import LazyGroup
from benchctl.compare import round_checks
from benchctl.compare.stability import EFFECTS, Instability
from benchctl.compare.summary import NOISY_SPREAD
from benchctl.stats.verdict import DEFAULT_MARGIN
from benchctl.store.record import Run

VERBS = {"check": ("benchctl.cli.check:check", "Say why stored results are unstable.")}


def invoke(*arguments: object, color: bool = False) -> Result:
    group = LazyGroup(name="benchctl", verbs=VERBS)
    return CliRunner().invoke(group, ["check", *map(str, arguments)], color=color)


def quiet_run(**how: object) -> Run:
    return make_run(arms=(STATIC, NUMPY), spread=0.001, **how)


def with_drift(run: Run, arm_id: str) -> Run:
    """Every round of an arm 2 % slower than the one before."""
    (case,) = run.cases
    arms = tuple(
        replace(
            arm,
            rounds=tuple(
                replace(each, seconds=tuple(one * 1.02**each.round for one in each.seconds))
                for each in arm.rounds
            ),
        )
        if arm.arm.id == arm_id
        else arm
        for arm in case.arms
    )
    return replace(run, cases=(replace(case, arms=arms),))


@pytest.fixture
def steady(tmp_path: Path) -> Path:
    write_run(tmp_path, quiet_run())
    return tmp_path


@pytest.fixture
def drifting(tmp_path: Path) -> Path:
    write_run(tmp_path, with_drift(quiet_run(), "numpy"))
    return tmp_path


def test_a_steady_run_has_one_line_an_arm(steady: Path) -> None:
    result = invoke("--store", steady)
    assert result.exit_code == 0, result.output
    heading, titles, *rows = result.stdout.splitlines()
    assert heading.startswith("xyz  product, 3x4")
    assert titles.split()[:3] == ["engine", "state", "rounds"]
    assert [row.split()[:3] for row in rows[:2]] == [
        ["static", "steady", "12"],
        ["numpy", "steady", "12"],
    ]
    assert result.stdout.splitlines()[-1] == "All 2 results are steady."
    assert ".jsonl" in result.stderr and ".jsonl" not in result.stdout


def test_a_reason_stands_below_its_arm_with_what_to_do(drifting: Path) -> None:
    result = invoke("--store", drifting)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    (place,) = [at for at, line in enumerate(lines) if line.split()[:1] == ["numpy"]]
    assert lines[place].split()[1] == "doubtful"
    assert lines[place + 1].startswith("    drift: the last third of its rounds took 1")
    assert lines[place + 2].startswith("      let the machine rest")
    assert any(line.split()[:2] == ["static", "steady"] for line in lines)
    assert lines[-1] == "1 of 2 results are steady."


def test_strict_ends_with_3_only_where_something_was_found(steady: Path) -> None:
    assert invoke("--store", steady, "--strict").exit_code == 0
    write_run(steady, with_drift(quiet_run(seed=1, started_utc="2026-11-06T12:00:00Z"), "numpy"))
    assert invoke("--store", steady, "--strict").exit_code == 3
    assert invoke("--store", steady).exit_code == 0


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"load_average": [3.0, 1, 1]}, "warning: the machine was busy before the run"),
        ({"governor": "powersave"}, "frequency governor: the frequency governor was powersave"),
        ({"cpu_quota": 0.5}, "cpu quota: 2 threads were limited to 0.5 cores"),
    ],
)
def test_what_disturbed_the_whole_run_is_told_once(tmp_path: Path, environment, words) -> None:
    run = quiet_run()
    write_run(tmp_path, replace(run, environment={**run.environment, **environment}))
    result = invoke("--store", tmp_path, "--strict")
    assert result.exit_code == 3
    assert result.stdout.count(words) == 1


def test_an_incomplete_run_is_checked_and_told(tmp_path: Path) -> None:
    write_run(tmp_path, quiet_run(complete=False))
    result = invoke("--store", tmp_path, "--strict")
    assert result.exit_code == 3
    assert "warning: the run did not finish" in result.stdout
    assert "All 2 results are steady." in result.stdout


def test_an_arm_that_was_not_measured_says_so_and_alarms_nobody(tmp_path: Path) -> None:
    broken = FakeArm("eager", status="crashed", message="killed by SIGSEGV")
    write_run(tmp_path, make_run(arms=(STATIC, NUMPY, broken), spread=0.001))
    result = invoke("--store", tmp_path, "--strict")
    assert result.exit_code == 0, result.output
    (row,) = [line.split() for line in result.stdout.splitlines() if "eager" in line]
    assert row[1:3] == ["crashed", "-"]


def test_a_run_without_any_result_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, make_run(arms=(replace(EAGER, status="crashed"),)))
    result = invoke("--store", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "Nothing was measured."


def test_json_is_one_document_with_every_reason(drifting: Path) -> None:
    result = invoke("--store", drifting, "--json", "--strict")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["schema"] == "benchctl.stability/1"
    assert document["clean"] is False
    (case,) = document["cases"]
    arms = {each["arm"]: each for each in case["arms"]}
    assert arms["static"]["steady"] and not arms["static"]["findings"]
    finding = arms["numpy"]["findings"][0]
    assert finding["kind"] == "drift"
    assert finding["text"] and finding["hint"]
    assert [each["difference"] for each in arms["static"]["rounds_needed"]] == [0.05, 0.02]
    assert 0 < arms["static"]["inside_rounds"] < 0.01


def test_a_run_is_named_by_its_file_or_a_part_of_its_id(steady: Path) -> None:
    other = quiet_run(seed=7, started_utc="2026-11-06T12:00:00Z")
    stored = write_run(steady, with_drift(other, "static"))
    assert stored.path is not None
    for name in (stored.path, "00000007", "last"):
        result = invoke(name, "--store", steady)
        assert "1 of 2 results are steady." in result.stdout, name
    assert "All 2" in invoke("00000000", "--store", steady).stdout


def test_an_unreadable_file_is_named_with_its_line(steady: Path) -> None:
    (path,) = steady.rglob("*.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    lines[4] = "{not json}\n"
    path.write_text("".join(lines))
    result = invoke(path)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"{path}, line 5: expected one JSON object, received '{{not json}}'" in result.stderr


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    result = invoke("--store", tmp_path)
    assert result.exit_code == 6
    assert "benchctl run" in result.stderr


def test_nothing_is_said_by_colour(drifting: Path) -> None:
    assert click.unstyle(invoke("--store", drifting, color=True).stdout) == (
        invoke("--store", drifting).stdout
    )


def test_what_all_engines_share_is_told_once(tmp_path: Path) -> None:
    write_run(tmp_path, quiet_run(rounds=4))
    lines = invoke("--store", tmp_path).stdout.splitlines()
    told = [line for line in lines if "few rounds" in line]
    assert told == ["  all engines: few rounds: 4 rounds are too few to show a difference of 5 %"]
    assert lines[lines.index(told[0]) + 1] == "    measure about 6: --rounds 6"
    assert [line.split()[1] for line in lines[2:4]] == ["doubtful", "doubtful"]


def test_every_case_has_its_table(tmp_path: Path) -> None:
    from record_factory import make_case

    cases = [make_case(size=size) for size in ("3x4", "10x10")]
    write_run(tmp_path, make_run(cases, (STATIC, NUMPY), spread=0.001))
    lines = invoke("--store", tmp_path).stdout.splitlines()
    assert [line for line in lines if line.startswith("xyz")] == ["xyz  3x4", "xyz  10x10"]
    assert lines[-1] == "All 4 results are steady."


@pytest.mark.parametrize(
    ("fraction", "words"), [(None, "-"), (0.0, "0.0 %"), (0.0042, "0.4 %"), (0.123, "12 %")]
)
def test_percentages_have_the_digits_that_matter(fraction: float | None, words: str) -> None:
    assert percent_words(fraction) == words


def test_asking_for_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, benchctl.cli.check;"
        "print([each for each in ('numpy', 'pandas', 'rich') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# The page on it ----------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "check.md"


def test_the_page_names_every_finding() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## What is found")[2]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    listed = [name.strip() for cell in cells[2:] for name in cell.split(",")]
    names = [each.name.lower().replace("_", " ") for each in Instability]
    assert sorted(listed) == sorted(names)


def test_the_page_has_the_limits_of_the_code() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())

    def percent(share: float) -> str:
        return f"{100 * share:.0f} %"

    for words in (
        f"permutation tests of ranks at a level of {percent(round_checks.LEVEL)}",
        f"a difference below {percent(round_checks.MATERIAL)} is never reported",
        f"a verdict with a margin of {percent(DEFAULT_MARGIN)}",
        f"a round lies {round_checks.OUTLIER:.0f} standard deviations or more",
        f"{percent(round_checks.INTERRUPTED_SHARE)} of the samples or more lie "
        f"{percent(round_checks.FAR_LONGER)} and {round_checks.OUTLIER:.0f} standard deviations",
        f"a spread above {percent(NOISY_SPREAD)}",
        f"fewer than a difference of {percent(EFFECTS[0])} takes",
        f"fewer than {round_checks.LEAST_TICKS} steps of the clock",
        ", ".join(f"{percent(effect)} takes" for effect in EFFECTS),
    ):
        assert words in text, words
