"""Where stored runs lie: `<store>/runs/<year>/<month>/<run id>.jsonl`."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

DEFAULT_STORE = Path("results")
RUN_SUFFIX = ".jsonl"
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def utc_now() -> str:
    """The present moment as records hold it: 2026-11-05T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_run_id(started_utc: str, machine_id: str) -> str:
    """`<utc>-<machine id>-<8 hex>`: sorts by time, and no two processes draw the same."""
    started = parse_utc(started_utc).strftime("%Y%m%dT%H%M%SZ")
    machine = re.sub(r"[^A-Za-z0-9]", "", machine_id) or "unknown"
    return f"{started}-{machine[:32]}-{secrets.token_hex(4)}"


def run_path(store: Path, started_utc: str, run_id: str) -> Path:
    """The file of a run; raises ValueError where the id cannot name a file."""
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(
            f"a run id expected letters, digits, '.', '_' and '-', received {run_id!r}"
        )
    started = parse_utc(started_utc)
    folder = store / "runs" / f"{started.year:04d}" / f"{started.month:02d}"
    return folder / f"{run_id}{RUN_SUFFIX}"


def run_paths(store: Path) -> list[Path]:
    """The files of all runs, oldest name first.

    A folder that holds run files directly, such as one of committed runs, is a store too.
    """
    found = [*store.glob(f"*{RUN_SUFFIX}"), *(store / "runs").rglob(f"*{RUN_SUFFIX}")]
    return sorted(found, key=name_and_path)


def name_and_path(path: Path) -> tuple[str, str]:
    """Sort key: run ids begin with the time."""
    return path.name, str(path)


def parse_utc(text: str) -> datetime:
    """The moment that an ISO 8601 text means, in UTC where it names no zone."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
