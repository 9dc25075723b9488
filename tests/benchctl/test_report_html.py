"""The page: one file that needs neither network nor script, and that says only what was stored."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_records import engines, make_run, slides_run, xyz_cases

from benchctl.report.build import ReportFiles, build_report
from benchctl.report.html import script_json
from benchctl.store.lines import RunLines
from benchctl.store.record import Run
from benchctl.store.schema import encode_line

VOID = {"meta", "br", "wbr", "img", "hr", "input", "link"}
TOPICS = ("gradient", "phases", "sizes", "vgg16", "layout", "heads", "memory")


class Page(HTMLParser):
    """Every element with its attributes and its text; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes, _ in self.elements if name == tag]


def read_page(runs: list[Run], folder: Path, **options: bool) -> tuple[str, Page]:
    files = build_report(runs, folder, **options)
    text = files.html.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> ReportFiles:
    return build_report([slides_run()], tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def slides(files) -> tuple[str, Page]:
    text = files.html.read_text(encoding="utf-8")
    return text, Page(text)


def test_every_chart_is_written_as_png_and_svg(files):
    assert [path.stem for path in files.pngs] == [path.stem for path in files.svgs] == list(TOPICS)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files.pngs)
    assert all("<svg" in path.read_text() for path in files.svgs)
    assert files.missing == ()


def test_nothing_is_fetched_and_no_script_runs(slides):
    text, page = slides
    assert not re.search(r"https?:|//[a-z]+\.", text)
    assert all(each.get("type") == "application/json" for each in page.all("script"))
    for _, attributes, _ in page.elements:
        assert "src" not in attributes and not any(name.startswith("on") for name in attributes)
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
    (policy,) = [
        each["content"]
        for each in page.all("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy and "script-src" not in policy
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_ids_are_unique_and_every_reference_has_its_target(slides):
    text, page = slides
    ids = [each["id"] for _, each, _ in page.elements if "id" in each]
    assert len(ids) == len(set(ids))
    used = re.findall(r"url\(#([^)]+)\)", text)
    used += [
        each[name][1:]
        for _, each, _ in page.elements
        for name in ("href", "xlink:href")
        if name in each
    ]
    for _, each, _ in page.elements:
        used += (each.get("aria-labelledby") or "").split()
    assert used and set(used) <= set(ids)


def test_every_chart_has_words_and_a_real_table(slides):
    _, page = slides
    pictures = page.all("svg")
    assert len(pictures) == len(TOPICS)
    for each in pictures:
        assert each["role"] == "img" and each["aria-labelledby"].count(" ") == 1
    assert len(page.all("title")) == 1 + len(TOPICS) and len(page.all("desc")) == len(TOPICS)
    tables = [within for tag, _, within in page.elements if tag == "table"]
    assert sum("figure" in within for within in tables) == len(TOPICS)
    headings = page.all("th")
    assert headings and all(each.get("scope") in ("row", "col") for each in headings)


def test_the_page_is_complete_in_light_dark_and_on_paper(slides):
    text, _ = slides
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    # Colours of text and paper inside the pictures follow the page.
    inside = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert "var(--ink)" in inside and "#1b1b1b" not in inside and "#ffffff" not in inside


def test_embedded_records_are_the_run(slides):
    text, _ = slides
    (document,) = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text)
    lines = [encode_line(line) for line in json.loads(document)]
    run = slides_run()
    again = RunLines.parse(b"".join(lines), Path("embedded.jsonl")).run()
    assert again.run_id == run.run_id and again.plan.threads == run.plan.threads
    for case, other in zip(run.cases, again.cases, strict=True):
        assert case.case.id == other.case.id
        by_id = {arm.arm.id: arm for arm in other.arms}
        for arm in case.arms:
            found = by_id[arm.arm.id]
            assert found.phases == arm.phases and found.memory == arm.memory
            for one, two in zip(arm.rounds, found.rounds, strict=True):
                assert two.seconds == pytest.approx(one.seconds, abs=1e-9 / one.loops)


def test_records_can_be_left_out(tmp_path):
    arms = engines("static", "numpy")
    run = make_run(xyz_cases(arms, ["3x4"]), arms)
    text, page = read_page([run], tmp_path, embed_records=False)
    assert page.all("script") == [] and "raw records" not in text


def test_text_from_records_cannot_become_markup(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>&\"'"
    arms = engines("static", "numpy", "eager")
    (case,) = xyz_cases(arms, ["3x4"])
    failed = replace(case.arms[2], status="crashed", message=evil, rounds=())
    hostile = replace(
        case, case=replace(case.case, title=evil, id=evil), arms=(*case.arms[:2], failed)
    )
    run = make_run([hostile], arms, run_id="run")
    run = replace(run, machine={**run.machine, "cpu": evil}, command=("benchctl", evil))
    text, page = read_page([run], tmp_path)
    assert page.all("img") == [] and "<img" not in text
    assert any(evil in words for _, words in page.texts)


def test_script_json_keeps_its_meaning():
    document = {"text": "</script><!--&", "number": 0.1}
    written = str(script_json(document))
    assert not set("<>&") & set(written)
    assert json.loads(written) == document


def test_failed_arms_are_in_the_table_of_everything(tmp_path):
    arms = engines("static", "numpy", "eager")
    (case,) = xyz_cases(arms, ["3x4"])
    wrong = replace(case.arms[2], status="wrong", message="grad_x is off", rounds=())
    run = make_run([replace(case, arms=(*case.arms[:2], wrong))], arms)
    _, page = read_page([run], tmp_path)
    (row,) = [words for tag, words in page.texts if tag == "td" and "grad_x is off" in words]
    assert row.startswith("wrong")


def test_a_page_with_frameworks_has_both_tables_and_how_they_ran(tmp_path):
    arms = engines("static", "eager", "torch")
    _, page = read_page([make_run(xyz_cases(arms, ["3x4"]), arms)], tmp_path)
    titles = [words for tag, words in page.texts if tag == "h3" and ":" in words]
    assert [each.partition(":")[0] for each in titles] == ["Paradigm", "Implementation"]
    captions = [words for tag, words in page.texts if tag == "caption"]
    assert sum(each.startswith("Who is faster") for each in captions) == 2
    assert sum(each.startswith("How each framework ran") for each in captions) == 1
    ids = [each["id"] for _, each, _ in page.elements if "id" in each]
    assert len(ids) == len(set(ids))


def test_a_page_of_frameworks_alone_shows_what_was_measured(tmp_path):
    arms = engines("torch", "jax")
    files = build_report([make_run(xyz_cases(arms, ["3x4"]), arms)], tmp_path)
    page = Page(files.html.read_text())
    assert {"torch", "jax"} <= {words for tag, words in page.texts if tag == "td"}


def test_missing_charts_say_which_command_fills_them(tmp_path):
    arms = engines("static", "numpy")
    files = build_report([make_run(xyz_cases(arms, ["3x4"]), arms)], tmp_path)
    assert [path.stem for path in files.pngs] == ["gradient", "phases"]
    page = Page(files.html.read_text())
    commands = {words for tag, words in page.texts if tag == "code"}
    assert [each.name for each in files.missing] == list(TOPICS[2:])
    assert {each.command for each in files.missing} <= commands


def test_two_machines_have_charts_and_ids_of_their_own(tmp_path):
    arms = engines("static", "numpy")
    runs = [
        make_run(xyz_cases(arms, ["3x4"]), arms, run_id="a", started="2026-01-01T00:00:00Z"),
        make_run(
            xyz_cases(arms, ["3x4"]),
            arms,
            run_id="b",
            started="2026-02-01T00:00:00Z",
            machine_id="elsewhere",
        ),
    ]
    files = build_report(runs, tmp_path)
    assert [path.stem for path in files.pngs] == [
        "gradient",
        "phases",
        "gradient-3f2a9c1b77aa-2",
        "phases-3f2a9c1b77aa-2",
    ]
    page = Page(files.html.read_text())
    ids = [each["id"] for _, each, _ in page.elements if "id" in each]
    assert len(ids) == len(set(ids)) and "section-gradient-2" in ids
    assert len(page.all("script")) == 2


def test_incomplete_runs_are_marked_and_warned_of(tmp_path):
    arms = engines("static", "numpy")
    run = make_run(xyz_cases(arms, ["3x4"]), arms, complete=False, rounds=40)
    text, _ = read_page([run], tmp_path)
    assert ", incomplete:" in text and "the run did not finish: 20 of 40 rounds" in text


def test_equal_runs_give_equal_files(files, tmp_path):
    again = build_report([slides_run()], tmp_path)
    pairs = zip(
        (files.html, *files.svgs, *files.pngs), (again.html, *again.svgs, *again.pngs), strict=True
    )
    assert all(one.read_bytes() == two.read_bytes() for one, two in pairs)


def test_nothing_measured_still_gives_a_page(tmp_path):
    files = build_report([], tmp_path)
    assert files.pngs == () and Page(files.html.read_text()).all("h1")
