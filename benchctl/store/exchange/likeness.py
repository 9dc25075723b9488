"""Whether runs were measured alike: plan, seed, versions, engines, revision, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from benchctl.store.exchange.errors import MergeError
from benchctl.store.fields import frozen, shown
from benchctl.store.record import ArmSpec, Plan, Run

_WORDS = {
    "cases": "cases",
    "arms": "engines",
    "rounds": "numbers of rounds",
    "seed": "seeds",
    "threads": "numbers of threads",
    "reference_arm": "reference engines",
    "suite": "suites",
    "budget_seconds": "budgets",
    "settings": "settings",
}
"""What each part of a plan is called where it differs."""

# Where compiled kernels are kept changes no steady step.
_HARMLESS_VARIABLE = re.compile(r"\w*_CACHE_(DIR|PATH)")


def require_alike(parts: Sequence[Run]) -> None:
    """Raise `MergeError` with the first difference between a part and the first one."""
    first = parts[0]
    for part in parts[1:]:
        for what, here, there in _differences(part, first):
            raise MergeError(
                f"{what} differ: {part.run_id} has {here}, {first.run_id} has {there}",
                "only parts of one plan, measured alike, make one run",
            )


def machine_id(run: Run) -> str:
    """The machine's id; empty where it is not told."""
    return str(run.machine.get("id", ""))


def _differences(part: Run, first: Run) -> Iterator[tuple[str, str, str]]:
    """What differs, as it is in `part` and as it is in `first`."""
    for each in fields(Plan):
        here, there = getattr(part.plan, each.name), getattr(first.plan, each.name)
        if _comparable(here) != _comparable(there):
            yield _WORDS.get(each.name, each.name), _plan_words(here), _plan_words(there)
    yield from _different_keys("versions", part.versions, first.versions)
    yield from _different_keys("revisions", _revision(part), _revision(first))
    yield from _different_keys("environment variables", _variables(part), _variables(first))
    versions, first_versions = _engine_versions(part), _engine_versions(first)
    for arm_id in sorted(versions.keys() & first_versions.keys()):
        yield from _different_keys(
            f"versions of {arm_id}", versions[arm_id], first_versions[arm_id]
        )
    statuses, first_statuses = _statuses(part), _statuses(first)
    for place in sorted(statuses.keys() & first_statuses.keys()):
        pair = (statuses[place], first_statuses[place])
        if set(pair) == {"ok", "unavailable"}:
            yield "engines", f"{place[1]} {pair[0]}", f"{place[1]} {pair[1]}"


def _different_keys(
    what: str, here: Mapping[str, Any], there: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            ours, theirs = (side.get(name, "none") for side in (here, there))
            yield what, f"{name} {ours}", f"{name} {theirs}"


def _comparable(value: Any) -> Any:
    """A value as it is after a file: lists and tuples alike."""
    if isinstance(value, Mapping):
        return {str(key): _comparable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_comparable(each) for each in value)
    return frozen(value)


def _plan_words(value: Any) -> str:
    """A part of a plan as a message quotes it: names where it has them."""
    if isinstance(value, tuple):
        names = [each.id if hasattr(each, "id") else str(each) for each in value]
        switched = [_switches(each) for each in value if isinstance(each, ArmSpec)]
        return shown(", ".join(names) + "".join(switched))
    return shown(value)


def _switches(arm: ArmSpec) -> str:
    return "".join(f" {name}={value}" for name, value in arm.switches.items())


def _revision(run: Run) -> dict[str, Any]:
    return {name: run.git[name] for name in ("revision", "dirty") if name in run.git}


def _variables(run: Run) -> dict[str, Any]:
    """The environment variables that change speed."""
    variables = run.environment.get("environment")
    if not isinstance(variables, Mapping):
        return {}
    return {
        str(name): value
        for name, value in variables.items()
        if not _HARMLESS_VARIABLE.fullmatch(str(name))
    }


def _engine_versions(run: Run) -> dict[str, Mapping[str, str]]:
    """The versions that each arm has told, by arm id; arms that told none are left out."""
    return {arm.arm.id: arm.versions for case in run.cases for arm in case.arms if arm.versions}


def _statuses(run: Run) -> dict[tuple[str, str], str]:
    """How each arm of each case went, by case id and arm id."""
    return {(case.case.id, arm.arm.id): arm.status for case in run.cases for arm in case.arms}
