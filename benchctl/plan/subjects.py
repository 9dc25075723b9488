"""Subjects of a comparison: the same arms on two revisions of the code, or two command lines.

A plan names its subjects under `settings["subjects"]`; an arm says which of them it runs. Arms of
two subjects that differ in nothing else are a pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchctl.plan.schedule import CASE_ARMS
from benchctl.store.record import ArmSpec, Plan

SUBJECTS = "subjects"
MARK = "~"
"""Between the id of an arm and the name of its subject."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One revision of the code under test.

    `paths` are put before all others where its workers look for modules, `folder` is where they
    run; empty where the harness's own surroundings serve. `revision` is for the reader: a commit,
    or words such as "working tree".
    """

    name: str
    revision: str = ""
    folder: str = ""
    paths: tuple[str, ...] = ()


def with_subjects(plan: Plan, subjects: Sequence[Subject]) -> Plan:
    """The plan with every arm once for each subject, the first subject being the reference."""
    doubled = {
        arm.id: tuple(arm_of_subject(arm, subject.name) for subject in subjects)
        for arm in plan.arms
    }
    chosen: Mapping[str, Sequence[str]] = plan.settings.get(CASE_ARMS, {})
    return replace(
        plan,
        arms=tuple(arm for arms in doubled.values() for arm in arms),
        reference_arm=doubled[plan.reference_arm][0].id if plan.arms else "",
        settings={
            **plan.settings,
            CASE_ARMS: {
                case_id: [arm.id for name in names for arm in doubled[name]]
                for case_id, names in chosen.items()
            },
            SUBJECTS: {subject.name: asdict(subject) for subject in subjects},
        },
    )


def arm_of_subject(arm: ArmSpec, subject: str) -> ArmSpec:
    """The arm as it runs on one subject."""
    return replace(arm, id=f"{arm.id}{MARK}{subject}", subject=subject)


def subject_of(plan: Plan, arm: ArmSpec) -> Subject | None:
    """The subject that an arm runs, None where it runs what is installed here."""
    found: Any = plan.settings.get(SUBJECTS, {}).get(arm.subject)
    if not isinstance(found, Mapping):
        return None
    return Subject(
        name=arm.subject,
        revision=str(found.get("revision", "")),
        folder=str(found.get("folder", "")),
        paths=tuple(str(each) for each in found.get("paths", ())),
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arms of a case to be compared; `label` is what they have in common."""

    label: str
    base_id: str
    head_id: str


def pairs_of(plan: Plan, arms: Sequence[ArmSpec]) -> list[Pair]:
    """The pairs among a case's arms: by subject where there are two, else with the reference."""
    names = list(plan.settings.get(SUBJECTS, {}))
    if len(names) == 2:
        base, head = names
        by_id = {arm.id: arm for arm in arms}
        found = []
        for arm in arms:
            label = arm.id.removesuffix(f"{MARK}{base}")
            other = f"{label}{MARK}{head}"
            if arm.subject == base and other in by_id:
                found.append(Pair(label, arm.id, other))
        return found
    reference = plan.reference_arm
    return [Pair(arm.id, reference, arm.id) for arm in arms if arm.id != reference]
