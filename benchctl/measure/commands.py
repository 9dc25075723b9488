"""Command lines as something to measure: one step is one whole process, from start to exit."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from benchctl.measure.settings import COMMAND_PYTHONPATH
from benchctl_engines.contract import (
    AVAILABLE,
    Array,
    Availability,
    Case,
    EngineOptions,
    Outputs,
    Program,
    RunnerFacts,
    Switch,
)
from benchctl_workloads import Axis, Workload

__benchctl_reference__ = "benchctl.measure.commands:CommandWorkload"
COMMAND_WORKLOAD = __benchctl_reference__
COMMAND_ENGINE = "benchctl.measure.commands:make_engine"
LINE = "line"
"""The switch that holds the command line."""

_SHELL_CHARACTERS = frozenset("|&;<>()$`*?[]{}~!\n")
_SHOWN_LINES = 3


class CommandError(RuntimeError):
    """A command that did not end with 0; the message has its last words."""


class CommandWorkload(Workload):
    """A command line by its name; the line itself is the arm's, since it may differ."""

    name = "command"
    axes: ClassVar[tuple[Axis, ...]] = (Axis("name", "command"),)
    summary = "A whole process, from start to exit"

    def inputs(self, case: Case, rng: np.random.Generator) -> dict[str, Array]:
        """None: a command reads what it likes."""
        return {}

    def program(
        self, ops: Any, parameters: Mapping[str, Any], inputs: Mapping[str, Any], case: Case
    ) -> Outputs:
        """Nothing that an engine could compute."""
        return Outputs({})

    def title(self, case: Case) -> str:
        """The name."""
        return str(case["name"])


def command_arguments(line: str) -> list[str]:
    """The arguments of a command line; by way of a shell where it uses what only one knows."""
    if _SHELL_CHARACTERS & set(line):
        return ["/bin/sh", "-c", line]
    return shlex.split(line)


class CommandRunner:
    """Runs one command line; its output is thrown away, its errors are kept in case it fails."""

    def __init__(self, line: str) -> None:
        self._line = line
        self._arguments = command_arguments(line)
        self._environment = _command_environment()

    def build(self) -> None:
        """Nothing."""

    def compile(self) -> None:
        """Nothing."""

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Nothing."""

    def step(self) -> None:
        """Start the command and wait for its end; raises `CommandError`."""
        with tempfile.TemporaryFile() as errors:
            try:
                ended = subprocess.run(
                    self._arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=self._environment,
                    check=False,
                )
            except OSError as error:
                raise CommandError(f"{self._line}: {error.strerror or error}") from error
            if ended.returncode:
                errors.seek(0)
                raise CommandError(_failure(self._line, ended.returncode, errors.read()))

    def outputs(self) -> dict[str, Array]:
        """None."""
        return {}

    def facts(self) -> RunnerFacts:
        """The command line."""
        return RunnerFacts(notes=(self._line,))

    def close(self) -> None:
        """Nothing is held."""


def _command_environment() -> dict[str, str]:
    """What the command sees: the worker's surroundings with the modules of its own revision."""
    environment = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHASHSEED", "NUMBA_CACHE_DIR"):
        environment.pop(name, None)
    if paths := environment.pop(COMMAND_PYTHONPATH, ""):
        environment["PYTHONPATH"] = paths
    return environment


def _failure(line: str, code: int, errors: bytes) -> str:
    how = f"exit code {code}" if code > 0 else f"signal {-code}"
    words = errors.decode("utf-8", "replace").strip().splitlines()[-_SHOWN_LINES:]
    return "\n".join([f"{line}: {how}", *words])


class CommandEngine:
    """Measures command lines."""

    name = "command"
    paradigm = "peer"

    def versions(self) -> Mapping[str, str]:
        """Nobody's: the command knows its own."""
        return {}

    def availability(self, device: str) -> Availability:
        """Where processes can be started: everywhere."""
        return AVAILABLE

    def supports(self, workload: Program, case: Case) -> Availability:
        """Commands only."""
        if workload.name == CommandWorkload.name:
            return AVAILABLE
        return Availability(False, "the command engine measures command lines", "use --command")

    def switches(self) -> Mapping[str, Switch]:
        """The command line."""
        return {LINE: Switch("", (), "the command line")}

    def prepare(
        self,
        workload: Program,
        case: Case,
        parameters: Mapping[str, Array],
        inputs: Mapping[str, Array],
        options: EngineOptions,
    ) -> CommandRunner:
        """A runner of the line that the switches give."""
        return CommandRunner(options.switches[LINE])


def make_engine() -> CommandEngine:
    """The factory behind `COMMAND_ENGINE`."""
    return CommandEngine()
