"""The share of preparing that hides: planted times come back, and the chart says no more."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import engines, make_arm, make_case, make_run, xyz_cases

from benchctl.compare.overlap import Timing, hidden_share
from benchctl.plan.cases import expand_cases, parse_axes
from benchctl.report.build import draw_charts
from benchctl.report.charts import overlap
from benchctl.report.charts.chart import Chart, MissingChart
from benchctl.report.published import load_published
from benchctl.report.views import make_views
from benchctl.store.record import CaseResult

PUBLISHED = load_published()
STEP, PREPARING = 4e-3, 3e-3
HIDDEN = {"numpy": 0.8, "python": -0.5}


@given(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0), st.floats(-1.0, 1.0), st.floats(0, 0.2))
def test_a_planted_share_is_found_and_lies_in_its_interval(step, preparing, share, spread):
    def timing(seconds: float) -> Timing:
        return Timing(seconds, (seconds * (1 - spread), seconds * (1 + spread)))

    together = step + preparing * (1 - share)
    found = hidden_share(timing(step), timing(step + preparing), timing(together))
    apart = (step + preparing) * (1 - spread) > step * (1 + spread)
    assert (found is not None) == apart
    if found is not None and found.interval is not None:
        assert found.share == pytest.approx(share, abs=1e-6 * (1 + step / preparing))
        assert found.interval[0] <= found.share <= found.interval[1]
    exact = hidden_share(Timing(step), Timing(step + preparing), timing(together))
    assert exact is None or exact.interval is None


def pipeline_run(prefetches=(0, 2), rounds=20):
    arms = engines("static", "numpy")
    cases = []
    for prepare in ("none", *HIDDEN):
        for prefetch in prefetches:
            parameters = {"prepare": prepare, "prefetch": prefetch, "side": 112, "width": 64}
            case = make_case("input_pipeline", parameters, step="training")
            waited = 0.0 if prepare == "none" else PREPARING
            if prefetch:
                waited *= 1 - HIDDEN.get(prepare, 0.0)
            measured = [
                make_arm(arm, STEP + waited, spread=0.001, rounds=rounds, seed=case.id)
                for arm in arms
            ]
            cases.append(CaseResult(case, tuple(measured)))
    return make_run([*cases, *xyz_cases(arms, ["3x4"])], arms)


def drawn(run):
    (view,) = make_views([run])
    return {each.name: each for each in draw_charts(view, PUBLISHED)}


def test_the_chart_says_how_much_hides():
    chart = drawn(pipeline_run())["overlap"]
    assert isinstance(chart, Chart)
    found = {(row[0], row[1].split(",")[0]): row[-1] for row in chart.table.rows}
    assert set(found) == {(arm, way) for arm in ("static", "numpy") for way in HIDDEN}
    for (_, prepare), words in found.items():
        assert int(words.split(" %")[0]) == pytest.approx(100 * HIDDEN[prepare], abs=2)
        assert "(" in words
    assert "of preparing hides behind the step" in chart.headline
    assert chart.headline.count(";") == 1 and "python, 112x112, 2 ahead" in chart.headline
    assert chart.runs


def test_few_rounds_give_a_share_without_an_interval():
    chart = drawn(pipeline_run(rounds=3))["overlap"]
    assert isinstance(chart, Chart) and all("about" in row[-1] for row in chart.table.rows)


def test_without_the_step_on_ready_batches_a_command_is_named():
    chart = drawn(pipeline_run(prefetches=(2,)))["overlap"]
    assert isinstance(chart, MissingChart)
    program, verb, workload, *rest = shlex.split(chart.command)
    assert (program, verb) == ("benchctl", "run")
    axes = parse_axes(rest[1::2])
    assert {case.parameters["prepare"] for case in expand_cases(workload, axes)} == {
        "none",
        *HIDDEN,
    }


def test_who_never_ran_a_pipeline_is_not_told_of_it():
    arms = engines("static", "numpy")
    assert overlap.NAME not in drawn(make_run(xyz_cases(arms, ["3x4"]), arms))
