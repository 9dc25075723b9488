"""A run of fake engines for tests to interrupt: `python interrupted_run.py STORE CACHE`."""

from __future__ import annotations

import sys
from pathlib import Path

from measure_plans import QUICK, RecordingObserver, fake_arm, fake_plan, new_journal

from benchctl.measure.session import measure
from benchctl.measure.settings import settings_of


def main(store: str, cache: str) -> None:
    arms = (fake_arm("a", step_us=500), fake_arm("b", step_us=700))
    settings = {"measure": {**QUICK, "cache_directory": cache, "restart_every": 5}}
    plan = fake_plan(*arms, rounds=5000, settings=settings)
    journal = new_journal(Path(store), plan)
    sys.stdout.write(f"{journal.path}\n")
    try:
        measure(plan, journal, RecordingObserver(echo=True), settings=settings_of(plan))
    except KeyboardInterrupt:
        sys.stdout.write("interrupted\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
