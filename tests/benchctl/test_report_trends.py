"""Trends on the page: what is drawn, written and listed must follow from the stored runs."""

from __future__ import annotations

import math
import re
import statistics

import pytest
from history_records import (
    LARGE,
    NUMPY,
    SMALL,
    STATIC,
    day_run,
    history_runs,
    step_at,
    write_history,
)
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from record_factory import make_case

from benchctl.history.acknowledgements import (
    acknowledge,
    load_acknowledgements,
    record_acknowledgements,
)
from benchctl.history.changes import State
from benchctl.history.overview import make_history
from benchctl.report.build import write_pictures
from benchctl.report.charts import style, trend
from benchctl.report.charts.chart import Chart
from benchctl.report.charts.inline import inline_svg
from benchctl.report.charts.style import FOOT_ID, HEADLINE_ID
from benchctl.report.html import render_page
from benchctl.report.trends import effect_words, trend_sections
from benchctl.report.views import make_views

HERE = ("0123456789ab", 2)


def only_chart(runs, *decisions) -> Chart:
    sections = trend_sections(runs, decisions)
    assert list(sections) == [HERE]
    (chart,) = sections[HERE]
    return chart


@pytest.fixture(scope="module")
def runs():
    return history_runs(24, step_at(12, 1.2, arm="static"), cases=(SMALL, LARGE))


@pytest.fixture(scope="module")
def chart(runs) -> Chart:
    return only_chart(runs)


def column(chart: Chart, title: str) -> list[str]:
    place = [each.title for each in chart.table.columns].index(title)
    return [row[place] for row in chart.table.rows]


def shown_panels(chart: Chart):
    return [axes for axes in chart.figure.axes if axes.get_visible()]


def test_a_panel_for_each_series_those_with_changes_first(chart) -> None:
    titles = [axes._left_title.get_text() for axes in shown_panels(chart)]
    assert titles == [
        "static, size 3x4",
        "static, size 64x64",
        "numpy, size 3x4",
        "numpy, size 64x64",
    ]


def test_every_point_is_drawn_at_its_time(runs, chart) -> None:
    history = make_history(runs)
    drawn = sorted(
        tuple(line.get_ydata())
        for axes in shown_panels(chart)
        for line in axes.lines
        if len(line.get_ydata()) == 24
    )
    expected = sorted(
        tuple(math.exp(point.log_seconds) for point in each.series.points)
        for each in history.series
    )
    assert [list(each) for each in drawn] == [pytest.approx(each) for each in expected]


def test_no_line_and_no_band_crosses_an_event() -> None:
    runs = [day_run(day, machine={"cpu": "New" if day >= 4 else "Old"}) for day in range(9)]
    for axes in shown_panels(only_chart(runs)):
        lengths = [len(line.get_xdata()) for line in axes.lines if line.get_marker() != "None"]
        assert lengths == [4, 5]
        assert len(axes.collections) == 2


def test_the_table_has_a_row_a_level(runs, chart) -> None:
    assert len(chart.table.rows) == 6
    assert column(chart, "arm") == ["static", "static", "numpy", "static", "static", "numpy"]
    counts = [int(count) for count in column(chart, "runs")]
    assert counts[0] + counts[1] == counts[2] == 24
    changes = column(chart, "change")
    assert [bool(re.search(r"% \(.*\) slower since ", each)) for each in changes] == [
        False,
        True,
        False,
        False,
        True,
        False,
    ]
    assert column(chart, "state") == ["-", "confirmed", "-", "-", "confirmed", "-"]
    history = make_history(runs)
    values = [math.exp(point.log_seconds) for point in history.series[0].series.points]
    level = float(column(chart, "level")[0].removesuffix(" us"))
    assert level == pytest.approx(1e6 * statistics.median(values[: counts[0]]), rel=2e-2)


def test_the_headline_says_what_became_slower_and_since_when(runs, chart) -> None:
    assert re.fullmatch(
        r"xyz: 2 of 4 series became slower, at most static: [\d.]+ % \(.*\) slower in \w+\.\.\w+",
        chart.headline,
    )
    quiet = only_chart(history_runs(24))
    assert quiet.headline == "xyz: no change is shown in 2 series"
    faster = only_chart(history_runs(24, step_at(12, 0.8, arm="static")))
    assert faster.headline == "xyz: 1 of 2 series became faster and none slower"
    suspected = only_chart(history_runs(18, step_at(16, 1.3, arm="static")))
    assert suspected.headline == "xyz: no change is confirmed in 2 series, 1 suspected"


def test_decisions_are_shown_with_their_reason(runs, tmp_path) -> None:
    change = make_history(runs).series[0].changes[0]
    decision = acknowledge(change, State.ACKNOWLEDGED, "more checks", "2026-02-01T00:00:00Z")
    record_acknowledgements(tmp_path, [decision])
    chart = only_chart(runs, *load_acknowledgements(tmp_path))
    assert column(chart, "state")[1] == "acknowledged: more checks"


def test_slower_and_faster_differ_without_colour() -> None:
    for factor, mark, word in ((1.2, "▲", "slower"), (0.8, "▼", "faster")):
        chart = only_chart(history_runs(24, step_at(12, factor, arm="static")))
        (text,) = [text.get_text() for axes in shown_panels(chart) for text in axes.texts]
        assert text.startswith(mark) and text.endswith(word)
    chart = only_chart(history_runs(18, step_at(16, 1.3, arm="static")))
    (text,) = [text.get_text() for axes in shown_panels(chart) for text in axes.texts]
    assert text.endswith("?")


def test_title_says_the_finding_and_foot_says_machine_dates_and_runs(runs, chart) -> None:
    texts = {text.get_gid(): text.get_text() for text in chart.figure.texts}
    assert texts[HEADLINE_ID].replace("\n", " ") == chart.headline
    foot = texts[FOOT_ID].replace("\n", " ")
    for word in ("Test CPU", "2026-01-05 to 2026-01-28", "and 23 more"):
        assert word in foot


def test_no_text_is_clipped_and_none_covers_the_title(chart) -> None:
    canvas = FigureCanvasAgg(chart.figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    page = chart.figure.bbox
    (title,) = [text for text in chart.figure.texts if text.get_gid() == HEADLINE_ID]
    for axes in shown_panels(chart):
        for text in [*axes.texts, axes._left_title, axes.yaxis.label, *axes.get_xticklabels()]:
            box = text.get_window_extent(renderer)
            assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1, text.get_text()
            assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1, text.get_text()
            assert not box.overlaps(title.get_window_extent(renderer)), text.get_text()


def test_pictures_are_the_same_bytes_for_the_same_runs_in_any_order(runs, tmp_path) -> None:
    pictures = []
    for place, given_runs in enumerate((runs, list(reversed(runs)))):
        folder = tmp_path / str(place)
        folder.mkdir()
        chart = only_chart(given_runs)
        png, svg = write_pictures(chart, folder, chart.name)
        pictures.append((png.read_bytes(), svg.read_bytes()))
    assert pictures[0] == pictures[1]


def test_a_chart_can_stand_in_the_page(chart) -> None:
    svg = inline_svg(chart.figure, chart.name, chart.headline, chart.description)
    assert 'id="trend-xyz-title"' in svg and style.INK not in svg


def test_the_page_shows_the_finding_the_picture_and_its_table(runs, chart) -> None:
    (view,) = make_views(runs)
    text = render_page([(view, (chart,))], embed_records=False)
    section = text.split('<section id="section-trend-xyz"')[1].split("</section>")[0]
    assert f'<p class="finding">{chart.headline}.</p>' in section
    assert section.count("<svg") == section.count("<table>") == 1
    assert section.count("<tr>") == 1 + len(chart.table.rows)


def test_what_was_measured_once_has_no_trend() -> None:
    assert trend_sections([]) == {}
    assert trend_sections([day_run(0)]) == {}
    assert trend_sections([day_run(0), day_run(1, complete=False)]) == {}
    mixed = [day_run(0), day_run(1, arms=(STATIC,))]
    assert len(shown_panels(only_chart(mixed))) == 1


def test_machines_and_workloads_have_charts_of_their_own() -> None:
    other = make_case("heads", head="fc")
    runs = [day_run(day, cases=(SMALL, other)) for day in range(3)]
    runs += [day_run(day, machine={"id": "elsewhere"}, minute=5) for day in range(3)]
    sections = trend_sections(runs)
    names = {machine: [chart.name for chart in charts] for machine, charts in sections.items()}
    assert names == {HERE: ["trend-xyz", "trend-heads"], ("elsewhere", 2): ["trend-xyz"]}
    assert {len(chart.runs) for charts in sections.values() for chart in charts} == {3}


def test_files_of_the_same_name_have_pictures_of_their_own() -> None:
    files = [make_case(f"{folder}/Mine.py", size=1) for folder in ("a", "b")]
    charts = trend_sections([day_run(day, cases=files) for day in range(2)])[HERE]
    assert [chart.name for chart in charts] == ["trend-mine", "trend-mine-2"]
    assert trend.chart_name("///") == "trend-workload"


def test_of_many_series_those_without_a_change_are_left_to_the_table() -> None:
    cases = [make_case(size=f"{n}x{n}") for n in range(1, 31)]
    runs = [day_run(day, cases=cases, arms=(NUMPY,), rounds=1) for day in range(2)]
    chart = only_chart(runs)
    assert len(shown_panels(chart)) == trend.MOST_PANELS
    assert len(chart.table.rows) == 30
    assert any(note.startswith("6 further series") for note in chart.notes)


def test_a_lone_point_between_events_is_drawn() -> None:
    machines = ["A", "B", "C", "C"]
    runs = [day_run(day, machine={"cpu": cpu}) for day, cpu in enumerate(machines)]
    for axes in shown_panels(only_chart(runs)):
        lengths = [len(line.get_xdata()) for line in axes.lines if line.get_marker() != "None"]
        assert lengths == [1, 1, 2]


def test_arms_keep_the_looks_of_the_other_charts(chart) -> None:
    for axes in shown_panels(chart):
        arm = axes._left_title.get_text().partition(",")[0]
        (points,) = [line for line in axes.lines if len(line.get_xdata()) == 24]
        assert points.get_color() == style.arm_looks([arm])[arm].color


@given(
    st.floats(-2, 2).filter(lambda effect: abs(effect) > 1e-3),
    st.one_of(st.none(), st.floats(1e-4, 0.3)),
)
def test_words_of_an_effect_hold_the_number(effect: float, half: float | None) -> None:
    ends = (None, None) if half is None else (effect - half, effect + half)
    words = effect_words(effect, *ends)
    assert words.endswith("slower" if effect > 0 else "faster")
    assert words.startswith("about ") is (half is None)
    shown = float(re.search(r"[\d.]+", words)[0])  # type: ignore[index]
    if "x" in words:
        assert shown == pytest.approx(math.exp(abs(effect)), rel=0.25)
    else:
        percent = 100 * abs(math.exp(effect) - 1)
        assert shown == pytest.approx(percent, rel=0.5, abs=0.6)


def test_words_of_an_effect_read_well() -> None:
    assert effect_words(math.log(1.052), math.log(1.046), math.log(1.059)) == (
        "5.2 % (4.6 - 5.9) slower"
    )
    assert effect_words(math.log(0.9), math.log(0.89), math.log(0.91)) == "10 % (9 - 11) faster"
    assert effect_words(math.log(2.3), math.log(2.2), math.log(2.4)) == "2.3x (2.2 - 2.4) slower"
    assert effect_words(-math.log(2.3)) == "about 2.3x faster"
    assert effect_words(math.log(1.05)) == "about 5.0 % slower"


def test_runs_from_files_have_the_same_levels(runs, chart, tmp_path) -> None:
    """A file holds whole nanoseconds of a loop, so that the last digits may differ."""
    again = only_chart(write_history(tmp_path, runs))
    assert len(again.table.rows) == len(chart.table.rows)
    assert column(again, "from") == column(chart, "from")
