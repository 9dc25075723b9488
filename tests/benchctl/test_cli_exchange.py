"""`export` and `import`, as typed; and the page on them, word for word."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from record_factory import NUMPY, STATIC, make_run, write_run, wrong

from benchctl.cli.group import LazyGroup
from benchctl.store.reader import load_store

sys.path.insert(0, str(Path(__file__).parents[1]))
from documents import benchctl_arguments, blocks_of, simple_commands

VERBS = {
    "export": ("benchctl.cli.export_run:export_run", "Export."),
    "import": ("benchctl.cli.import_results:import_results", "Import."),
    "merge": ("benchctl.cli.merge:merge", "Merge."),
    "show": ("benchctl.cli.show:show", "Show."),
}
FOREIGN = Path(__file__).parent / "foreign"
PAGE = Path(__file__).parents[2] / "docs" / "exchange.md"
ALL_FILES = (
    FOREIGN / "pyperf.json",
    FOREIGN / "pytest_benchmark.json",
    FOREIGN / "asv" / "machine" / "result.json",
    FOREIGN / "google_benchmark.json",
    FOREIGN / "hyperfine.json",
)


def invoke(*arguments: str | Path) -> Result:
    group = LazyGroup(name="benchctl", verbs=VERBS)
    return CliRunner().invoke(group, [str(each) for each in arguments])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_run(tmp_path, make_run(seed=1))
    return tmp_path


# export --------------------------------------------------------------------------------------


def test_export_prints_one_document_and_nothing_else(store: Path) -> None:
    result = invoke("export", "--format", "pyperf", "--store", store)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["benchmarks"]) == 3
    assert result.stderr == ""
    printed = invoke("export", "--format", "csv", "--store", store).stdout
    assert len(list(csv.DictReader(printed.splitlines()))) == 3 * 12 * 3


def test_export_writes_a_file_once(store: Path) -> None:
    target = store / "out.json"
    arguments = ("export", "last", "--format", "bencher", "-o", target, "--store", store)
    first = invoke(*arguments)
    assert first.exit_code == 0 and first.stdout == ""
    assert f"Wrote {target}" in first.stderr
    before = target.read_bytes()
    target.write_bytes(before + b" ")
    again = invoke(*arguments)
    assert again.exit_code == 2
    assert again.stderr.startswith("error: ") and "is there already" in again.stderr
    assert "--force" in again.stderr
    assert target.read_bytes() == before + b" "
    assert invoke(*arguments, "--force").exit_code == 0
    assert target.read_bytes() == before


def test_export_finds_runs_like_show(store: Path) -> None:
    assert invoke("export", "00000001", "--format", "csv", "--store", store).exit_code == 0
    missing = invoke("export", "77777777", "--format", "csv", "--store", store)
    assert missing.exit_code == 2 and "77777777" in missing.stderr


def test_export_names_what_it_leaves_out(tmp_path: Path) -> None:
    write_run(tmp_path, make_run(arms=(STATIC, wrong("numpy")), complete=False))
    result = invoke("export", "--format", "github", "--store", tmp_path)
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)) == 1
    assert "on numpy: wrong, no sample" in result.stderr
    assert "the run is not complete" in result.stderr


def test_export_of_nothing_is_an_error(tmp_path: Path) -> None:
    write_run(tmp_path, make_run(arms=(wrong("numpy"),)))
    result = invoke("export", "--format", "pyperf", "--store", tmp_path)
    assert result.exit_code == 6
    assert result.stdout == "" and "no sample to export" in result.stderr
    assert invoke("export", "--format", "csv", "--store", tmp_path / "none").exit_code == 6


def test_export_wants_a_format_that_exists(store: Path) -> None:
    assert invoke("export", "--store", store).exit_code == 2
    unknown = invoke("export", "--format", "xml", "--store", store)
    assert unknown.exit_code == 2
    for name in ("pyperf", "github", "bencher", "csv"):
        assert name in unknown.stderr


# import --------------------------------------------------------------------------------------


def test_import_makes_a_run_of_every_file(tmp_path: Path) -> None:
    result = invoke("import", *ALL_FILES, "--store", tmp_path)
    assert result.exit_code == 0, result.output
    runs, problems = load_store(tmp_path)
    assert len(runs) == len(ALL_FILES) and problems == []
    for run in runs:
        assert run.complete
        assert str(run.path) in result.stdout
        shown = invoke("show", run.path)
        assert shown.exit_code == 0, shown.output
    assert "left out: " in result.stderr  # asv's memory
    assert "Traceback" not in result.stderr


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    assert invoke("import", FOREIGN / "pyperf.json", "--store", tmp_path).exit_code == 0
    again = invoke("import", FOREIGN / "pyperf.json", "--store", tmp_path)
    assert again.exit_code == 0
    assert "is there already" in again.stderr and again.stdout == ""
    assert len(load_store(tmp_path)[0]) == 1


def test_one_bad_file_stores_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"benchmarks": 3}')
    result = invoke("import", FOREIGN / "pyperf.json", bad, "--store", tmp_path / "store")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {bad}: expected JSON of pyperf, ")
    assert "received an object with the keys benchmarks" in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert load_store(tmp_path / "store") == ([], [])


def test_a_format_can_be_named(tmp_path: Path) -> None:
    file = FOREIGN / "hyperfine.json"
    arguments = ("import", file, "--store", tmp_path, "--format")
    assert invoke(*arguments, "pyperf").exit_code == 2
    assert invoke(*arguments, "hyperfine").exit_code == 0


def test_a_store_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = invoke("import", FOREIGN / "pyperf.json", "--store", tmp_path / "file" / "store")
    assert result.exit_code == 5
    assert "cannot create" in result.stderr


def test_a_run_that_fails_half_way_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchctl.store.errors import DiskFullError
    from benchctl.store.journal import Journal

    def full(self: Journal, case_id: str, rounds: object) -> None:
        raise DiskFullError("cannot append", "free space")

    monkeypatch.setattr(Journal, "append_rounds", full)
    result = invoke("import", FOREIGN / "pyperf.json", "--store", tmp_path)
    assert result.exit_code == 5 and "cannot append" in result.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_was_exported_is_imported_and_shown_alike(store: Path) -> None:
    target = store / "run.json"
    invoke("export", "--format", "pyperf", "-o", target, "--store", store)
    assert invoke("import", target, "--store", store / "back").exit_code == 0
    before = invoke("show", "--csv", "--store", store).stdout
    after = invoke("show", "--csv", "--store", store / "back").stdout
    rows, others = (list(csv.DictReader(text.splitlines())) for text in (before, after))
    for column in ("case", "arm", "median_seconds", "ratio", "verdict", "machine", "rounds"):
        assert [row[column] for row in rows] == [row[column] for row in others]


# The page ------------------------------------------------------------------------------------


def page_commands() -> Iterator[list[str]]:
    """The arguments of every benchctl command of the page, in its order, but for `run`."""
    for block in blocks_of(PAGE, "sh", "bash"):
        for line in block.text.splitlines():
            for arguments in benchctl_arguments(simple_commands(line)):
                if arguments[0] != "run":
                    yield arguments


FILES_OF_THE_PAGE = {
    "pyperf.json": FOREIGN / "pyperf.json",
    "pytest.json": FOREIGN / "pytest_benchmark.json",
    ".asv/results/machine/0123abcd-env.json": FOREIGN / "asv" / "machine" / "result.json",
    ".asv/results/benchmarks.json": FOREIGN / "asv" / "benchmarks.json",
    "google.json": FOREIGN / "google_benchmark.json",
    "hyperfine.json": FOREIGN / "hyperfine.json",
}


def test_the_commands_of_the_page_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_cli_merge import shard_runs, whole_run

    monkeypatch.chdir(tmp_path)
    write_run(Path("results"), make_run(arms=(STATIC, NUMPY)))
    for name, source in FILES_OF_THE_PAGE.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, name)
    for part in shard_runs(whole_run(), 2):
        stored = write_run(Path("shards-store"), part).path
        assert stored is not None
        Path("shards").mkdir(exist_ok=True)
        shutil.copy(stored, "shards")
    seen = set()
    for arguments in page_commands():
        words = [
            str(match)
            for word in arguments
            for match in (sorted(Path().glob(word)) if "*" in word else [word])
        ]
        done = invoke(*words)
        assert done.exit_code == 0, (words, done.output)
        seen.add(words[0])
    assert seen >= {"export", "import", "merge"}


def test_the_page_names_every_format_and_option() -> None:
    from benchctl.cli.export_run import export_run
    from benchctl.cli.import_results import import_results
    from benchctl.cli.merge import merge
    from benchctl.store.exchange.formats import EXPORT_FORMATS, IMPORT_FORMATS

    text = PAGE.read_text(encoding="utf-8")
    for name in (*IMPORT_FORMATS, *EXPORT_FORMATS):
        assert f"`{name}`" in text
    for command in (export_run, import_results, merge):
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name != "debug":
                assert any(f"`{option}" in text for option in parameter.opts), parameter.opts
