"""Tables line up in terminal cells, and a run's text says what the record holds."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_factory import (
    EAGER,
    NUMPY,
    STATIC,
    FakeArm,
    make_case,
    make_run,
    wrong,
)
from rich.cells import cell_len

from benchctl.compare.summary import summarise
from benchctl.report.csv import run_csv
from benchctl.report.markdown import run_markdown, table_markdown
from benchctl.report.results import compact_table, result_table
from benchctl.report.table import Column, Table, align, render_table
from benchctl.report.text import checking_lines, run_lines

words = st.text(st.sampled_from("abc 1.x漢字é|*－"), max_size=8).map(str.strip)


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=5))
def test_cells_of_a_column_start_or_end_at_one_place(rows: list[tuple[str, str, str]]) -> None:
    columns = (Column("left", align_right=False), Column("mid"), Column("right"))
    lines = render_table(Table(columns, tuple(rows)))
    # The last column is right-aligned: every line that is filled to the end has the same width,
    # measured by another library.
    ends = {
        cell_len(line)
        for line, row in zip(lines, (("left", "mid", "right"), *rows), strict=True)
        if row[2]
    }
    assert len(ends) == 1
    assert all(line == line.rstrip() for line in lines)


@given(words, st.integers(min_value=0, max_value=20))
def test_alignment_fills_to_the_width(text: str, width: int) -> None:
    assert cell_len(align(text, width, right=True)) == max(width, cell_len(text))
    assert align(text, width, right=False).startswith(text)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 cells"):
        Table((Column("a"),), (("1", "2"),))


def test_result_table_names_the_reference_and_the_cached_compile() -> None:
    table = result_table(summarise(make_run()).cases[0])
    titles = [column.title for column in table.columns]
    assert titles[:6] == ["engine", "import", "build", "compile", "first run", "step"]
    by_engine = {row[0]: dict(zip(titles, row, strict=True)) for row in table.rows}
    assert list(by_engine) == ["static", "numpy", "eager"]  # fastest first
    assert by_engine["numpy"]["vs numpy"] == "reference"
    assert by_engine["static"]["vs numpy"].endswith("x faster")
    assert by_engine["eager"]["vs numpy"].endswith("x slower")
    assert by_engine["static"]["compile"] == "0.40 s*"
    assert by_engine["eager"]["compile"].strip() == "-"  # 0.2 us is no compilation
    assert by_engine["static"]["memory"] == "1.3 MB"
    assert table.notes == ("* cold; 12 ms when cached",)


def test_memory_of_a_card_has_a_column_where_some_arm_tells_it() -> None:
    run = make_run()
    (case,) = run.cases
    first, *others = case.arms
    told = dataclasses.replace(first, memory=dataclasses.replace(first.memory, on_device=3 * 10**9))
    case = dataclasses.replace(case, arms=(told, *others))
    table = result_table(summarise(dataclasses.replace(run, cases=(case,))).cases[0])
    assert table.columns[-1].title == "card memory"
    assert {row[0]: row[-1] for row in table.rows} == {
        first.arm.id: "3.0 GB",
        **{arm.arm.id: "-" for arm in others},
    }
    titles = [column.title for column in result_table(summarise(run).cases[0]).columns]
    assert "card memory" not in titles


def test_columns_share_one_unit() -> None:
    table = result_table(summarise(make_run()).cases[0])
    for place, column in enumerate(table.columns):
        if column.title in ("import", "build", "compile", "first run", "step", "memory"):
            cells = [row[place].strip(" *") for row in table.rows]
            units = {cell.split()[1] for cell in cells if cell != "-"}
            assert len(units) == 1, column.title


def test_text_of_a_run_says_winner_payback_and_checks() -> None:
    text = "\n".join(run_lines(summarise(make_run())))
    assert "Test CPU, 2 threads, OpenBLAS 0.3 Test" in text
    assert "static ok 2e-8" in text
    assert "static is 2.3" in text and "faster than numpy." in text
    assert "static pays back its preparation after 1" in text
    assert "with a warm cache" in text


def test_payback_count_is_that_of_the_times() -> None:
    summary = summarise(make_run(spread=1e-6)).cases[0]
    assert summary.payback is not None
    # 0.401 s once more than numpy, 2.5 us won a step.
    assert summary.payback.cold_steps == pytest.approx(0.40099 / 2.5e-6, rel=0.01)


def test_wrong_results_are_named_with_what_they_equal() -> None:
    text = "\n".join(run_lines(summarise(make_run(arms=(STATIC, wrong("numpy"))))))
    assert (
        "wrong: numpy grad_x differs from the float64 reference by 3.1 (tolerance 1e-6); "
        "it equals grad_y of x*y + z" in text
    )
    assert "wrong: numpy c " not in text  # that output was right


def test_outputs_that_differ_by_no_number_are_told_in_words() -> None:
    message = "output c is missing (received grad_x)"
    missing = dataclasses.replace(wrong("numpy", ""), error=math.inf, message=message)
    text = "\n".join(run_lines(summarise(make_run(arms=(STATIC, missing)))))
    assert f"wrong result: numpy: {message}" in text
    assert "differs" not in text


def test_failures_give_reason_and_hint() -> None:
    crashed = FakeArm("eager", status="crashed", message="killed by SIGKILL", hint="free memory")
    text = "\n".join(run_lines(summarise(make_run(arms=(STATIC, NUMPY, crashed)))))
    assert "crashed: eager: killed by SIGKILL" in text
    assert "free memory" in text


def test_equal_arms_have_no_winner_in_words() -> None:
    twins = (FakeArm("numpy", 1e-3), FakeArm("eager", 1e-3))
    summary = summarise(make_run(arms=twins, spread=0.02, seed=3))
    winner = summary.cases[0].winner
    assert winner is not None and not winner.significant
    text = "\n".join(run_lines(summary))
    assert f"No difference is shown between {winner.arm_id} and {winner.over_id}" in text
    assert "faster" not in text and "slower" not in text


def test_few_rounds_are_said_to_be_few_and_not_to_show_equality() -> None:
    arms = (FakeArm("static", 1e-3), FakeArm("eager", 2e-3), FakeArm("numpy", 4e-3))
    # Six rounds give each pair an interval, but two pairs need seven.
    for rounds in (3, 6):
        summary = summarise(make_run(arms=arms, rounds=rounds))
        text = "\n".join(run_lines(summary))
        assert "static came out about 4" in text
        assert "faster than numpy, from too few rounds to be sure." in text
        assert "No difference" not in text
        assert f"static, eager, numpy: {rounds} rounds are too few" in text


def test_arms_that_failed_alike_are_told_once() -> None:
    alike = [
        FakeArm(name, status="crashed", message="no reference\n  at mine.py:3")
        for name in ("static", "eager")
    ]
    text = run_lines(summarise(make_run(arms=(*alike, NUMPY))))
    place = text.index("  crashed: static, eager: no reference")
    assert text[place + 1].strip() == "at mine.py:3"
    assert sum("no reference" in line for line in text) == 1


def test_warnings_with_one_remedy_share_it() -> None:
    text = "\n".join(run_lines(summarise(make_run(spread=0.4))))
    assert text.count("varies by") == 3
    assert text.count("close other programs, or measure more rounds") == 1


def test_many_cases_make_one_compact_table() -> None:
    cases = [make_case(expression="product", size=f"{n}x{n}") for n in (3, 10, 100, 1000)]
    summary = summarise(make_run(cases, scale={cases[3].id: 1e5}))
    table = compact_table(summary.cases, ["static", "numpy", "eager"])
    assert [column.title for column in table.columns] == [
        "size",
        "static",
        "numpy",
        "eager",
        "fastest",
    ]
    assert [row[0] for row in table.rows] == ["3x3", "10x10", "100x100", "1000x1000"]
    assert table.rows[0][1].endswith(" us") and table.rows[3][1].endswith(" s")
    text = "\n".join(run_lines(summary))
    assert text.count("engine") == 0
    assert "\n".join(run_lines(summary, full=True)).count("engine ") == 4


def test_markdown_rows_are_one_line_and_escaped() -> None:
    table = Table((Column("a|b", align_right=False), Column("*")), (("x|y", "<1>"),), ("* note",))
    lines = table_markdown(table)
    assert lines[0] == "| a\\|b | \\* |"
    assert lines[1] == "| :--- | ---: |"
    assert lines[2] == "| x\\|y | \\<1\\> |"
    document = run_markdown(summarise(make_run(arms=(STATIC, wrong("numpy"), EAGER))))
    assert any("it equals grad\\_y of x\\*y + z" in line for line in document)


def test_csv_has_a_row_for_every_arm_and_reads_back() -> None:
    import csv

    run = make_run([make_case(), make_case(expression="multiply_add", size="3x4")])
    summary = summarise(run)
    rows = list(csv.DictReader(run_csv(summary)))
    assert len(rows) == 6
    first = next(row for row in rows if row["arm"] == "static")
    static = summary.cases[0].arm("static")
    assert static is not None
    assert float(first["median_seconds"]) == static.median_seconds
    assert first["axis:expression"] == "product"
    assert first["verdict"] == "faster"
    assert float(first["compile_warm_seconds"]) == 0.012


def test_what_many_engines_were_found_to_be_is_told_in_lines_that_fit() -> None:
    few = ["static ok 5e-8", "numpy wrong"]
    assert checking_lines(few) == ["  checking   static ok 5e-8   numpy wrong      against float64"]
    many = [f"engine-{number} ok 5e-8" for number in range(40)]
    lines = checking_lines(many)
    assert max(map(len, lines)) <= 100 + len("      against float64") and len(lines) > 5
    assert all(line.startswith(" " * len("  checking   ")) for line in lines[1:])
    words = " ".join(lines).removesuffix("against float64").split()
    assert words == ["checking", *" ".join(many).split()]


def test_text_never_ends_lines_in_spaces() -> None:
    incomplete = dataclasses.replace(make_run(arms=(STATIC, wrong("numpy"))), complete=False)
    lines = "\n".join(run_lines(summarise(incomplete))).splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert any("warning: the run did not finish" in line for line in lines)
