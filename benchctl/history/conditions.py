"""What decides a measured time besides the code under test: machine, libraries, environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchctl.compare.findings import HARMLESS_VARIABLE
from benchctl.store.record import ArmResult, CaseSpec, Run

# The harness's own version moves with the code whose history this is: it must not hide a change.
_NO_CONDITION = frozenset({"benchctl"})


@dataclass(frozen=True, slots=True)
class ConditionChange:
    """One condition that is not what it was."""

    name: str
    before: str
    after: str


def versions_of(run: Run, result: ArmResult) -> dict[str, str]:
    """Versions of the run's software; what the engine itself says of a package comes first."""
    return {**run.versions, **result.versions}


def conditions_of(run: Run, case: CaseSpec, result: ArmResult) -> dict[str, str]:
    """Every condition of one arm's times that the run recorded, as text by name.

    A condition that was not recorded is left out: what is unknown is no change.
    """
    found = {
        _words(name): _text(value)
        for name, value in run.machine.items()
        if name != "id" and value is not None
    }
    found |= _environment_conditions(run.environment)
    found |= {
        name: version
        for name, version in versions_of(run, result).items()
        if name not in _NO_CONDITION
    }
    # Another amount of work under the same name is another case.
    found["work of a step"] = (
        f"{case.step}, {case.flops} flops, {case.bytes_moved} bytes, "
        f"{case.parameter_count} parameters"
    )
    return found


def condition_changes(
    known: Mapping[str, str], conditions: Mapping[str, str]
) -> tuple[ConditionChange, ...]:
    """The conditions that differ from those known last, in the order recorded."""
    return tuple(
        ConditionChange(name, known[name], value)
        for name, value in conditions.items()
        if name in known and known[name] != value
    )


def _environment_conditions(environment: Mapping[str, Any]) -> dict[str, str]:
    """Those volatile facts that last from run to run; load and the like are noise."""
    found = {}
    if environment.get("blas"):
        found["BLAS"] = _text(environment["blas"])
    for name in ("governor", "python_implementation"):
        if environment.get(name):
            found[_words(name)] = _text(environment[name])
    if environment.get("affinity"):
        found["usable cores"] = str(len(environment["affinity"]))
    if "cpu_quota" in environment:
        quota = environment["cpu_quota"]
        found["cpu quota"] = "none" if quota is None else _text(quota)
    variables = environment.get("environment")
    if isinstance(variables, Mapping):
        set_here = [
            f"{name}={value}"
            for name, value in sorted(variables.items())
            if not HARMLESS_VARIABLE.fullmatch(str(name))
        ]
        found["environment variables"] = " ".join(set_here) or "none"
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    # Records hold tuples where the file has lists; both must read the same.
    return json.dumps(value, sort_keys=True, default=str)
