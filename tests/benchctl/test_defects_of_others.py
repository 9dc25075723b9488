"""Defects of other tools that are not ours, one test each.

They were found by reading the tools, or running them, in 2026: pyperf, asv, hyperfine,
pytest-benchmark, criterion.rs, nvbench, Google Benchmark's compare.py and github-action-benchmark.
Each heading says what theirs does.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import FakeArm, write_run
from record_factory import make_run as record_of
from store_samples import CASE, arm_result, planned_run, round_of

from benchctl.cli import main
from benchctl.cli.exits import Exit
from benchctl.cli.output import exit_code
from benchctl.compare.pairs import compare_rounds, compare_stored
from benchctl.compare.summary import Relative, paired_log_ratios, summarise
from benchctl.gate.decide import GateRule, candidates, confirm
from benchctl.report.comparison import comparison_lines
from benchctl.stats.verdict import DEFAULT_MARGIN, Verdict, judge
from benchctl.store.errors import RecordError
from benchctl.store.journal import Journal
from benchctl.store.reader import load_run, load_store
from benchctl.store.record import ArmResult, ArmRound, ArmSpec, CaseResult, CaseSpec, Plan, Run

DOCS = Path(__file__).parents[2] / "docs"
ROUNDS = 10
TRIALS = 200
# Of 200 trials at 5 %, four standard deviations more.
MOST_FALSE = 0.05 + 4 * math.sqrt(0.05 * 0.95 / TRIALS)


def timed_arm(arm_id: str, rounds: Sequence[Sequence[float]], status: str = "ok") -> ArmResult:
    """An arm with these samples, in seconds, round by round."""
    taken = tuple(
        ArmRound(number, tuple(float(each) for each in samples), 1, process=number)
        for number, samples in enumerate(rounds)
    )
    return ArmResult(ArmSpec(arm_id, arm_id), status, rounds=taken)


def run_of(*arms: ArmResult, **cases: Sequence[ArmResult]) -> Run:
    """A run of one case, or of those given by name; the first arm is the reference."""
    found = cases or {"case": arms}
    specs = tuple(CaseSpec(name, "xyz", {"size": name}, name) for name in found)
    all_arms = {arm.arm.id: arm.arm for results in found.values() for arm in results}
    plan = Plan(specs, tuple(all_arms.values()), ROUNDS, 0, 2, next(iter(all_arms)))
    results = tuple(
        CaseResult(spec, tuple(arms)) for spec, arms in zip(specs, found.values(), strict=True)
    )
    machine = {"id": "m", "cores": 2}
    return Run("run", "2026-01-01T00:00:00Z", plan, machine, {}, {}, {}, (), results, True)


def relative_of(arm: ArmResult, reference: ArmResult) -> Relative:
    summary = summarise(run_of(reference, arm)).cases[0].arm(arm.arm.id)
    assert summary is not None
    assert summary.relative is not None
    return summary.relative


def false_alarms(draw) -> float:
    """The share of trials in which two arms that do not differ are said to."""
    rng = np.random.default_rng(11)
    return sum(relative_of(*draw(rng)).significant for _ in range(TRIALS)) / TRIALS


# pyperf compare_to needs equal numbers of samples, and takes the error of its own helper for
# "significant".


def test_arms_with_different_numbers_of_samples_are_compared_like_others() -> None:
    def draw(rng: np.random.Generator) -> tuple[ArmResult, ArmResult]:
        sixty = [rng.normal(1, 0.02, 6) for _ in range(ROUNDS)]
        fewer = [rng.normal(1, 0.02, 6 if number % 3 else 5) for number in range(ROUNDS)]
        return timed_arm("fewer", fewer), timed_arm("sixty", sixty)

    assert false_alarms(draw) <= MOST_FALSE


@given(
    counts=st.lists(st.integers(1, 9), min_size=6, max_size=12),
    other=st.lists(st.integers(1, 9), min_size=6, max_size=12),
)
@settings(deadline=None)
def test_rounds_of_any_size_are_paired_by_their_number(counts: list[int], other: list[int]) -> None:
    one = timed_arm("one", [[2.0] * count for count in counts])
    two = timed_arm("two", [[1.0] * count for count in other])
    assert paired_log_ratios(one, two) == [math.log(2)] * min(len(counts), len(other))


def test_what_cannot_be_compared_is_never_called_different() -> None:
    with pytest.raises(ValueError, match="finite"):
        judge([math.nan] * 12)
    assert judge([0.5] * 3).verdict is Verdict.INCONCLUSIVE
    early = timed_arm("early", [[1.0]] * 6)
    late = timed_arm("late", [[]] * 6 + [[9.0]] * 6)
    case = summarise(run_of(early, late)).cases[0]
    assert case.winner is None
    assert all(arm.relative is None for arm in case.arms)


# pyperf puts the samples of all processes into one t-test as if they were independent.


@given(
    seed=st.integers(0, 2**32 - 1),
    copies=st.integers(2, 9),
)
@settings(max_examples=30, deadline=None)
def test_more_samples_of_the_same_round_make_nothing_surer(seed: int, copies: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [[rng.normal(1, 0.02, 3) for _ in range(ROUNDS)] for _ in range(2)]
    once = relative_of(timed_arm("one", drawn[0]), timed_arm("two", drawn[1]))
    copied = [[list(samples) * copies for samples in rounds] for rounds in drawn]
    assert relative_of(timed_arm("one", copied[0]), timed_arm("two", copied[1])) == once


def test_the_luck_of_processes_is_not_called_a_difference() -> None:
    """Where every round has a process of its own, as in a gate."""
    pooled = []

    def draw(rng: np.random.Generator) -> tuple[ArmResult, ArmResult]:
        arms = [
            [rng.normal(1 + rng.normal(0, 0.03), 0.001, 20) for _ in range(ROUNDS)]
            for _ in range(2)
        ]
        pooled.append(scipy.stats.ttest_ind(*map(np.concatenate, arms)).pvalue <= 0.05)
        return timed_arm("one", arms[0]), timed_arm("two", arms[1])

    assert false_alarms(draw) <= MOST_FALSE
    # The same samples in one t-test: this is what the test is there to find.
    assert np.mean(pooled) > 0.4


# pyperf hides rows that do not differ, and still has them in its geometric mean.


def test_a_mean_is_that_of_the_rows_that_are_shown() -> None:
    def case(ratio: float, status: str = "ok") -> tuple[ArmResult, ArmResult]:
        noise = np.random.default_rng(1).normal(0, 1e-3, (2, ROUNDS))
        rounds = [[[each] for each in np.exp(row)] for row in noise]
        slow = [[ratio * each for each in samples] for samples in rounds[1]]
        return timed_arm("base", rounds[0]), timed_arm(
            "head", slow if status == "ok" else [], status
        )

    shown = {"twice": case(2.0), "half": case(0.5), "same": case(1.0)}
    every = {**shown, "broken": case(9.0, "crashed")}
    comparison = compare_rounds(run_of(**every), "base", "head")
    assert comparison.mean is not None
    rows = [each for each in comparison.pairs if each.judgement is not None]
    assert comparison.mean.cases == len(rows) == 3
    text = comparison_lines(comparison)
    assert all(any(line.startswith(name) for line in text) for name in every)
    alone = compare_rounds(run_of(**shown), "base", "head")
    assert alone.mean == comparison.mean
    assert comparison.mean.ratio == pytest.approx(1.0, abs=0.01)


# asv compare --sort ratio sorts the text of the ratio: 10.5 comes before 2.0.


def test_rows_are_sorted_by_number_and_not_by_text() -> None:
    factors = {"a": 10.5, "b": 2.0, "c": 9.0, "d": 100.0, "e": 0.05}
    one = {name: [timed_arm("arm", [[1.0 + n / 1e4] for n in range(ROUNDS)])] for name in factors}
    two = {
        name: [timed_arm("arm", [[factor * (1.0 + n / 1e4)] for n in range(ROUNDS)])]
        for name, factor in factors.items()
    }
    comparison = compare_stored(run_of(**one), run_of(**two))
    assert [each.case.id for each in comparison.pairs] == ["d", "e", "a", "c", "b"]
    lines = comparison_lines(comparison)
    assert [line.split()[0] for line in lines[1:6]] == ["d", "e", "a", "c", "b"]


def test_arms_are_listed_by_their_time_and_not_by_its_text(tmp_path: Path) -> None:
    seconds = {"static": 2e-3, "eager": 10.5e-3, "numpy": 9e-3, "reverse": 100e-3}
    write_run(tmp_path, record_of(arms=[FakeArm(name, each) for name, each in seconds.items()]))
    order = ["static", "numpy", "eager", "reverse"]
    text = show(tmp_path).stdout.splitlines()
    begin = next(place for place, line in enumerate(text) if line.startswith("  engine"))
    assert [line.split()[0] for line in text[begin + 1 : begin + 5]] == order
    rows = csv.DictReader(show(tmp_path, "--csv").stdout.splitlines())
    assert [row["arm"] for row in rows] == order
    table = [line for line in show(tmp_path, "--markdown").stdout.splitlines() if line[:1] == "|"]
    assert [line.split()[1] for line in table[2:]] == order


# asv compare never ends with a failure.


def test_what_is_slower_or_broken_has_an_exit_code() -> None:
    slower = confirm({"case": [0.1 + n / 1e4 for n in range(30)]}, GateRule())
    assert slower["case"].regressed
    assert Exit.REGRESSION == 1
    assert exit_code(run_of(timed_arm("one", [], "crashed"))) is Exit.FAILED
    assert exit_code(run_of(timed_arm("one", [], "unavailable"))) is Exit.NOTHING_MEASURED


# github-action-benchmark takes a history that it cannot read for none, and overwrites it.


@pytest.mark.parametrize("content", [b"", b"{", b"not a run\n", b'{"kind":"header"}\n', b"\xff\n"])
def test_a_file_that_cannot_be_read_is_told_and_never_overwritten(
    tmp_path: Path, content: bytes
) -> None:
    write_run(tmp_path, record_of(seed=1))
    (good,) = tmp_path.rglob("*.jsonl")
    bad = good.with_name("20261106T000000Z-0123456789ab-00000002.jsonl")
    bad.write_bytes(content)
    with pytest.raises(RecordError, match=f"{bad.name}, line 1: "):
        load_run(bad)
    with pytest.raises(RecordError):
        Journal.resume(bad)
    for arguments in (["show", "--all"], ["show", bad.stem], ["run", "--resume", bad.stem]):
        CliRunner().invoke(main, [*arguments, "--store", str(tmp_path)])
    write_run(tmp_path, record_of(seed=3, started_utc="2026-11-07T12:00:00Z"))
    assert bad.read_bytes() == content
    runs, errors = load_store(tmp_path)
    assert len(runs) == 2
    assert [(error.path, error.line) for error in errors] == [(bad, 1)]


# pytest-benchmark leaves out a file that it cannot read with no more than a warning.


def test_a_run_that_was_asked_for_and_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path, record_of(seed=1))
    (path,) = tmp_path.rglob("*.jsonl")
    path.write_text(path.read_text().replace('"kind":"round"', '"kind":"rounds"', 1))
    result = show(tmp_path)
    assert result.exit_code == Exit.USAGE
    assert "line 5: expected a line of kind arm, round or footer" in result.stderr
    assert result.stdout == ""


# pyperf, asv, hyperfine and pytest-benchmark write results by truncating the file that was there.


def test_a_results_file_only_grows(tmp_path: Path) -> None:
    run = planned_run()
    with Journal.create(tmp_path, run) as journal:
        seen = [journal.path.read_bytes()]
        for number in range(3):
            journal.append_arm(CASE, arm_result(run.plan.arms[0]))
            seen.append(journal.path.read_bytes())
            journal.append_rounds(CASE, round_of(number))
            seen.append(journal.path.read_bytes())
    resumed = Journal.resume(journal.path)
    seen.append(journal.path.read_bytes())
    resumed.finish()
    seen.append(journal.path.read_bytes())
    for before, after in itertools.pairwise(seen):
        assert after.startswith(before)
    assert len(seen[-1]) > len(seen[0])


def test_a_results_file_has_its_name_only_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, rename = [], os.rename

    def watched(source, target, **how) -> None:
        named.append((Path(target), Path(source).read_bytes()))
        assert not Path(target).exists()
        rename(source, target, **how)

    monkeypatch.setattr(os, "rename", watched)
    with Journal.create(tmp_path, planned_run()) as journal:
        pass
    ((path, content),) = named
    assert path == journal.path
    assert json.loads(content)["kind"] == "header"
    assert content.endswith(b"\n")


# criterion.rs documents a noise threshold of 2 % and has one of 1 %.


def test_the_margin_of_the_documents_is_that_of_the_code() -> None:
    assert GateRule().margin == DEFAULT_MARGIN
    percent = f"{DEFAULT_MARGIN:.0%}".replace("%", " %")
    method = " ".join((DOCS / "measuring-method.md").read_text(encoding="utf-8").split())
    assert f"the whole 95 % interval lies beyond {percent}" in method
    assert f"the whole 90 % interval lies within {percent}" in method
    just_within, just_beyond = (math.log1p(DEFAULT_MARGIN) * factor for factor in (0.99, 1.01))
    assert judge([just_within] * 12).verdict is Verdict.SAME
    assert judge([just_beyond] * 12).verdict is Verdict.SLOWER


# nvbench's first compare script calls a change whatever exceeds the smaller of the two noises.


def test_a_quiet_arm_does_not_vouch_for_a_noisy_one() -> None:
    def draw(rng: np.random.Generator) -> tuple[ArmResult, ArmResult]:
        quiet = [[each] for each in np.exp(rng.normal(0, 0.001, ROUNDS))]
        noisy = [[each] for each in np.exp(rng.normal(0, 0.08, ROUNDS))]
        return timed_arm("noisy", noisy), timed_arm("quiet", quiet)

    assert false_alarms(draw) <= MOST_FALSE


# The same script failed also where everything had become faster.


@given(
    gains=st.lists(st.floats(0, 3), min_size=12, max_size=40),
    margin=st.floats(0, 0.2),
)
@settings(deadline=None)
def test_what_became_faster_never_fails_the_gate(gains: list[float], margin: float) -> None:
    rule = GateRule(margin=margin)
    faster = {"case": [-gain for gain in gains]}
    assert candidates(faster, rule) == []
    assert not confirm(faster, rule)["case"].regressed
    assert judge(faster["case"], margin).verdict is not Verdict.SLOWER


def test_a_clear_gain_is_settled_by_the_screen() -> None:
    assert judge([-0.3 - n / 1e4 for n in range(12)]).verdict is Verdict.FASTER


# Google's compare.py prints in green what differs, better or worse, and in red what does not.


@pytest.mark.parametrize("arguments", [["show"], ["doctor"], ["list"], ["show", "nowhere"]])
def test_colour_adds_nothing_to_the_words(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchctl.doctor import checks
    from benchctl.doctor.check import Check

    found = [
        Check("a", "ok", "fine"),
        Check("b", "warn", "so so", "mend"),
        Check("c", "missing", "no"),
    ]
    monkeypatch.setattr(checks, "run_checks", lambda store: found)
    write_run(tmp_path, record_of())
    place = [] if arguments == ["list"] else ["--store", str(tmp_path)]
    coloured = CliRunner().invoke(main, [*arguments, *place], color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    plain = CliRunner().invoke(main, [*arguments, *place], color=True)
    assert "\x1b" not in plain.output
    assert click.unstyle(coloured.output) == plain.output


def test_better_and_worse_are_two_words() -> None:
    """Each verdict has a word of its own on every line that has one."""
    from benchctl.report.comparison import SYMBOLS
    from benchctl.report.sentences import relative_words

    quick, slow = ([[factor * (1 + n / 1e4)] for n in range(ROUNDS)] for factor in (1.0, 2.0))
    arms = timed_arm("quick", quick), timed_arm("slow", slow)
    assert relative_words(relative_of(*arms)) == "2.00x faster"
    assert relative_words(relative_of(*reversed(arms))) == "2.00x slower"
    assert len(set(SYMBOLS.values())) == len(SYMBOLS) == len(Verdict)


def show(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["show", *arguments, "--store", str(store)])
