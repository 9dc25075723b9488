"""The chart of ratios: every case at its place, with its verdict, whatever the ratios are."""

from __future__ import annotations

import math

import pytest
from gate_runs import CASES, FakeMachine, screen_plan, scripted_gate
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchctl.compare.pairs import compare_rounds
from benchctl.report.charts.files import svg_text
from benchctl.report.charts.ratios import MOST_ROWS, draw_comparison, draw_gate


def points(figure) -> dict[int, float]:
    """The single points of a chart: place -> ratio."""
    (axes,) = figure.axes
    lines = [line for line in axes.lines if line.get_marker() not in ("None", None, "")]
    return {round(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in lines}


@pytest.mark.parametrize("ratio", [0.3, 0.9, 1.0, 1.05, 1.3, 8.0])
def test_a_case_lies_at_its_ratio_within_the_axes(ratio):
    result = scripted_gate(ratios={CASES[0]: ratio})
    figure = draw_gate(result, [])
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    for place, case in enumerate(result.cases):
        assert points(figure)[place] == pytest.approx(math.exp(case.estimate))
        assert low < points(figure)[place] < high
        name = axes.get_yticklabels()[place].get_text()
        size = case.key[0].partition("size=")[2].partition(",")[0]
        assert name == f"xyz[size={size}] numpy"


def test_the_verdict_is_the_headline_and_the_marks_are_explained():
    figure = draw_gate(scripted_gate(ratios={CASES[0]: 1.2}), [])
    text = svg_text(figure, "test")
    assert "REGRESSION" in text
    labels = {each.get_text() for legend in figure.legends for each in legend.get_texts()}
    assert {"slower", "same", "margin 0.02"} <= labels and "faster" not in labels


def test_a_comparison_has_a_row_a_pair():
    run = FakeMachine({CASES[1]: 0.5})(screen_plan())
    figure = draw_comparison(compare_rounds(run, "old", "new"))
    assert "time of new / time of old" in figure.axes[0].get_xlabel()
    assert len(points(figure)) == len(run.cases)


def test_what_nobody_measured_has_no_chart():
    result = scripted_gate(statuses={"numpy~head": "wrong"})
    assert draw_gate(result, []) is None


def test_a_long_comparison_is_cut_and_says_so():
    sizes = tuple(f"{n}x{n}" for n in range(2, MOST_ROWS + 12))
    run = FakeMachine()(screen_plan(sizes=sizes))
    figure = draw_comparison(compare_rounds(run, "old", "new"))
    assert len(points(figure)) == MOST_ROWS
    assert "more cases are not drawn" in figure.axes[0].get_xlabel()
