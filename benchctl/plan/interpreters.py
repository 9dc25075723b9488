"""Engines that run under another interpreter, as pyproject.toml names them.

    [tool.benchctl.engines.torch-old]
    engine = "torch"                      # the table's own name where this is left out
    python = "../old/bin/python"          # relative to the file

So two versions of a framework, or frameworks whose dependencies clash, take turns in one run. A
plan carries what it needs under `settings["interpreters"]`: engine name -> engine and python.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchctl.plan.errors import PlanError
from benchctl.store.record import ArmSpec, Plan

if TYPE_CHECKING:
    from benchctl_engines.contract import (
        Array,
        Availability,
        Case,
        Engine,
        EngineOptions,
        Paradigm,
        Program,
        Runner,
        Switch,
    )

FILE = "pyproject.toml"
INTERPRETERS = "interpreters"
_KEYS = ("engine", "python")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What runs an engine: the name under which it is registered, and the python, absolute."""

    engine: str
    python: str


def configured_interpreters(folder: Path | None = None) -> dict[str, Interpreter]:
    """The engines that the nearest pyproject.toml, from `folder` up, gives an interpreter.

    Raises `PlanError` naming the key that is wrong; a file that is no TOML is others' to report.
    """
    start = (folder or Path.cwd()).absolute()
    path = next((each / FILE for each in (start, *start.parents) if (each / FILE).is_file()), None)
    if path is None:
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    tables: Any = document.get("tool", {}).get("benchctl", {})
    tables = tables.get("engines", {}) if isinstance(tables, Mapping) else {}
    where = f"{path}: [tool.benchctl.engines]"
    if not isinstance(tables, Mapping):
        raise PlanError(f"{where} expected tables, received {tables!r}")
    return {str(name): _read(name, table, where, path.parent) for name, table in tables.items()}


def _read(name: str, table: object, where: str, folder: Path) -> Interpreter:
    example = f'[tool.benchctl.engines.{name}] python = "../old/bin/python"'
    if not isinstance(table, Mapping):
        raise PlanError(f"{where} {name} expected a table, received {table!r}", example)
    for key, value in table.items():
        if key not in _KEYS:
            raise PlanError(f"{where} {name} has no key {key!r}", f"it knows {', '.join(_KEYS)}")
        if not isinstance(value, str) or not value:
            raise PlanError(f"{where} {name} {key} expected text, received {value!r}", example)
    if "python" not in table:
        raise PlanError(f"{where} {name} expected a python", example)
    python = Path(table["python"]).expanduser()
    # A name without a folder is looked for where commands are. No link is followed: that of an
    # environment's python is what tells the environment.
    found = shutil.which(python) if len(python.parts) == 1 else (folder / python).absolute()
    return Interpreter(str(table.get("engine", name)), str(found or python))


def with_interpreters(plan: Plan) -> Plan:
    """The plan with the interpreters of its engines, so that it can be resumed anywhere."""
    configured = configured_interpreters()
    used = {arm.engine: configured[arm.engine] for arm in plan.arms if arm.engine in configured}
    if not used:
        return plan
    found = {name: asdict(each) for name, each in used.items()}
    return replace(plan, settings={**plan.settings, INTERPRETERS: found})


def interpreter_of(plan: Plan, arm: ArmSpec) -> Interpreter | None:
    """The interpreter of an arm, None where it runs in this one's environment."""
    found = plan.settings.get(INTERPRETERS, {}).get(arm.engine)
    return None if found is None else Interpreter(found["engine"], found["python"])


class ForeignEngine:
    """An engine whose packages are another interpreter's: only a worker there can tell of them."""

    paradigm: Paradigm = "peer"

    def __init__(self, name: str, engine: Engine, python: str) -> None:
        from benchctl_engines.contract import COMMON_PRECISIONS

        self.name = name
        self._engine = engine
        self._python = python
        self.precisions = getattr(engine, "precisions", COMMON_PRECISIONS)

    def versions(self) -> Mapping[str, str]:
        """Known to its workers alone."""
        return {}

    def availability(self, device: str) -> Availability:
        """Whether the interpreter is there; whether it has the packages is found out in it."""
        from benchctl_engines.contract import AVAILABLE, Availability

        if os.access(self._python, os.X_OK) and Path(self._python).is_file():
            return AVAILABLE
        return Availability(
            False,
            f"the python of engine {self.name} is not there: {self._python}",
            f"make its environment, or mend {FILE}: [tool.benchctl.engines.{self.name}]",
        )

    def supports(self, workload: Program, case: Case) -> Availability:
        """What the engine itself says."""
        return self._engine.supports(workload, case)

    def switches(self) -> Mapping[str, Switch]:
        """The engine's."""
        return self._engine.switches()

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> Runner:
        """Refused: it runs in a worker of its own."""
        raise NotImplementedError(f"the engine {self.name} runs under {self._python} alone")
