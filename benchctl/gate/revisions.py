"""Two revisions of the code in this folder, each in a worktree and with modules of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchctl.gate.errors import BuildError, GateError
from benchctl.plan.subjects import Subject

WORKING_TREE = "working tree"
_SHOWN_LINES = 6


def repository_root(folder: Path) -> Path:
    """The top folder of the repository around `folder`; raises `GateError` outside of one."""
    answer = run_git(folder, "rev-parse", "--show-toplevel")
    if answer.returncode:
        raise GateError(
            f"{folder} is in no git repository: there are no revisions to compare",
            "run it inside the project, or compare two commands with --command",
        )
    return Path(answer.stdout.strip())


def resolve_revision(folder: Path, revision: str) -> str:
    """The full commit id that a branch, tag or commit means."""
    answer = run_git(folder, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if answer.returncode:
        # Outside of a repository that is the error, whatever the revision is.
        repository_root(folder)
        shallow = run_git(folder, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        hint = (
            "git fetch --unshallow brings the history" if shallow else "git log shows what there is"
        )
        raise GateError(f"no revision {revision!r} in this repository", hint)
    return answer.stdout.strip()


def show_file(folder: Path, revision: str, path: str) -> str | None:
    """The text of a file at the repository's top in a revision, None where it has none."""
    answer = run_git(folder, "show", f"{resolve_revision(folder, revision)}:{path}")
    return None if answer.returncode else answer.stdout


def working_tree_subject(name: str, folder: Path, paths: Sequence[str]) -> Subject:
    """The code as it lies here, changes that are not committed included."""
    root = repository_root(folder)
    return _subject(name, WORKING_TREE, root, root, folder, paths)


@contextmanager
def revision_subject(
    name: str, folder: Path, revision: str, paths: Sequence[str], build: str = ""
) -> Iterator[Subject]:
    """A revision in a worktree of its own, which is removed afterwards; raises `BuildError`."""
    root = repository_root(folder)
    commit = resolve_revision(folder, revision)
    with TemporaryDirectory(prefix="benchctl-revision-") as scratch:
        source = Path(scratch) / "source"
        made = run_git(root, "worktree", "add", "--detach", "--quiet", str(source), commit)
        if made.returncode:
            raise BuildError(f"{revision} cannot be checked out: {_last_lines(made.stderr)}")
        try:
            target = Path(scratch) / "modules"
            if build:
                _build(revision, build, source, target)
            yield _subject(name, commit, root, source, folder, [str(target)] if build else paths)
        finally:
            run_git(root, "worktree", "remove", "--force", str(source))
            run_git(root, "worktree", "prune")


def _subject(
    name: str, revision: str, root: Path, source: Path, folder: Path, paths: Sequence[str]
) -> Subject:
    chosen = [source / path for path in paths] or _module_folders(source)
    inside = source / folder.resolve().relative_to(root.resolve())
    return Subject(
        name=name,
        revision=revision,
        folder=str(inside if inside.is_dir() else source),
        paths=tuple(str(path) for path in chosen if path.is_dir()),
    )


def _module_folders(source: Path) -> list[Path]:
    """Where a project without a word about it keeps its modules: src, or its top folder."""
    layout = source / "src"
    return [layout] if layout.is_dir() else [source]


def _build(revision: str, build: str, source: Path, target: Path) -> None:
    target.mkdir()
    words = {"source": str(source), "target": str(target), "python": sys.executable}
    try:
        arguments = [each.format(**words) for each in shlex.split(build)]
    except (KeyError, IndexError, ValueError) as error:
        raise GateError(
            f"build expected a command with the blanks {{source}}, {{target}} and {{python}}, "
            f"received {build!r} ({error})"
        ) from error
    try:
        ended = subprocess.run(
            arguments,
            cwd=source,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise BuildError(f"{revision} cannot be built: {error}") from error
    if ended.returncode:
        words_of_end = _last_lines(ended.stderr or ended.stdout)
        raise BuildError(
            f"{revision} cannot be built: exit code {ended.returncode}\n{words_of_end}",
            f"the command was: {shlex.join(arguments)}",
        )


def _last_lines(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_SHOWN_LINES:])


def run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What git answers in `folder`; raises `GateError` where there is no git."""
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            # A hook of git may have set these for its own repository.
            env={key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        )
    except OSError as error:
        raise GateError(f"git cannot be run: {error.strerror or error}", "install git") from error
