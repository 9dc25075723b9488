"""Choices that were measured, in a file for each device with its driver and libraries."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ...gpu.driver import DeviceFacts

SCHEMA = "benchctl.autotune/1"

_DISTRIBUTIONS = (
    "benchctl",
    "nvidia-cublas",
    "nvidia-cublas-cu12",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
    "nvidia-cudnn-frontend",
)
"""What kernels and plans come from, beside what a driver says of itself."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A row of the kernel table, the place of a library's plan in its list, and the plan's name.

    `seconds` is what it took and `tried` how many were measured; neither decides anything later.
    """

    row: str
    plan: int
    detail: str
    seconds: float
    tried: int


class ChoiceCache:
    """Choices by request, kept in `folder`; `problems` says why some were not read or not kept."""

    def __init__(self, folder: Path, facts: DeviceFacts) -> None:
        self._device = _described(facts)
        digest = hashlib.sha256(json.dumps(self._device, sort_keys=True).encode()).hexdigest()
        self.path = folder / f"autotune-{digest[:16]}.json"
        self.problems: dict[str, None] = {}
        self._choices = self._read()

    def get(self, request: str) -> Choice | None:
        """What was chosen for a request, None where it was not measured yet."""
        return self._choices.get(request)

    def put(self, request: str, choice: Choice) -> None:
        """Keep a choice, also in the file where that can be written."""
        # Another process may have measured other requests meanwhile.
        self._choices = {**self._read(), **self._choices, request: choice}
        content = {
            "schema": SCHEMA,
            "device": self._device,
            "choices": {each: asdict(made) for each, made in self._choices.items()},
        }
        making = self.path.with_suffix(f".{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            making.write_text(json.dumps(content, indent=1), encoding="utf-8")
            making.replace(self.path)
        except OSError as error:
            self.problems[f"{self.path} cannot be written: {error.strerror}"] = None

    def _read(self) -> dict[str, Choice]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA or content["device"] != self._device:
                raise ValueError("another schema or device")
            return {each: _choice(made) for each, made in content["choices"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self.problems[f"{self.path} was not readable and is measured anew"] = None
            return {}


def _choice(made: Mapping[str, Any]) -> Choice:
    return Choice(
        row=str(made["row"]),
        plan=int(made["plan"]),
        detail=str(made["detail"]),
        seconds=float(made["seconds"]),
        tried=int(made["tried"]),
    )


def _described(facts: DeviceFacts) -> dict[str, Any]:
    """All that a choice depends on but the request; no two devices of a kind are told apart."""
    versions = dict(facts.versions)
    for distribution in _DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            versions[distribution] = version(distribution)
    return {"name": facts.name, "architecture": facts.architecture, "versions": versions}
