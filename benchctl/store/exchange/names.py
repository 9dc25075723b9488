"""Names of a run's arms for formats that know benchmarks by one name only."""

from __future__ import annotations

from collections.abc import Iterator

from benchctl.store.record import ArmResult, CaseSpec, Run


def measured_arms(run: Run) -> Iterator[tuple[CaseSpec, ArmResult]]:
    """Every arm that has a sample, with its case, in the plan's order."""
    for case in run.cases:
        for arm in case.arms:
            if any(taken.seconds for taken in arm.rounds):
                yield case.case, arm


def unique_names(run: Run) -> dict[tuple[str, str], str]:
    """`<case> <arm>` on one line for every measured arm, by case id and arm id; none twice."""
    names: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for case, arm in measured_arms(run):
        wanted = one_line(f"{case.id} {arm.arm.id}") or "unnamed"
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted} ({count})"
        taken.add(name)
        names[case.id, arm.arm.id] = name
    return names


def one_line(text: str) -> str:
    """The text with every run of white space as one blank."""
    return " ".join(text.split())
