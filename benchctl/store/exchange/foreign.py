"""What a file of another tool says, before it becomes a run; what it does not say stays empty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchctl.store.fields import Fields, SchemaError, shown
from benchctl.store.locations import parse_utc
from benchctl.store.record import ArmRound, ArmSpec, ArmStatus, CaseSpec

Parameter = str | int | float

STEP = "benchmark"
"""What one step of an imported case is: one pass over whatever the tool measured."""


@dataclass(frozen=True, slots=True)
class ForeignBenchmark:
    """One case and arm of a file: its rounds, or why there are none."""

    case: CaseSpec
    arm: ArmSpec
    rounds: tuple[ArmRound, ...] = ()
    status: ArmStatus = "ok"
    message: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignResults:
    """Everything that a file says; `left_out` has a line for each entry that is no time.

    `threads` and `seed` are 0 where they are not told; `notes` hold for all benchmarks.
    """

    tool: str
    tool_version: str
    benchmarks: tuple[ForeignBenchmark, ...]
    started_utc: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    git: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 0
    seed: int = 0
    reference_arm: str = ""
    suite: str = ""
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def foreign_case(workload: str, parameters: Mapping[str, Parameter]) -> CaseSpec:
    """A case under the name that the tool gave its benchmark."""
    inside = ",".join(f"{name}={value}" for name, value in parameters.items())
    return CaseSpec(
        id=f"{workload}[{inside}]" if parameters else workload,
        workload=workload,
        parameters=parameters,
        title=", ".join(f"{name} {value}" for name, value in parameters.items()),
        step=STEP,
    )


def foreign_arm(tool: str, name: str = "") -> ArmSpec:
    """The arm of a tool, or of one of its commands; no format tells the device."""
    return ArmSpec(id=name or tool, engine=tool, device="")


def name_in(fields: Fields, key: str) -> str:
    """A name that is not empty."""
    name = fields.text(key)
    if not name.strip():
        raise SchemaError(f"{key!r} expected a name, received {shown(name)}")
    return name


def numbers_in(fields: Fields, key: str) -> list[float]:
    """A list of finite numbers."""
    return finite_numbers(fields.items(key), repr(key))


def finite_numbers(values: Any, name: str) -> list[float]:
    """The values as floats; raises `SchemaError` where one is no finite number."""
    if not isinstance(values, list | tuple):
        raise SchemaError(f"{name} expected a list of numbers, received {shown(values)}")
    return [finite_number(value, name) for value in values]


def finite_number(value: Any, name: str) -> float:
    """The value as a float; raises `SchemaError` where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SchemaError(f"{name} expected a finite number, received {shown(value)}")
    return float(value)


def parameter_of(value: Any) -> Parameter:
    """A parameter as a record holds it: text and numbers as they are, all else as text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return str(value)
    return value


def parameter_from_text(text: str) -> Parameter:
    """The number that a text spells, or the text."""
    for kind in (int, float):
        try:
            value: int | float = kind(text)
        except ValueError:
            continue
        # "1_000" and "nan" are words to the tool that wrote them.
        return value if math.isfinite(value) and "_" not in text else text
    return text


def given(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are told."""
    return {name: value for name, value in facts.items() if value not in (None, "", (), {})}


def file_name(path: object) -> str:
    """The name of a file without its folders, which are the user's own; empty for no path."""
    text = str(path or "").replace("\\", "/")
    return Path(text).name


def utc_text(text: str) -> str:
    """A moment as records hold it, from ISO 8601; UTC where it names no zone."""
    try:
        return _utc_text(parse_utc(text))
    except (ValueError, OverflowError) as error:
        raise SchemaError(f"expected a time such as 2026-11-05T12:00:00, received {text!r}") from (
            error
        )


def utc_from_milliseconds(milliseconds: float) -> str:
    """A moment as records hold it, from milliseconds since 1970."""
    try:
        return _utc_text(datetime.fromtimestamp(milliseconds / 1000, UTC))
    except (ValueError, OverflowError, OSError) as error:
        raise SchemaError(f"expected milliseconds since 1970, received {milliseconds}") from error


def _utc_text(moment: datetime) -> str:
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"
