"""Frameworks beside our engines: never in the same table, and compared with the static engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_records import engines, make_run, vgg_cases, xyz_cases

from benchctl.report.build import draw_charts
from benchctl.report.charts.chart import Chart, MissingChart
from benchctl.report.charts.peers import draw
from benchctl.report.peers import against_static, in_house
from benchctl.report.published import load_published
from benchctl.report.readme import END, ReadmeError, fill, make_source
from benchctl.report.views import make_views

ARMS = engines("static", "eager", "numpy", "torch", "jax")


def run_with(names=ARMS):
    return make_run([*xyz_cases(names), *vgg_cases(names)], names, suite="peers")


def chart_of(run) -> Chart | MissingChart:
    (view,) = make_views([run])
    drawn = draw_charts(view, load_published())
    return next(each for each in drawn if each.name == "peers")


def test_our_engines_stand_alone_in_the_other_charts():
    run = run_with()
    (view,) = make_views([run])
    ids = {arm.result.arm.id for case in view.cases for arm in case.arms()}
    assert ids == {"static", "eager", "numpy"}
    for drawn in draw_charts(view, load_published()):
        if drawn.name != "peers" and isinstance(drawn, Chart):
            # The published figures of PyTorch stay: whole cells and words are meant.
            titles = [column.title for column in drawn.table.columns]
            cells = [cell for row in (titles, *drawn.table.rows) for cell in row]
            assert not {"torch", "jax"} & {*cells, *drawn.headline.split()}


def test_everyone_is_compared_with_the_static_engine():
    (view,) = make_views([run_with()])
    assert {case.summary.reference_id for case in view.peers} == {"static"}
    assert len(view.peers) == len(run_with().cases)
    assert {arm.result.arm.id for arm in view.peers[0].arms()} == {arm.id for arm in ARMS}


def test_the_chart_has_a_row_for_every_arm_and_says_who_leads():
    chart = chart_of(run_with())
    assert isinstance(chart, Chart)
    run = run_with()
    assert len(chart.table.rows) == sum(len(case.arms) for case in run.cases)
    assert "faster than every framework in" in chart.headline


def test_a_case_that_a_framework_wins_is_named():
    names = engines("static", "torch")
    cases = xyz_cases(names, ("3x4", "32x32"))
    # Exchange what the two arms took in the second case.
    case = cases[1]
    first, second = case.arms
    swapped = (replace(first, rounds=second.rounds), replace(second, rounds=first.rounds))
    cases[1] = replace(case, arms=swapped)
    chart = chart_of(make_run(cases, names))
    assert isinstance(chart, Chart)
    assert "in 1 of 2 cases" in chart.headline
    assert "not in xyz 32x32" in chart.headline


def test_without_frameworks_nobody_is_asked_for_them():
    (view,) = make_views([make_run(xyz_cases(engines()), engines())])
    assert "peers" not in [each.name for each in draw_charts(view, load_published())]
    missing = draw(view, load_published())
    assert isinstance(missing, MissingChart)
    assert missing.command == "benchctl run peers"


def test_a_run_of_frameworks_alone_has_no_paradigm_table():
    names = engines("torch", "jax")
    run = make_run(xyz_cases(names), names)
    assert in_house(run).cases == ()
    assert against_static(run).cases == ()
    assert make_views([run]) == ()


def test_a_part_of_the_readme_can_come_from_the_run_with_frameworks():
    slides = make_run(xyz_cases(engines()), engines())
    source = make_source(slides, with_peers={"peers": run_with()})
    text = fill(f"<!-- table: xyz from=peers -->\n{END}\n", source)
    assert "| torch |" in text and "[peers.jsonl](results/reference/peers.jsonl)" in text
    assert fill(text, source) == text
    plain = fill(f"<!-- table: xyz -->\n{END}\n", source)
    assert "torch" not in plain and "slides.jsonl" in plain


def test_a_run_that_is_not_there_is_named():
    source = make_source(make_run(xyz_cases(engines()), engines()))
    with pytest.raises(ReadmeError, match=r"expected a committed run after from= \(none\)"):
        fill(f"<!-- table: xyz from=peers -->\n{END}\n", source)
