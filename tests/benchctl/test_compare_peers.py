"""Frameworks beside our engines: never in the same table, and compared with the static engine."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_records import engines, make_run, vgg_cases, xyz_cases

from benchctl.compare.peers import against_static, in_house
from benchctl.plan.interpreters import INTERPRETERS
from benchctl.report.build import draw_charts
from benchctl.report.charts.chart import Chart, MissingChart
from benchctl.report.charts.peers import draw
from benchctl.report.html import frameworks_table, measured_parts
from benchctl.report.published import load_published
from benchctl.report.readme import END, ReadmeError, fill, make_source
from benchctl.report.views import make_views
from benchctl.store.record import ArmSpec

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
    (view,) = make_views([run])
    assert view.cases == () and view.peers == ()
    assert len(view.implementations) == len(run.cases)
    (part,) = measured_parts(view)
    assert part.title.startswith("Implementation")


def test_the_two_tables_of_the_page_are_not_mixed():
    (view,) = make_views([run_with()])
    paradigm, implementation = measured_parts(view)
    assert {row[1] for row in paradigm.everything.rows} == {"static", "eager", "numpy"}
    assert {row[1] for row in implementation.everything.rows} == {arm.id for arm in ARMS}
    cases = run_with().cases
    assert len(paradigm.winners.rows) == len(implementation.winners.rows) == len(cases)
    for _, sentence in paradigm.winners.rows:
        assert not {"torch", "jax"} & {*sentence.strip(".").split()}
    for _, sentence in implementation.winners.rows:
        assert len({"torch", "jax"} & {*sentence.strip(".").split()}) == 1


def test_one_table_of_the_page_has_no_title():
    (view,) = make_views([make_run(xyz_cases(engines()), engines())])
    (part,) = measured_parts(view)
    assert part.title == ""
    assert frameworks_table(view.implementations) is None


def test_the_page_says_how_each_framework_ran_or_why_not():
    names = engines("static", "eager", "torch", "jax")
    (case,) = xyz_cases(names, ("3x4",))
    torch = replace(case.arms[2], notes=("oneDNN on", "inference_mode"), versions={"torch": "2.0"})
    jax = replace(case.arms[3], status="unavailable", message="no jax", hint="get it", rounds=())
    run = make_run([replace(case, arms=(*case.arms[:2], torch, jax))], names)
    (view,) = make_views([run])
    rows = frameworks_table(view.implementations).rows
    assert rows[0] == (
        "torch",
        "xyz, gradient",
        "torch 2.0",
        "asked for 2",
        "oneDNN on",
        "inference_mode",
    )
    assert rows[1][:3] == ("jax", "xyz, gradient", "n/a: no jax; get it")
    assert "" not in rows[1]


def test_a_measured_framework_is_not_displaced_by_a_run_that_lacked_it():
    old = run_with()
    lacking = tuple(
        replace(
            case,
            arms=tuple(
                replace(arm, status="unavailable", rounds=())
                if arm.arm.id in ("torch", "jax")
                else arm
                for arm in case.arms
            ),
        )
        for case in old.cases
    )
    new = replace(old, run_id="newer", started_utc="2027-01-01T00:00:00Z", cases=lacking)
    (view,) = make_views([old, new])
    assert {case.run.run_id for case in view.implementations} == {old.run_id}
    assert {case.run.run_id for case in view.cases} == {"newer"}


def test_the_records_of_the_page_are_the_whole_run():
    names = engines("static", "eager", "torch")
    alone = vgg_cases(engines("eager"))[:1]
    run = make_run([*xyz_cases(names, ("3x4",)), *alone], names)
    (view,) = make_views([run])
    assert view.runs() == (run,)


def test_a_framework_under_another_interpreter_counts_as_a_rival():
    names = (*engines("static"), ArmSpec("torch-old", "torch-old"))
    cases = xyz_cases(names, ("3x4",))
    first, second = cases[0].arms
    cases[0] = replace(
        cases[0],
        arms=(replace(first, rounds=second.rounds), replace(second, rounds=first.rounds)),
    )
    run = make_run(cases, names)
    told = {INTERPRETERS: {"torch-old": {"engine": "torch", "python": "/old/bin/python"}}}
    chart = chart_of(replace(run, plan=replace(run.plan, settings=told)))
    assert isinstance(chart, Chart)
    assert "in 0 of 1 cases" in chart.headline


def test_a_part_of_the_readme_can_come_from_the_run_with_frameworks():
    slides = make_run(xyz_cases(engines()), engines())
    source = make_source(slides, with_peers={"peers": run_with()})
    text = fill(f"<!-- table: xyz from=peers -->\n{END}\n", source)
    assert "| torch |" in text and "[peers.jsonl](results/reference/peers.jsonl)" in text
    assert fill(text, source) == text
    plain = fill(f"<!-- table: xyz -->\n{END}\n", source)
    assert "torch" not in plain and "slides.jsonl" in plain


def test_a_part_of_the_readme_says_how_the_frameworks_ran():
    source = make_source(
        make_run(xyz_cases(engines()), engines()), with_peers={"peers": run_with()}
    )
    text = fill(f"<!-- frameworks: xyz from=peers -->\n{END}\n", source)
    assert "| torch | numpy 2.4.0 | asked for 2 |" in text and "| jax |" in text
    with pytest.raises(ReadmeError, match="expected cases with a framework"):
        fill(f"<!-- frameworks: xyz -->\n{END}\n", source)


def test_a_run_that_is_not_there_is_named():
    source = make_source(make_run(xyz_cases(engines()), engines()))
    with pytest.raises(ReadmeError, match=r"expected a committed run after from= \(none\)"):
        fill(f"<!-- table: xyz from=peers -->\n{END}\n", source)
