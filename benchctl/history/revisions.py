"""The revisions of a repository between two of them, as git knows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchctl.gate.errors import GateError
from benchctl.gate.revisions import resolve_revision, run_git

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
    if run_git(folder, "merge-base", "--is-ancestor", first, last).returncode:
        raise GateError(
            f"{good} does not lie before {bad}",
            "--good expects an ancestor of --bad, whichever of the two is faster",
        )
    listed = run_git(folder, "rev-list", "--first-parent", "--reverse", f"{first}..{last}")
    revisions = listed.stdout.split()
    if not revisions:
        raise GateError(
            f"no revision lies between {good} and {bad}: both are {first[:_SHOWN_DIGITS]}",
            "give two different revisions",
        )
    return first, *revisions


def describe_revision(folder: Path, revision: str) -> Commit:
    """Day and subject of a commit, empty where git does not tell."""
    answer = run_git(folder, "log", "-1", "--format=%cs%x09%s", revision)
    day, _, subject = answer.stdout.strip().partition("\t")
    return Commit(revision, day, subject)
