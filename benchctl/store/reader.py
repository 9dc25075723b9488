"""Finding and loading stored runs; a bad file is reported and does not hide the others."""

from __future__ import annotations

from pathlib import Path

from benchctl.store.errors import EmptyStoreError, NoSuchRunError, RecordError
from benchctl.store.lines import RunLines
from benchctl.store.locations import RUN_SUFFIX, run_paths
from benchctl.store.record import Run

__all__ = ["NoSuchRunError", "RecordError", "find_run", "load_run", "load_store"]

_SHOWN = 5
"""How many run ids an error message lists."""


def load_run(path: Path) -> Run:
    """The run of one file; raises `RecordError` naming file and line.

    A last line without its newline was never finished and is ignored.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(path, 0, f"cannot be read: {error.strerror or error}") from error
    return RunLines.parse(content, path).run(path)


def load_store(store: Path) -> tuple[list[Run], list[RecordError]]:
    """All runs of a store, oldest first, and what is wrong with each file that cannot be read."""
    runs: list[Run] = []
    errors: list[RecordError] = []
    for path in run_paths(store):
        try:
            runs.append(load_run(path))
        except RecordError as error:
            errors.append(error)
    return sorted(runs, key=_start_and_id), errors


def find_run(store: Path, text: str) -> Run:
    """The run that `text` means: "last", a path, a run id, or the unique beginning or end of one.

    Raises `NoSuchRunError` where none or several fit, `RecordError` where the file is bad.
    """
    paths = run_paths(store)
    if text == "last":
        if not paths:
            raise EmptyStoreError(f"no run in {store}", "measure one: benchctl run xyz")
        return load_run(paths[-1])
    if text.endswith(RUN_SUFFIX) or Path(text).is_file():
        return load_run(Path(text))
    exact = [path for path in paths if path.stem == text]
    fitting = exact or [
        path for path in paths if path.stem.startswith(text) or path.stem.endswith(text)
    ]
    if len(fitting) == 1:
        return load_run(fitting[0])
    if fitting:
        names = _listed(fitting)
        raise NoSuchRunError(f"{text!r} fits {len(fitting)} runs: {names}", "give more of the id")
    hint = f"the newest: {_listed(paths)}" if paths else "measure one: benchctl run xyz"
    raise NoSuchRunError(f"no run {text!r} in {store}", hint)


def _start_and_id(run: Run) -> tuple[str, str]:
    return run.started_utc, run.run_id


def _listed(paths: list[Path]) -> str:
    names = [path.stem for path in reversed(paths)]
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
