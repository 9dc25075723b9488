"""The revisions of a repository between two of them, as git knows them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchctl.gate.errors import GateError
from benchctl.gate.revisions import resolve_revision

_SHOWN_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Commit:
    """A revision as people know it: the day of the commit and its subject."""

    revision: str
    day: str
    subject: str


def revisions_between(folder: Path, good: str, bad: str) -> tuple[str, ...]:
    """The full id of `good`, then those of every revision after it up to `bad`, oldest first.

    Of merges the first parent is followed: what was merged counts as one revision.
    Raises `GateError` where `good` does not lie before `bad`.
    """
    first, last = (resolve_revision(folder, revision) for revision in (good, bad))
    if _git(folder, "merge-base", "--is-ancestor", first, last) is None:
        raise GateError(
            f"{good} does not lie before {bad}",
            "--good expects an ancestor of --bad, whichever of the two is faster",
        )
    listed = _git(folder, "rev-list", "--first-parent", "--reverse", f"{first}..{last}")
    revisions = (listed or "").split()
    if not revisions:
        raise GateError(
            f"no revision lies between {good} and {bad}: both are {first[:_SHOWN_DIGITS]}",
            "give two different revisions",
        )
    return first, *revisions


def describe_revision(folder: Path, revision: str) -> Commit:
    """Day and subject of a commit, empty where git does not tell."""
    text = _git(folder, "log", "-1", "--format=%cs%x09%s", revision) or ""
    day, _, subject = text.partition("\t")
    return Commit(revision, day, subject)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where it says no."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            # A hook of git may have set these for its own repository.
            env={key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        )
    except (OSError, ValueError):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
