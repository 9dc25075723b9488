"""What cannot be written is refused before anything is measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchctl.cli import main
from benchctl.cli.errors import CliError
from benchctl.cli.writable import require_writable, require_writable_folder

HINT = "choose another"


def test_nothing_stays_behind_where_a_file_can_be_written(tmp_path: Path) -> None:
    require_writable(tmp_path / "new.json", HINT)
    require_writable_folder(tmp_path / "a" / "b", HINT)
    assert list(tmp_path.iterdir()) == []
    kept = tmp_path / "kept.json"
    kept.write_text("old")
    require_writable(kept, HINT)
    require_writable(Path(os.devnull), HINT)
    assert kept.read_text() == "old"


# No one may make a file under /proc, not even root, for whom permissions do not count.
@pytest.mark.parametrize(
    "target", ["/proc/x.json", "file/x.json", "nowhere/x.json", "."], ids=lambda path: path
)
def test_a_file_that_cannot_be_written_is_refused(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(CliError, match="cannot be written"):
        require_writable(Path(target), HINT)


@pytest.mark.parametrize("target", ["/proc/x/y", "file", "file/x"])
def test_a_folder_that_cannot_be_made_is_refused(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(CliError, match="cannot be written"):
        require_writable_folder(Path(target), HINT)


@pytest.mark.parametrize(
    "arguments",
    [
        ("graph", "xyz", "--out", "/proc/x.svg"),
        ("graph", "xyz", "--format", "tensorboard", "--out", "/proc/logs"),
        ("graph", "xyz", "--store", "/proc/store"),
        ("profile", "xyz", "--store", "/proc/store"),
        ("ablate", "xyz", "--store", "/proc/store"),
        ("run", "xyz", "--json", "/proc/x.json"),
        ("compare", "numpy", "static", "--on", "xyz", "--chart", "/proc/x.png"),
        ("train", "gan", "--out", "/proc/digits"),
        ("train", "gan", "--out", "digits", "--tensorboard", "/proc/logs"),
        ("claims", "--report", "--out", "/proc/page"),
        ("claims", "--store", "/proc/store"),
    ],
    ids=" ".join,
)
def test_no_verb_measures_what_it_could_not_write(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_worker(*_: object, **__: object) -> None:
        pytest.fail("a worker was started")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchctl.measure.worker_client.subprocess.Popen", no_worker)
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == 2, done.output
    assert "cannot be written" in done.stderr and "choose another" in done.stderr
    assert list(tmp_path.iterdir()) == []
