"""Revisions of a small repository: checked out apart, found by their workers, gone afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchctl.gate.errors import BuildError, GateError
from benchctl.gate.revisions import (
    WORKING_TREE,
    repository_root,
    resolve_revision,
    revision_subject,
    show_file,
    working_tree_subject,
)


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    answer = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with two commits of src/mine.py, and a third state that is not committed."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "benchmarks").mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "benchmarks" / "note.txt").write_text("kept\n")
    for number in (1, 2):
        (folder / "src" / "mine.py").write_text(f"VALUE = {number}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "--quiet", "-m", f"state {number}")
    (folder / "src" / "mine.py").write_text("VALUE = 3\n")
    return folder


def value_in(paths) -> str:
    code = f"import sys; sys.path[:0] = {list(paths)!r}; import mine; print(mine.VALUE)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return answer.stdout.strip() or answer.stderr


def test_a_revision_has_its_own_modules_and_is_gone_afterwards(project):
    with revision_subject("base", project, "HEAD~1", ["src"]) as base:
        assert value_in(base.paths) == "1"
        assert base.revision == git(project, "rev-parse", "HEAD~1")
        source = Path(base.folder)
        assert source.is_dir() and source != project
    assert not source.exists()
    assert git(project, "worktree", "list").count("\n") == 0
    assert value_in(working_tree_subject("head", project, ["src"]).paths) == "3"


def test_modules_are_found_without_a_word(project):
    with revision_subject("base", project, "main", []) as base:
        assert value_in(base.paths) == "2"


def test_workers_run_where_the_user_stands(project):
    inside = project / "benchmarks"
    with revision_subject("base", inside, "main", ["src"]) as base:
        assert Path(base.folder).name == "benchmarks"
        assert (Path(base.folder) / "note.txt").read_text() == "kept\n"
    head = working_tree_subject("head", inside, ["src"])
    assert head.folder == str(inside) and head.revision == WORKING_TREE


def test_a_build_puts_modules_where_it_is_told(project):
    command = "{python} -c \"import shutil; shutil.copy('src/mine.py', '{target}/mine.py')\""
    with revision_subject("base", project, "HEAD", [], command) as base:
        assert len(base.paths) == 1 and value_in(base.paths) == "2"


@pytest.mark.parametrize("command", ["{python} -c 'raise SystemExit(3)'", "no-such-program"])
def test_a_build_that_fails_says_so_and_leaves_nothing(project, command):
    with (
        pytest.raises(BuildError, match="HEAD cannot be built"),
        revision_subject("base", project, "HEAD", [], command),
    ):
        pass
    assert git(project, "worktree", "list").count("\n") == 0


def test_unknown_blanks_in_a_build_are_named(project):
    with (
        pytest.raises(GateError, match="blanks"),
        revision_subject("base", project, "HEAD", [], "make {where}"),
    ):
        pass


def test_unknown_revisions_and_places_outside_are_errors(project, tmp_path_factory):
    with pytest.raises(GateError, match="no revision 'nowhere'"):
        resolve_revision(project, "nowhere")
    outside = tmp_path_factory.mktemp("outside")
    with pytest.raises(GateError, match="in no git repository"):
        repository_root(outside)
    with pytest.raises(GateError, match="in no git repository"):
        resolve_revision(outside, "main")


def test_a_file_of_another_revision_can_be_read(project):
    assert show_file(project, "HEAD~1", "src/mine.py") == "VALUE = 1\n"
    assert show_file(project, "HEAD", "pyproject.toml") is None


def test_an_error_within_removes_the_worktree_too(project):
    with pytest.raises(RuntimeError, match="planted"), revision_subject("b", project, "main", []):
        raise RuntimeError("planted")
    assert git(project, "worktree", "list").count("\n") == 0
