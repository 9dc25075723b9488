"""Names of tests by what they are given: the same in every process, to be asked for again."""

from __future__ import annotations

from benchctl_workloads import Workload


def given_name(given: object) -> str:
    """A workload by its own name; its text would be the address at which it happens to lie."""
    return given.name if isinstance(given, Workload) else str(given)
