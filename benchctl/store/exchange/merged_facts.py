"""Machine and environment of a merged run: what its parts have in common, and each part's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchctl.measure.environment import fingerprint
from benchctl.store.exchange.likeness import machine_id
from benchctl.store.record import Run


def merged_machine(parts: Sequence[Run], machine_of_case: Mapping[str, str]) -> dict[str, Any]:
    """The machine of all parts; of several, their facts by id and the one of each case.

    Several machines have an id of their own, so that nothing is taken for the time of one of them.
    """
    by_id = {machine_id(part): dict(part.machine) for part in parts}
    if len(by_id) == 1:
        return dict(parts[0].machine)
    processors = dict.fromkeys(str(facts.get("cpu", "")) for facts in by_id.values())
    return {
        "id": fingerprint({"machines": sorted(by_id)}),
        "cpu": " and ".join(name for name in processors if name),
        "machines": by_id,
        "machine_of_case": dict(machine_of_case),
    }


def merged_environment(parts: Sequence[Run]) -> dict[str, Any]:
    """The facts of the first part, the highest load, and every part's own facts under `parts`.

    From several machines only the facts that are the same on all are facts of the whole.
    """
    if len({machine_id(part) for part in parts}) == 1:
        together = {
            name: value for part in reversed(parts) for name, value in part.environment.items()
        }
    else:
        first = parts[0].environment
        together = {
            name: value
            for name, value in first.items()
            if all(part.environment.get(name) == value for part in parts)
        }
    loads = [load for part in parts if (load := _load(part))]
    if loads:
        together["load_average"] = max(loads)
    return {**together, "parts": tuple(_part(part) for part in parts)}


def _part(part: Run) -> dict[str, Any]:
    return {
        "run_id": part.run_id,
        "started_utc": part.started_utc,
        "machine": machine_id(part),
        "cases": tuple(case.case.id for case in part.cases),
        "environment": dict(part.environment),
    }


def _load(part: Run) -> tuple[float, ...]:
    load = part.environment.get("load_average")
    return tuple(load) if isinstance(load, list | tuple) else ()
