"""Charts, findings and the demonstration page: what they say must follow from the records."""

from __future__ import annotations

import json
import math
import re
import shlex
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_records import (
    COLD,
    SIZES,
    engines,
    heads_cases,
    layout_cases,
    make_arm,
    make_case,
    make_run,
    slides_run,
    vgg_cases,
    xyz_cases,
)

from benchctl.measure.bandwidth import measure_copy_bandwidth
from benchctl.plan.cases import expand_cases, parse_axes
from benchctl.report.build import CHARTS, draw_charts
from benchctl.report.charts import gradient, layout, memory, phases, sizes, vgg
from benchctl.report.charts.chart import Chart, MissingChart
from benchctl.report.charts.files import svg_text, write_png
from benchctl.report.charts.style import FOOT_ID, HEADLINE_ID, arm_looks
from benchctl.report.demonstration import DemonstrationError, write_demonstration
from benchctl.report.findings import (
    crossings,
    pair_cases,
    payback_steps,
    size_sweep,
    time_ratio,
    winner,
)
from benchctl.report.published import PublishedError, load_published, published_path
from benchctl.report.views import make_views
from benchctl.report.wording import speedup_sentence
from benchctl.store.record import ArmSpec, CaseResult, Phases, Run

PUBLISHED = load_published()


def only_view(run: Run):
    (view,) = make_views([run])
    return view


@pytest.fixture(scope="module")
def charts() -> dict[str, Chart]:
    drawn = draw_charts(only_view(slides_run()), PUBLISHED)
    return {each.name: each for each in drawn if isinstance(each, Chart)}


def column(chart: Chart, title: str) -> dict[str, str]:
    """One column of a chart's table by the first cell of its row."""
    place = [each.title for each in chart.table.columns].index(title)
    return {row[0]: row[place] for row in chart.table.rows}


# What is drawn -------------------------------------------------------------------------------


def test_a_slides_run_fills_every_chart(charts):
    assert list(charts) == ["gradient", "phases", "sizes", "vgg16", "layout", "heads", "memory"]


@pytest.mark.parametrize("name", ["gradient", "phases", "sizes", "vgg16", "layout", "memory"])
def test_title_says_the_finding_and_foot_says_machine_date_and_run(charts, name):
    texts = {text.get_gid(): text.get_text() for text in charts[name].figure.texts}
    assert texts[HEADLINE_ID].replace("\n", " ") == charts[name].headline
    for word in ("Example 9000", "2 threads", "2026-11-23", "20261123T101500-3f2a9c1b-7d0e55aa"):
        assert word in texts[FOOT_ID].replace("\n", " ")


@pytest.mark.parametrize("name", ["gradient", "phases", "sizes", "vgg16", "layout", "heads"])
def test_no_text_is_clipped_and_none_covers_the_title(charts, name):
    figure = charts[name].figure
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    page = figure.bbox
    (title,) = [text for text in figure.texts if text.get_gid() == HEADLINE_ID]
    title_box = title.get_window_extent(renderer)
    for text in [each for axes in figure.axes for each in shown_texts(axes)]:
        box = text.get_window_extent(renderer)
        assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1, text.get_text()
        assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1, text.get_text()
        assert not box.overlaps(title_box), text.get_text()


def shown_texts(axes):
    """Titles, labels and annotations of a panel; of tick labels those inside the limits."""
    texts = [*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label]
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        low, high = sorted(limits)
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [each for each in texts if each.get_text() and each.get_visible()]


def test_arms_differ_without_colour():
    looks = arm_looks(["static", "static:entry=callable", "eager", "numpy", "torch", "jax"])
    marks = [(each.marker, each.hollow) for each in looks.values()]
    bars = [(each.hatch, each.hollow) for each in looks.values()]
    assert len(set(marks)) == len(set(bars)) == len(looks)


def test_pictures_are_the_same_bytes_for_the_same_data(tmp_path):
    pictures = []
    for place in range(2):
        chart = sizes.draw(only_view(slides_run()), PUBLISHED)
        path = tmp_path / f"{place}.png"
        write_png(chart.figure, path)
        pictures.append((path.read_bytes(), svg_text(chart.figure, "sizes")))
    assert pictures[0] == pictures[1]
    assert "<dc:date>" not in pictures[0][1]


def test_all_pictures_of_a_chart_have_its_parts_in_the_same_places(tmp_path):
    figure = sizes.draw(only_view(slides_run()), PUBLISHED).figure
    (axes,) = figure.axes
    before = axes.get_position().bounds
    svg_text(figure, "sizes", bare=True)
    places = [axes.get_position().bounds]
    write_png(figure, tmp_path / "sizes.png")
    places.append(axes.get_position().bounds)
    svg_text(figure, "sizes")
    assert before != places[0] and places == [axes.get_position().bounds] * 2


def test_drawing_leaves_pyplot_and_the_engines_alone():
    folder = Path(__file__).parent
    program = (
        "import sys, tempfile, pathlib\n"
        "from report_records import engines, make_run, xyz_cases\n"
        "from benchctl.report.build import build_report\n"
        "arms = engines('static', 'numpy')\n"
        "run = make_run(xyz_cases(arms, ['3x4', '32x32']), arms)\n"
        "build_report([run], pathlib.Path(tempfile.mkdtemp()))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'benchctl_engines.static' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# What is said --------------------------------------------------------------------------------


def test_gradient_table_holds_the_medians_and_the_published_figures(charts):
    run = slides_run()
    steps = column(charts["gradient"], "steady step")
    for arm in run.cases[0].arms:
        median = statistics.median(statistics.median(each.seconds) for each in arm.rounds)
        assert float(steps[arm.arm.id].removesuffix(" us")) == pytest.approx(1e6 * median, rel=2e-3)
    cold = column(charts["gradient"], "one cold run")
    assert cold["TensorFlow, static graph (GPU)"] == "46.684 ms"
    assert cold["PyTorch, eager (GPU)"] == "3.434 ms"
    assert cold["NumPy, gradient by hand (CPU)"] == "3.751 ms"
    # Build 1.2 ms, compile 400 ms, first run 0.02 ms; the 310 ms of import stay outside.
    assert cold["static"] == "0.40 s"


def test_headline_names_the_truly_faster_arm_whoever_it_is():
    arms = engines("static", "numpy")
    for slow in ("static", "numpy"):
        case = make_case("xyz", {"size": "3x4", "expression": "product"}, title="small")
        taken = [make_arm(arm, 8e-6 if arm.id == slow else 2e-6) for arm in arms]
        chart = gradient.draw(
            only_view(make_run([CaseResult(case, tuple(taken))], arms)), PUBLISHED
        )
        fast = "numpy" if slow == "static" else "static"
        found = re.match(rf"{fast} is ([\d.]+)x \(.*\) faster than {slow} at 3x4", chart.headline)
        assert found and float(found[1]) == pytest.approx(4, rel=0.02)


def test_equal_arms_are_not_said_to_differ():
    arms = engines("static", "numpy")
    case = make_case("xyz", {"size": "3x4", "expression": "product"})
    taken = tuple(make_arm(arm, 2e-6, seed="same") for arm in arms)
    chart = gradient.draw(only_view(make_run([CaseResult(case, taken)], arms)), PUBLISHED)
    assert chart.headline.startswith("No difference is shown between")


def test_vgg_rows_follow_the_slide_and_pytorch_is_answered_by_eager(charts):
    table = charts["vgg16"].table
    assert [row[2] for row in table.rows] == ["160 ms", "150 ms", "94 ms", "82 ms", "65 ms"]
    titles = [each.title for each in table.columns]
    last = dict(zip(titles, table.rows[-1], strict=True))
    assert last["static, measured"] == last["numpy, measured"] == "-"
    assert (
        last["eager, measured"] == dict(zip(titles, table.rows[3], strict=True))["eager, measured"]
    )


def test_memory_shows_each_mode_even_where_their_cases_differ():
    arms = engines("static", "numpy")
    inference = [each for each in vgg_cases(arms, 1) if each.case.step == "forward"]
    training = [each for each in vgg_cases(arms, 4) if each.case.step == "training"]
    chart = memory.draw(only_view(make_run([*inference, *training], arms)), PUBLISHED)
    cases = {row[1] for row in chart.table.rows}
    assert cases == {
        "inference, batch 1, images 224 x 224",
        "training, batch 4, images 224 x 224",
    }
    assert any("compare engines, not panels" in note for note in chart.notes)


def test_bandwidth_line_only_where_the_run_measured_it():
    with_line = sizes.draw(only_view(slides_run()), PUBLISHED)
    without = sizes.draw(only_view(slides_run(bandwidth=None)), PUBLISHED)
    # 4096 x 4096 float32: six arrays and a scalar at 12 GB/s.
    expected_ms = 1e3 * 4 * (6 * 4096**2 + 1) / 12e9
    shown = column(with_line, "at copy bandwidth")["4096x4096"]
    assert float(shown.removesuffix(" ms")) == pytest.approx(expected_ms, rel=0.02)
    assert "at copy bandwidth" not in [each.title for each in without.table.columns]
    assert any("left out" in note for note in without.notes)


def test_the_bandwidth_of_the_host_is_no_floor_of_a_gpu():
    on_gpu = ArmSpec("static@gpu/fp16", "static", device="gpu", precision="fp16")
    for arms, floor, words in (
        ((on_gpu, ArmSpec("eager@gpu", "eager", device="gpu")), False, "every arm is on a GPU"),
        ((on_gpu, ArmSpec("eager", "eager")), True, "no floor of arms on a GPU"),
    ):
        chart = sizes.draw(only_view(make_run(xyz_cases(arms), arms)), PUBLISHED)
        titles = [each.title for each in chart.table.columns]
        assert ("at copy bandwidth" in titles) is floor
        assert any(words in note for note in chart.notes)


def test_layout_counts_only_clear_differences(charts):
    faster = [row[-1] for row in charts["layout"].table.rows if row[0] == "conv2_1"]
    assert faster == ["not shown"] * 6
    assert {row[-1] for row in charts["layout"].table.rows if row[0] == "conv1_1"} == {"NHWC"}
    assert {row[-1] for row in charts["layout"].table.rows if row[0] == "conv5_3"} == {"NCHW"}


def test_phases_table_has_import_cold_and_warm(charts):
    rows = [row for row in charts["phases"].table.rows if row[0] == "static"]
    assert [(row[1], row[2], row[4]) for row in rows] == [
        ("cold", "0.31 s", "0.40 s"),
        ("warm", "0.30 s", "12 ms"),
    ]
    assert "static" in charts["phases"].headline and "56 % of it is compile" in (
        charts["phases"].headline
    )


def test_missing_measurements_name_a_command_that_is_valid():
    arms = engines("static", "numpy")
    view = only_view(make_run(xyz_cases(arms, ["10x10"]), arms))
    missing = [draw(view, PUBLISHED) for draw in CHARTS]
    assert all(isinstance(each, MissingChart) for each in missing)
    for each in missing:
        program, verb, workload, *rest = shlex.split(each.command)
        assert (program, verb) == ("benchctl", "run")
        assert set(rest[::2]) == {"-a"}
        assert expand_cases(workload, parse_axes(rest[1::2]))


# Findings ------------------------------------------------------------------------------------


def summaries(*seconds: float, rounds: int = 20):
    arms = tuple(ArmSpec(f"engine{place}", f"engine{place}") for place in range(len(seconds)))
    case = make_case("xyz", {"size": "3x4"})
    taken = tuple(
        make_arm(arm, each, rounds=rounds, phases=[Phases("cold", 0.1, 0.0, 0.0, 1e-4)])
        for arm, each in zip(arms, seconds, strict=True)
    )
    return only_view(make_run([CaseResult(case, taken)], arms)).cases[0].arms()


@settings(max_examples=40)
@given(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0))
def test_unpaired_ratio_lies_in_its_interval_and_turns_with_the_arms(one, two):
    first, second = summaries(one, two)
    ratio, (low, high) = time_ratio(first, second)
    turned, (turned_low, turned_high) = time_ratio(second, first)
    assert low <= ratio <= high
    assert ratio * turned == pytest.approx(1)
    assert low * turned_high == pytest.approx(1) and high * turned_low == pytest.approx(1)
    corners = [a / b for a in first.interval_seconds for b in second.interval_seconds]
    assert (low, high) == pytest.approx((min(corners), max(corners)))


def test_few_rounds_give_no_interval_and_no_claim():
    first, second = summaries(1e-3, 1.0, rounds=3)
    ratio, interval = time_ratio(first, second)
    assert ratio < 0.01 and interval is None
    assert payback_steps(first, second) is None


@settings(max_examples=40)
@given(st.floats(1e-4, 1e-2), st.floats(1.1, 5.0), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_payback_is_the_first_step_at_which_the_sums_have_crossed(step, factor, start, other_start):
    arms = engines("static", "numpy")
    case = make_case("xyz", {"size": "3x4"})
    taken = (
        make_arm(arms[0], step, phases=[Phases("cold", 0.3, 0.0, start, step)]),
        make_arm(arms[1], step * factor, phases=[Phases("cold", 0.1, None, other_start, step)]),
    )
    fast, slow = only_view(make_run([CaseResult(case, taken)], arms)).cases[0].arms()
    steps = payback_steps(fast, slow)
    gap = start - other_start
    gain = slow.median_seconds - fast.median_seconds

    def behind(n: int) -> float:
        return gap - (n - 1) * gain

    assert steps is not None and behind(steps) <= 1e-12
    assert steps == 1 or behind(steps - 1) > -1e-12


def sweep(overheads: dict[str, tuple[float, float]], sizes_measured=SIZES):
    arms = engines(*overheads)
    cases = []
    for size in sizes_measured:
        rows, columns = map(int, size.split("x"))
        case = make_case("xyz", {"expression": "product", "size": size}, bytes_moved=24)
        taken = tuple(
            make_arm(arm, overheads[arm.id][0] + overheads[arm.id][1] * rows * columns, seed=size)
            for arm in arms
        )
        cases.append(CaseResult(case, taken))
    return size_sweep(only_view(make_run(cases, arms)))


@settings(max_examples=25)
@given(st.integers(30, 8_000_000))
def test_a_planted_crossing_is_found_between_the_right_sizes(elements):
    # Equal where 10 us + 1 ns n = 1 us + (1 ns + 9 us / elements) n.
    points = sweep({"static": (1e-5, 1e-9), "numpy": (1e-6, 1e-9 + 9e-6 / elements)})
    found = [each for each in crossings(points) if each.overtaker == "static"]
    around = [point.elements for point in points]
    assert len(found) <= 1
    for crossing in found:
        assert crossing.overtaken == "numpy"
        assert crossing.before.elements <= elements <= crossing.after.elements
        assert crossing.before.elements <= crossing.elements <= crossing.after.elements
        assert crossing.before.elements in around
    if elements < 100_000:
        assert found


def test_noise_makes_no_crossing():
    points = sweep({"static": (1e-5, 1e-9), "numpy": (1e-5, 1e-9)})
    assert crossings(points) == ()


def test_pairs_need_everything_else_equal():
    arms = engines("static")
    cases = layout_cases(arms, ["conv1_1"]) + heads_cases(arms)
    view = only_view(make_run(cases, arms))
    pairs = pair_cases(view.of("layout"), "layout", "NHWC", "NCHW")
    assert [layout.direction(pair) for pair in pairs] == ["forward", "backward"]
    assert pair_cases(view.of("layout")[:1], "layout", "NHWC", "NCHW") == ()
    # Forward of one layout and backward of the other differ in two axes.
    mixed = [view.of("layout")[0], view.of("layout")[3]]
    assert pair_cases(mixed, "layout", "NHWC", "NCHW") == ()


# Which runs are shown ------------------------------------------------------------------------


def test_the_newest_measurement_of_each_case_is_shown():
    arms = engines("static", "numpy")
    old = make_run(xyz_cases(arms, ["3x4", "32x32"]), arms, run_id="old", started="2026-01-01")
    new = make_run(xyz_cases(arms, ["3x4"]), arms, run_id="new", started="2026-02-01")
    for order in ([old, new], [new, old]):
        shown = {case.parameter("size"): case.run.run_id for case in only_view_of(order).cases}
        assert shown == {"3x4": "new", "32x32": "old"}


def only_view_of(runs):
    (view,) = make_views(runs)
    return view


def test_a_newer_run_of_one_round_does_not_replace_an_answer():
    arms = engines("static", "numpy")
    old = make_run(xyz_cases(arms, ["3x4"]), arms, run_id="old", started="2026-01-01")
    (whole,) = xyz_cases(arms, ["3x4"])
    short = replace(whole, arms=tuple(replace(arm, rounds=arm.rounds[:1]) for arm in whole.arms))
    new = make_run([short], arms, run_id="new", started="2026-02-01")
    assert only_view_of([old, new]).cases[0].run.run_id == "old"
    assert only_view_of([new]).cases[0].run.run_id == "new"


def test_a_newer_single_arm_does_not_replace_a_comparison_nor_join_it():
    arms = engines("static", "numpy")
    old = make_run(xyz_cases(arms, ["3x4"]), arms, run_id="old", started="2026-01-01")
    alone = make_run(
        xyz_cases(engines("eager"), ["3x4"]), engines("eager"), run_id="new", started="2026-02-01"
    )
    (case,) = only_view_of([old, alone]).cases
    assert case.run.run_id == "old"
    assert {arm.result.arm.id for arm in case.arms()} == {"static", "numpy"}


def test_machines_and_thread_counts_are_never_mixed():
    arms = engines("static", "numpy")
    cases = xyz_cases(arms, ["3x4"])
    runs = [
        make_run(cases, arms, run_id="a", started="2026-01-01"),
        make_run(cases, arms, run_id="b", started="2026-01-02", threads=1),
        make_run(cases, arms, run_id="c", started="2026-01-03", machine_id="elsewhere"),
    ]
    views = make_views(runs)
    assert [(view.machine_id, view.threads) for view in views] == [
        ("elsewhere", 2),
        ("3f2a9c1b77aa", 1),
        ("3f2a9c1b77aa", 2),
    ]


def test_runs_without_measurements_make_no_view():
    arms = engines("static")
    (case,) = xyz_cases(arms, ["3x4"])
    failed = replace(case.arms[0], status="wrong", rounds=())
    assert make_views([make_run([CaseResult(case.case, (failed,))], arms)]) == ()


# Published figures ---------------------------------------------------------------------------


def test_published_figures_name_source_and_machine():
    assert published_path().is_file()
    assert {each.counterpart: each.seconds for each in PUBLISHED.gradient} == {
        "numpy": 0.003751,
        "eager": 0.003434,
        "static": 0.046684,
    }
    for provenance in (PUBLISHED.gradient_provenance, PUBLISHED.vgg16_provenance):
        assert provenance.source and provenance.machine and provenance.year == 2017


@pytest.mark.parametrize("damage", ["{", '{"schema": "benchctl.published/2"}', "[]"])
def test_a_damaged_file_of_published_figures_is_named(tmp_path, damage):
    path = tmp_path / "slides.json"
    path.write_text(damage)
    with pytest.raises(PublishedError, match=r"slides\.json"):
        load_published(path)


def test_a_missing_field_of_the_published_figures_is_an_error(tmp_path):
    document = json.loads(published_path().read_text())
    del document["vgg16"]["figures"][0]["seconds"]
    path = tmp_path / "slides.json"
    path.write_text(json.dumps(document))
    with pytest.raises(PublishedError, match="seconds"):
        load_published(path)


# The demonstration ---------------------------------------------------------------------------


def demonstration(run: Run, folder: Path) -> str:
    page = folder / "why.md"
    written = write_demonstration(run, page)
    assert written[0] == page and all(path.is_file() for path in written)
    return page.read_text(encoding="utf-8")


def test_demonstration_takes_the_start_apart(tmp_path):
    text = demonstration(slides_run(), tmp_path)
    assert "| static | cold | 0.31 s | 1.2 ms | 0.40 s | 20 us |" in text
    assert "13.6 times as long" in text
    assert "with a warm cache 13 ms" in text
    assert "The slowest start and the fastest step belong to the same engine" in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (tmp_path / line.rpartition("(")[2].rstrip(")")).is_file()


def test_demonstration_says_the_opposite_of_opposite_data(tmp_path):
    arms = engines("static", "numpy")
    case = make_case("xyz", {"expression": "product", "size": "3x4"})
    taken = (
        make_arm(arms[0], 9e-6, phases=[COLD["static"]]),
        make_arm(arms[1], 3e-6, phases=[COLD["numpy"]]),
    )
    text = demonstration(make_run([CaseResult(case, taken)], arms), tmp_path)
    assert re.search(r"In the steady step, numpy is (3\.0|2\.9)\S* \(.*\) faster than static", text)
    assert "The engine that starts soonest is also the one with the fastest step here." in text
    assert "No engine with a dearer start is shown to have the faster step here." in text
    assert "measured one size only" in text


def test_demonstration_needs_the_size_of_the_slide(tmp_path):
    arms = engines("static", "numpy")
    run = make_run(xyz_cases(arms, ["10x10", "32x32"]), arms)
    with pytest.raises(DemonstrationError, match="3x4"):
        write_demonstration(run, tmp_path / "why.md")
    assert not list(tmp_path.iterdir())


# Bandwidth -----------------------------------------------------------------------------------


def test_copy_bandwidth_is_a_positive_rate():
    rate = measure_copy_bandwidth(2, array_bytes=2**20, repeats=2)
    assert math.isfinite(rate) and rate > 0


@pytest.mark.parametrize("threads, size", [(0, 2**20), (4, 3)])
def test_copy_bandwidth_refuses_what_cannot_be_shared_out(threads, size):
    with pytest.raises(ValueError, match="measure_copy_bandwidth expected"):
        measure_copy_bandwidth(threads, array_bytes=size)


def test_speedup_words_round_as_the_interval_allows():
    arms = engines("static", "numpy")
    view = only_view(make_run(xyz_cases(arms, ["3x4"]), arms))
    words = speedup_sentence(winner(view.cases[0]), "at 3x4")
    assert words.startswith("static is 2.3") and words.endswith("faster than numpy at 3x4")


def test_vgg_and_phases_without_data_are_missing():
    arms = engines("static", "numpy")
    view = only_view(make_run(heads_cases(arms), arms))
    assert isinstance(vgg.draw(view, PUBLISHED), MissingChart)
    assert isinstance(phases.draw(view, PUBLISHED), MissingChart)
