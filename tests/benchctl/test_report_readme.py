"""The parts of the README that are made from a run: right, whole, and the same when made again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_factory import write_run
from report_records import engines, make_run, slides_run, xyz_cases

from benchctl.report import readme
from benchctl.report.readme import END, ReadmeError, fill, make_source, parts
from benchctl.report.text import machine_words
from benchctl_engines.devices.cuda.opening import device_words
from benchctl_engines.gpu.driver import DeviceFacts

RUN = slides_run()
SOURCE = make_source(RUN)
BEFORE = "# Title\n\nSome prose.\n\n"


def part(marker: str, body: str = "") -> str:
    return f"<!-- {marker} -->\n{body}{END}\n"


def test_a_screen_is_what_the_terminal_shows() -> None:
    text = fill(part("screen: xyz size=3x4"), SOURCE)
    ((_, body),) = parts(text)
    assert body.startswith("```text\nxyz  ")
    assert "\n```\n\nMeasured on Example 9000" in body
    assert "checking" in body
    assert "95 % interval" in body


def test_a_table_of_many_cases_has_one_row_each_and_names_its_run() -> None:
    text = fill(part("table: xyz expression=product"), SOURCE)
    sizes = [case.case.parameters["size"] for case in RUN.cases if case.case.workload == "xyz"]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows[2:]] == sizes
    assert "Example 9000" in text
    assert "[slides.jsonl](results/reference/slides.jsonl)" in text


def test_a_table_of_one_case_says_what_was_found() -> None:
    text = fill(part("table: xyz size=3x4"), SOURCE)
    assert "faster than" in text
    assert "| static |" in text


def test_a_chart_is_a_picture_with_its_finding_as_text() -> None:
    text = fill(part("chart: sizes"), SOURCE)
    assert f"![{SOURCE.charts['sizes'].headline}](docs/pictures/sizes.png)" in text


def test_a_run_on_a_gpu_changes_no_picture_of_others_and_has_its_own() -> None:
    arms = tuple(replace(arm, device="gpu") for arm in RUN.plan.arms)
    later = {"started_utc": "2099-01-01T00:00:00Z", "machine": {**RUN.machine, "id": "card"}}
    on_gpu = replace(RUN, run_id="later", plan=replace(RUN.plan, arms=arms), **later)
    alone = make_source(RUN, with_peers={"peers": RUN}).others["peers"]
    both = make_source(RUN, with_peers={"peers": RUN, "gpu": on_gpu})
    for source in (alone, both.others["peers"]):
        assert [run.run_id for run in source.charts["sizes"].runs] == [RUN.run_id]
    assert "(docs/pictures/sizes.png)" in fill(part("chart: sizes from=peers"), both)
    assert "(docs/pictures/gpu-sizes.png)" in fill(part("chart: sizes from=gpu"), both)


def test_figures_of_a_gpu_name_the_card() -> None:
    facts = DeviceFacts("NVIDIA H100 80GB HBM3", 0, 90, 132, 2**36, 2**25, {"cupy": "14.2.0"})
    note = device_words(SimpleNamespace(facts=facts))
    assert "H100" not in machine_words(RUN)

    def moved(case):
        arms = (
            replace(each, arm=replace(each.arm, device="gpu"), notes=("a note", note))
            for each in case.arms
        )
        return replace(case, arms=tuple(arms))

    on_gpu = replace(RUN, cases=tuple(map(moved, RUN.cases)))
    assert machine_words(on_gpu) == f"NVIDIA H100 80GB HBM3, {machine_words(RUN)}"


@settings(max_examples=25, deadline=None)
@given(
    before=st.text(alphabet="ab #\n|", max_size=40),
    between=st.text(alphabet="ab #\n|`", max_size=40),
    after=st.text(alphabet="ab #\n|", max_size=40),
)
def test_filling_is_idempotent_and_touches_nothing_else(
    before: str, between: str, after: str
) -> None:
    first, second = part("table: xyz size=3x4", f"{between}\n"), part("chart: gradient")
    text = f"{before}\n{first}{after}\n{second}"
    once = fill(text, SOURCE)
    assert fill(once, SOURCE) == once
    assert once == fill(f"{before}\n{part('table: xyz size=3x4')}{after}\n{second}", SOURCE)
    assert once.startswith(f"{before}\n<!-- table")
    assert f"{END}\n{after}\n<!-- chart" in once


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- table: xyz -->\n", "expected '<!-- end -->'"),
        (f"<!-- table: xyz -->\n<!-- chart: sizes -->\n{END}\n", "before the next marker"),
        (part("table: vgg17"), "vgg17 fits no case"),
        (part("table: xyz size=9x9"), "fits no case"),
        (part("table: xyz size"), "expected a workload and axis=value"),
        (part("screen: xyz"), "expected one case, received"),
        (part("chart: sices"), "expected a chart that the run has data for"),
    ],
)
def test_a_part_that_cannot_be_filled_is_named(text: str, message: str) -> None:
    with pytest.raises(ReadmeError, match=message):
        fill(text, SOURCE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a README and a committed run, both as in a checkout."""
    (tmp_path / readme.README).write_text(BEFORE + part("chart: vgg16"))
    stored = write_run(tmp_path / "store", RUN)
    assert stored.path is not None
    target = tmp_path / readme.REFERENCE
    target.parent.mkdir(parents=True)
    stored.path.rename(target)
    (tmp_path / "docs").mkdir()
    return tmp_path


def test_one_command_renews_all_documents(checkout: Path, capsys) -> None:
    assert readme.main([str(checkout)]) == 0
    listed = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert all(path.is_file() for path in listed)
    text = (checkout / readme.README).read_text()
    assert text.startswith(BEFORE)
    assert "docs/pictures/vgg16.png" in text
    assert (checkout / readme.PICTURES / "vgg16.png").read_bytes()[:4] == b"\x89PNG"
    assert (checkout / readme.DEMONSTRATION).is_file()
    before = {path: path.read_bytes() for path in listed}
    assert readme.main([str(checkout)]) == 0
    assert {path: path.read_bytes() for path in listed} == before


def test_without_a_run_the_readme_stays_and_the_error_names_the_file(
    checkout: Path, capsys
) -> None:
    (checkout / readme.REFERENCE).unlink()
    before = (checkout / readme.README).read_text()
    assert readme.main([str(checkout)]) == 2
    assert "slides.jsonl" in capsys.readouterr().err
    assert (checkout / readme.README).read_text() == before


def test_a_run_that_lacks_a_chart_leaves_the_readme_as_it_was(checkout: Path, capsys) -> None:
    arms = engines()
    small = write_run(checkout / "store", make_run(xyz_cases(arms, ("3x4",)), arms, run_id=""))
    assert small.path is not None
    small.path.replace(checkout / readme.REFERENCE)
    before = (checkout / readme.README).read_text()
    assert readme.main([str(checkout)]) == 2
    assert "chart: vgg16" in capsys.readouterr().err
    assert (checkout / readme.README).read_text() == before
