"""A whole run into the store, through its journal."""

from __future__ import annotations

from pathlib import Path

from benchctl.store.errors import StoreError
from benchctl.store.journal import Journal
from benchctl.store.record import CaseResult, Run


def store_run(store: Path, run: Run) -> Path:
    """Write a complete run and return its file; what fails half-way leaves no file behind.

    Raises `StoreError`.
    """
    journal = Journal.create(store, run)
    try:
        with journal:
            for case in run.cases:
                _append_case(journal, case)
            journal.finish()
    except BaseException as error:
        # What the run was made from is still there.
        journal.path.unlink(missing_ok=True)
        if isinstance(error, ValueError):
            raise StoreError(f"run {run.run_id} cannot be stored: {error}") from error
        raise
    return journal.path


def _append_case(journal: Journal, case: CaseResult) -> None:
    for arm in case.arms:
        journal.append_arm(case.case.id, arm)
    taken = {arm.arm.id: {each.round: each for each in arm.rounds} for arm in case.arms}
    for number in sorted({number for rounds in taken.values() for number in rounds}):
        finished = {arm: rounds[number] for arm, rounds in taken.items() if number in rounds}
        journal.append_rounds(case.case.id, finished)
