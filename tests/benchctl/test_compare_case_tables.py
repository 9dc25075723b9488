"""Two tables of a case: no framework among our engines, everyone in the other, nobody left out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import EAGER, NUMPY, STATIC, FakeArm, make_case, make_run, wrong
from rich.cells import cell_len

from benchctl.compare import case_tables
from benchctl.compare.case_tables import (
    IMPLEMENTATION,
    PARADIGM,
    CaseTables,
    implementation_summary,
    tables_of_run,
)
from benchctl.compare.peers import peer_names
from benchctl.compare.summary import CaseSummary, summarise
from benchctl.plan.interpreters import INTERPRETERS
from benchctl.plan.schedule import FRAMEWORKS, build_plan
from benchctl.plan.suites import SuiteEntry
from benchctl.report.frameworks import TITLE, WIDTH, framework_lines, framework_table, frameworks_of
from benchctl.report.markdown import run_markdown
from benchctl.report.text import run_lines
from benchctl.stats.signed_rank import confidence_interval
from benchctl.store.record import Run

TORCH = FakeArm("torch", 43e-6)
JAX = FakeArm("jax", 13e-6)
MISSING_JAX = FakeArm(
    "jax", status="unavailable", message="jax is not installed", hint='pip install "benchctl[jax]"'
)
OURS = ("static", "static:entry=callable", "eager", "numpy", "reverse")
PEERS = ("torch", "jax", "ncnn")


def only_tables(run: Run) -> CaseTables:
    (tables,) = tables_of_run(summarise(run))
    return tables


def text_of(run: Run) -> str:
    return "\n".join(run_lines(summarise(run)))


def sections(lines: Sequence[str]) -> dict[str, list[str]]:
    """The first words of the rows below each title of a text, headings and sentences left out."""
    found: dict[str, list[str]] = {}
    rows: list[str] | None = None
    for line in lines:
        text = line.strip(" #")
        if text in (PARADIGM, IMPLEMENTATION):
            rows = found.setdefault(text, [])
        elif not text:
            # In Markdown an empty line stands between the title and the table.
            rows = rows if rows == [] else None
        elif rows is not None:
            rows.append(text.strip("| ").split(" ")[0].replace("\\", ""))
    return {title: each[1:] for title, each in found.items()}


def assert_never_mixed(lines: Sequence[str], run: Run) -> None:
    """The rows under each title are the arms that belong there, whatever made the lines."""
    peers = {arm.id for arm in run.plan.arms if arm.engine in peer_names(run)}
    everyone = {arm.id for arm in run.plan.arms}
    found = {
        title: {row for row in rows if row in everyone} for title, rows in sections(lines).items()
    }
    assert found.get(PARADIGM, everyone - peers) == everyone - peers
    assert found.get(IMPLEMENTATION, everyone) == everyone


# Which tables there are ----------------------------------------------------------------------

status = st.sampled_from(("ok", "ok", "ok", "unavailable", "wrong", "crashed"))


@st.composite
def arms(draw: st.DrawFn) -> list[FakeArm]:
    names = draw(st.permutations([*OURS, *PEERS]))[: draw(st.integers(1, 8))]
    seconds = st.floats(1e-6, 1e-4)
    return [
        FakeArm(name, draw(seconds), status=draw(status), message="no reason") for name in names
    ]


@settings(max_examples=60, deadline=None)
@given(arms())
def test_no_framework_is_ranked_among_ours_and_nobody_is_left_out(chosen: list[FakeArm]) -> None:
    run = make_run(arms=chosen, rounds=7)
    tables = only_tables(run)
    timed = {arm.id for arm in chosen if arm.status == "ok"}
    ours, peers = timed - set(PEERS), timed & set(PEERS)
    everyone = {arm.id for arm in chosen}
    assert tables.paradigm is not None or tables.implementation is not None
    if tables.paradigm is not None:
        assert {arm.result.arm.id for arm in tables.paradigm.arms} == everyone - set(PEERS)
        winner = tables.paradigm.winner
        assert winner is None or not {winner.arm_id, winner.over_id} & set(PEERS)
        assert tables.paradigm.reference_id not in PEERS
    if tables.implementation is not None:
        assert {arm.result.arm.id for arm in tables.implementation.arms} == everyone
        winner = tables.implementation.winner
        if ours and peers:
            assert winner is not None
            assert len({winner.arm_id, winner.over_id} & set(PEERS)) == 1
    # Two tables only where each has something to compare.
    assert (len(tables.named) == 2) == (len(ours) > 1 and bool(peers))
    lines = run_lines(summarise(run))
    assert_never_mixed(lines, run)
    assert_never_mixed(run_markdown(summarise(run)), run)
    for arm in chosen:
        assert any(arm.id in line for line in lines)


def test_a_run_of_our_engines_has_one_table_without_a_title() -> None:
    run = make_run()
    text = text_of(run)
    assert sections(text.splitlines()) == {}
    assert TITLE not in text
    assert text.count("engine ") == 1
    assert only_tables(run).paradigm == summarise(run).cases[0]


def test_one_of_ours_beside_frameworks_is_a_table_of_implementations() -> None:
    tables = only_tables(make_run(arms=(STATIC, TORCH, JAX)))
    assert [title for title, _ in tables.named] == [IMPLEMENTATION]


def test_frameworks_that_were_not_measured_leave_our_table_alone() -> None:
    run = make_run(arms=(STATIC, NUMPY, MISSING_JAX))
    assert sections(run_lines(summarise(run))) == {PARADIGM: ["static", "numpy", "*"]}


@pytest.mark.parametrize("swap", ["tables", "arms"])
def test_a_planted_mix_up_is_found(monkeypatch: pytest.MonkeyPatch, swap: str) -> None:
    run = make_run(arms=(STATIC, NUMPY, TORCH))
    assert_never_mixed(run_lines(summarise(run)), run)
    if swap == "tables":
        both = CaseTables.named.fget

        def exchanged(tables: CaseTables) -> tuple[tuple[str, CaseSummary], ...]:
            (first, one), (second, two) = both(tables)
            return (first, two), (second, one)

        monkeypatch.setattr(CaseTables, "named", property(exchanged))
    else:
        monkeypatch.setattr(case_tables, "is_peer", lambda arm, names: arm.arm.id == "numpy")
    with pytest.raises(AssertionError):
        assert_never_mixed(run_lines(summarise(run)), run)


@pytest.mark.parametrize(
    "told",
    [
        {INTERPRETERS: {"reverse": {"engine": "torch", "python": "/old/bin/python"}}},
        {FRAMEWORKS: ["reverse"]},
    ],
)
def test_a_framework_under_another_name_is_one_too(told: dict[str, object]) -> None:
    run = make_run(arms=(STATIC, NUMPY, FakeArm("reverse", 9e-6)))
    assert only_tables(run).implementation is None
    known = replace(run, plan=replace(run.plan, settings=told))
    assert "reverse" in only_tables(known).peers
    assert_never_mixed(run_lines(summarise(known)), known)


def test_a_plan_names_the_frameworks_in_it() -> None:
    entry = SuiteEntry("xyz", {"size": ("3x4",)})
    assert build_plan([entry], arms=["static", "torch", "jax"]).settings[FRAMEWORKS] == [
        "torch",
        "jax",
    ]
    assert FRAMEWORKS not in build_plan([entry]).settings


# Who wins ------------------------------------------------------------------------------------


def test_each_table_has_its_own_winner_with_an_interval() -> None:
    text = text_of(make_run(arms=(STATIC, NUMPY, EAGER, TORCH, JAX)))
    sentences = re.findall(
        r"^  (\S+) is ([\d.]+)x \(([\d.]+) - ([\d.]+)\) faster than (\S+)\.$", text, re.M
    )
    assert [(each[0], each[4]) for each in sentences] == [("static", "numpy"), ("static", "jax")]
    for (_, ratio, low, high, _), expected in zip(sentences, (4.4 / 1.9, 13 / 1.9), strict=True):
        assert float(low) <= float(ratio) <= float(high)
        assert float(ratio) == pytest.approx(expected, rel=0.05)


def test_the_interval_across_is_that_of_the_paired_rounds() -> None:
    run = make_run(arms=(NUMPY, STATIC, TORCH), rounds=12)
    winner = only_tables(run).implementation.winner
    by_id = {arm.arm.id: arm for arm in run.cases[0].arms}
    logs = [
        math.log(sorted(slow.seconds)[1] / sorted(fast.seconds)[1])
        for slow, fast in zip(by_id["torch"].rounds, by_id["static"].rounds, strict=True)
    ]
    low, high = confidence_interval(logs, 0.95)
    assert (winner.arm_id, winner.over_id) == ("static", "torch")
    assert (winner.low, winner.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert low < math.log(winner.ratio) < high


def test_a_framework_that_wins_is_named_over_the_fastest_of_ours() -> None:
    fast = FakeArm("torch", 0.5e-6)
    winner = only_tables(make_run(arms=(NUMPY, STATIC, EAGER, fast))).implementation.winner
    assert (winner.arm_id, winner.over_id) == ("torch", "static")
    assert winner.ratio == pytest.approx(1.9 / 0.5, rel=0.05)


def test_equal_sides_have_no_winner_in_words() -> None:
    twins = (FakeArm("static", 1e-3), FakeArm("numpy", 2e-3), FakeArm("torch", 1e-3))
    text = text_of(make_run(arms=twins, spread=0.02, seed=3))
    assert re.search("No difference is shown between (static and torch|torch and static)", text)


def test_everyone_is_compared_with_static_unless_a_framework_was_asked_for() -> None:
    run = make_run(arms=(STATIC, NUMPY, TORCH))
    assert run.plan.reference_arm == "numpy"
    assert only_tables(run).paradigm.reference_id == "numpy"
    assert only_tables(run).implementation.reference_id == "static"
    asked = replace(run, plan=replace(run.plan, reference_arm="torch"))
    assert only_tables(asked).implementation.reference_id == "torch"
    assert only_tables(asked).paradigm.reference_id == "static"
    assert not any("stands in" in notice.text for notice in only_tables(asked).warnings)


def test_warnings_are_said_once_and_ask_for_what_the_larger_table_needs() -> None:
    run = make_run(arms=(STATIC, NUMPY, TORCH, JAX), rounds=3)
    text = text_of(run)
    assert text.count("3 rounds are too few") == 1
    # Three comparisons need seven rounds; for the one among ours six would do.
    assert "measure at least 7 rounds" in text


# How the frameworks ran ----------------------------------------------------------------------


def with_notes(run: Run, notes: dict[str, tuple[str, ...]], place: int = 0) -> Run:
    """The run with notes of some arms in one of its cases."""
    cases = list(run.cases)
    arms = [
        replace(arm, notes=notes[arm.arm.id], versions={arm.arm.id: "1.2.3"})
        if arm.arm.id in notes
        else arm
        for arm in cases[place].arms
    ]
    cases[place] = replace(cases[place], arms=tuple(arms))
    return replace(run, cases=tuple(cases))


def facts(run: Run):
    summary = summarise(run)
    found = frameworks_of(run.plan, peer_names(run), summary.cases)
    return {each.arm_id: each for each in found}


def test_a_framework_tells_version_threads_backend_and_options() -> None:
    run = with_notes(
        make_run(arms=(STATIC, TORCH)), {"torch": ("oneDNN on", "channels_last", "inference_mode")}
    )
    torch = facts(run)["torch"]
    assert torch.versions == "torch 1.2.3"
    assert torch.threads == "asked for 2"
    assert torch.backend == "oneDNN on"
    assert torch.options == "channels_last; inference_mode"
    assert torch.absent == ()
    (row,) = framework_table([torch]).rows
    assert row == ("torch", "torch 1.2.3", "asked for 2", "oneDNN on", torch.options)


def test_switches_and_the_threads_it_counted_come_first() -> None:
    run = make_run(arms=(STATIC, TORCH))
    (case,) = run.cases
    arm = replace(case.arms[1], counts={"threads": 1}, notes=("a", "b"))
    arm = replace(arm, arm=replace(arm.arm, switches={"layout": "nchw"}))
    run = replace(run, cases=(replace(case, arms=(case.arms[0], arm)),))
    assert facts(run)["torch"].threads == "1 in use"
    assert facts(run)["torch"].options == "layout=nchw; b"


def test_what_was_not_recorded_is_said_to_be_so() -> None:
    run = make_run(arms=(STATIC, TORCH))
    (case,) = run.cases
    bare = replace(case.arms[1], kernels=(), versions={})
    run = replace(run, cases=(replace(case, arms=(case.arms[0], bare)),))
    torch = facts(run)["torch"]
    assert {torch.versions, torch.backend, torch.options} == {"none recorded"}
    assert "" not in framework_table([torch]).rows[0]


def test_without_a_reason_nothing_is_absent_and_with_one_it_is_told_in_words() -> None:
    run = make_run(arms=(STATIC, NUMPY, TORCH, MISSING_JAX))
    text = text_of(run)
    assert 'jax    n/a: jax is not installed; pip install "benchctl[jax]"' in text
    assert text.count("jax is not installed") == 1
    (row,) = [line for line in text.splitlines() if line.startswith("  jax") and " - " in line]
    assert "n/a" in row
    markdown = run_markdown(summarise(run))
    (told,) = [line for line in markdown if "is not installed" in line]
    assert told.startswith("| jax | n/a: jax is not installed")


def test_an_engine_of_ours_that_is_missing_has_its_reason_too() -> None:
    missing = FakeArm("eager", status="unavailable", message="no device", hint="buy one")
    text = text_of(make_run(arms=(STATIC, NUMPY, missing)))
    assert "n/a: eager: no device" in text and "buy one" in text


def test_what_holds_in_some_cases_says_in_which() -> None:
    cases = [make_case("vgg16", layout=layout, batch=1) for layout in ("NCHW", "NHWC")]
    run = make_run(cases, arms=(STATIC, TORCH))
    run = with_notes(run, {"torch": ("oneDNN on",)}, 0)
    run = with_notes(run, {"torch": ("oneDNN on", "channels_last")}, 1)
    assert facts(run)["torch"].backend == "oneDNN on"
    assert facts(run)["torch"].options == "channels_last (layout NHWC)"


def test_an_arm_that_was_not_planned_for_a_case_is_not_left_blank() -> None:
    sizes = [make_case("vgg16", layout=each, batch=n) for each in ("NCHW", "NHWC") for n in (1, 8)]
    run = make_run(sizes, arms=(STATIC, EAGER, TORCH, JAX))
    cases = tuple(
        replace(case, arms=case.arms[:3]) if case.case.parameters["layout"] == "NCHW" else case
        for case in run.cases
    )
    run = replace(run, cases=cases)
    text = text_of(run)
    assert "n/a: jax: not planned for layout NCHW" in text
    rows = [line for line in text.splitlines() if re.match(r"  NCHW +[18] ", line)]
    assert [row.count("n/a") for row in rows] == [0, 0, 1, 1]
    assert any("not planned for layout NCHW" in line for line in run_markdown(summarise(run)))
    assert text.count(TITLE) == 1
    winners = [case.winner for case in implementation_summary(run).cases]
    assert [winner.over_id for winner in winners] == ["torch", "torch", "jax", "jax"]


def test_many_cases_have_two_compact_tables() -> None:
    cases = [make_case(expression="product", size=f"{n}x{n}") for n in (3, 10, 100, 1000)]
    text = text_of(make_run(cases, arms=(STATIC, NUMPY, TORCH)))
    heads = [line.split() for line in text.splitlines() if line.startswith("  size")]
    assert heads == [
        ["size", "static", "numpy", "fastest"],
        ["size", "static", "numpy", "torch", "fastest"],
    ]
    assert len(re.findall("faster than numpy$", text, re.M)) == 4
    assert len(re.findall("faster than torch$", text, re.M)) == 4


words = st.text(st.sampled_from("abc, ;_é"), min_size=1, max_size=60).map(str.strip).filter(bool)


@settings(max_examples=40, deadline=None)
@given(st.lists(words, max_size=4), st.sampled_from(["torch", "onnxruntime", "torch-compile"]))
def test_the_block_fits_a_terminal_and_loses_no_word(notes: list[str], name: str) -> None:
    run = with_notes(make_run(arms=(STATIC, FakeArm(name))), {name: tuple(notes)})
    lines = framework_lines(list(facts(run).values()))
    shown = " ".join(" ".join(line.split()) for line in lines)
    for note in notes:
        assert all(word in shown for word in note.split())
    assert "of 1 cases" not in shown
    # Words are never cut: one that is too long stands alone.
    for line in lines:
        assert cell_len(line) <= WIDTH - 2 or len(line.split()) <= 2
    assert all(line == line.rstrip() for line in lines)


def test_a_wrong_framework_is_told_as_before_and_has_no_rank() -> None:
    run = make_run(arms=(STATIC, NUMPY, wrong("torch"), JAX))
    text = text_of(run)
    assert "wrong: torch grad_x differs" in text
    winner = only_tables(run).implementation.winner
    assert winner.over_id == "jax"
