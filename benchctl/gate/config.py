"""`[tool.benchctl]` of a project's pyproject.toml: what to gate, and how its code is found."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchctl.gate.decide import GateRule
from benchctl.gate.errors import GateError

FILE = "pyproject.toml"
TABLE = "[tool.benchctl]"
GATE = "[tool.benchctl.gate]"

# Counts of an engine that do not vary from run to run, and how far each may grow unnoticed.
EXACT_COUNTS = {"launches": 0.0, "graph_nodes": 0.0, "bytes_moved": 0.0, "arena_bytes": 0.005}


@dataclass(frozen=True, slots=True)
class GateCase:
    """One workload of the gate with axis values and engines; `margin` where it has its own."""

    workload: str
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    engines: tuple[str, ...] = ()
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class GateConfig:
    """What a project wants gated.

    `paths` are the folders of its modules, relative to the project; `build` is a command with the
    blanks {source} and {target} that installs a revision into a folder. `quarantine` holds
    names of cases that are reported and never fail the gate: ids, perhaps without some values,
    perhaps with an engine. `counts` are names of exact counts with the
    share by which each may grow.
    """

    paths: tuple[str, ...] = ()
    build: str = ""
    cases: tuple[GateCase, ...] = ()
    commands: Mapping[str, str] = field(default_factory=dict)
    rule: GateRule = field(default_factory=GateRule)
    quarantine: frozenset[str] = frozenset()
    counts: Mapping[str, float] = field(default_factory=lambda: dict(EXACT_COUNTS))


def read_config(text: str, name: str = FILE) -> GateConfig:
    """The configuration in the text of a pyproject.toml; raises `GateError` naming the key."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GateError(f"{name}: {error}", "mend the file") from error
    own = _table(document.get("tool", {}), "benchctl", f"{name}: {TABLE}")
    _only(own, ("paths", "build", "gate", "engines"), f"{name}: {TABLE}")
    where = f"{name}: {GATE}"
    gate = _table(own, "gate", where)
    numbers = ("margin", "screen_rounds", "screen_alpha", "confirm_rounds", "confirm_alpha")
    _only(gate, (*numbers, "cases", "commands", "quarantine", "counts"), where)
    rule = replace(GateRule(), **{key: _number(gate, key, where) for key in numbers if key in gate})
    counts = {**EXACT_COUNTS, **_numbers(gate.get("counts", {}), f"{where} counts")}
    return GateConfig(
        paths=_texts(own.get("paths", []), f"{name}: {TABLE} paths"),
        build=_text(own.get("build", ""), f"{name}: {TABLE} build"),
        cases=tuple(
            _read_case(each, f"{where} cases[{place}]")
            for place, each in enumerate(_list(gate.get("cases", []), f"{where} cases"))
        ),
        commands={
            str(key): _text(value, f"{where} commands.{key}")
            for key, value in _table(gate, "commands", where).items()
        },
        rule=rule,
        quarantine=frozenset(_texts(gate.get("quarantine", []), f"{where} quarantine")),
        counts=counts,
    )


def load_config(folder: Path) -> GateConfig:
    """The configuration of the project in `folder`, the default where it has none."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return GateConfig()
    except OSError as error:
        raise GateError(f"{path} cannot be read: {error.strerror or error}") from error
    return read_config(text, str(path))


def _read_case(value: object, where: str) -> GateCase:
    if isinstance(value, str):
        return GateCase(value)
    if not isinstance(value, Mapping):
        raise GateError(f"{where} expected a workload or a table, received {value!r}")
    _only(value, ("workload", "axes", "engines", "margin"), where)
    if "workload" not in value:
        raise GateError(f"{where} expected a workload, received {dict(value)!r}")
    axes = {
        str(key): tuple(str(each) for each in (item if isinstance(item, list) else [item]))
        for key, item in _table(value, "axes", where).items()
    }
    margin = _number(value, "margin", where) if "margin" in value else None
    engines = _texts(value.get("engines", []), f"{where} engines")
    return GateCase(_text(value["workload"], f"{where} workload"), axes, engines, margin)


def _only(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise GateError(f"{where} has no key {key!r}", f"it knows {', '.join(known)}")


def _table(parent: object, key: str, where: str) -> Mapping[str, Any]:
    found = parent.get(key, {}) if isinstance(parent, Mapping) else {}
    if not isinstance(found, Mapping):
        raise GateError(f"{where}: {key} expected a table, received {found!r}")
    return found


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise GateError(f"{where} expected a list, received {value!r}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise GateError(f"{where} expected text, received {value!r}")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    return tuple(_text(each, where) for each in _list(value, where))


def _number(table: Mapping[str, Any], key: str, where: str) -> Any:
    value = table[key]
    whole = key.endswith("_rounds")
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        kind = "a whole number" if whole else "a number"
        raise GateError(f"{where} {key} expected {kind}, received {value!r}")
    if value < 0 or (key.endswith("_alpha") and not 0 < value < 1):
        raise GateError(f"{where} {key} received {value!r}, which is out of range")
    return value


def _numbers(value: object, where: str) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise GateError(f"{where} expected a table of numbers, received {value!r}")
    return {str(key): float(_number(value, key, where)) for key in value}
