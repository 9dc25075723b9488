"""What a program asks of its engine, found without arrays: the calls it makes, and on what."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ..contract import Case, Program
from ..vocabulary import Vocabulary


class ProbedValue:
    """Stands for a tensor; `name` is that of an input or parameter, empty for a result."""

    __slots__ = ("kind", "name")

    def __init__(self, kind: str = "result", name: str = "") -> None:
        self.kind = kind
        self.name = name


@dataclass(frozen=True, slots=True)
class ProbedCall:
    """One call of the vocabulary: every argument by its name, defaults filled in."""

    operation: str
    arguments: Mapping[str, Any]
    result: ProbedValue


@dataclass(slots=True)
class ProbedProgram:
    """The calls in order; `values` is None where the program looked at its arrays and stopped."""

    calls: list[ProbedCall] = field(default_factory=list)
    values: Mapping[str, Any] | None = None


class _NamedValues(dict[str, ProbedValue]):
    """A stand-in under every name that is asked for."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, name: str) -> ProbedValue:
        value = self[name] = ProbedValue(self._kind, name)
        return value


class _Probe:
    """Offers the vocabulary and notes the calls, computing nothing."""

    def __init__(self, calls: list[ProbedCall]) -> None:
        self._calls = calls

    def __getattr__(self, operation: str) -> Callable[..., ProbedValue]:
        signature = _signature(operation)

        def note(*operands: Any, **attributes: Any) -> ProbedValue:
            bound = signature.bind(None, *operands, **attributes)
            bound.apply_defaults()
            arguments = {name: each for name, each in bound.arguments.items() if name != "self"}
            self._calls.append(ProbedCall(operation, arguments, ProbedValue()))
            return self._calls[-1].result

        return note


@cache
def _signature(operation: str) -> inspect.Signature:
    return inspect.signature(getattr(Vocabulary, operation))


def probe_program(workload: Program, case: Case) -> ProbedProgram:
    """The calls that a program makes, as far as can be told without arrays."""
    probed = ProbedProgram()
    with suppress(Exception):  # a program that looks at its arrays: the first step will tell
        inputs, parameters = _NamedValues("input"), _NamedValues("parameter")
        outputs = workload.program(_Probe(probed.calls), parameters, inputs, case)
        probed.values = outputs.values
    return probed
