"""What a program asks of its engine, found without arrays: the calls it makes, and on what."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ..contract import Case, Program
from ..nests import flat, like
from ..primitives.control_flow import CONTROL_FLOW
from ..primitives.operators import TensorOperators
from ..primitives.primitive import Primitive
from ..vocabulary import Vocabulary


class ProbedValue(TensorOperators):
    """Stands for a tensor; `name` is that of an input or parameter, empty for a result."""

    __slots__ = ("_calls", "kind", "name")

    def __init__(self, calls: list[ProbedCall], kind: str = "result", name: str = "") -> None:
        self._calls = calls
        self.kind = kind
        self.name = name

    def apply_primitive(
        self, primitive: Primitive, operands: Sequence[Any], attributes: Mapping[str, Any]
    ) -> ProbedValue:
        """Note what an operator of Python asks for."""
        return _note(self._calls, primitive.name, operands, attributes)


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

    def __init__(self, calls: list[ProbedCall], kind: str) -> None:
        super().__init__()
        self._calls = calls
        self._kind = kind

    def __missing__(self, name: str) -> ProbedValue:
        value = self[name] = ProbedValue(self._calls, self._kind, name)
        return value


class _Probe:
    """Offers the vocabulary and notes the calls, computing nothing."""

    def __init__(self, calls: list[ProbedCall]) -> None:
        self._calls = calls

    # Branches and loops are asked what they do: all branches, and one iteration.

    def cond(self, predicate: Any, then: Any, otherwise: Any, operands: Sequence[Any] = ()) -> Any:
        """Note the calls of both branches."""
        _note(self._calls, "cond", (predicate, then, otherwise, operands), {})
        nest = then(*operands)
        otherwise(*operands)
        return self._stand_ins(nest)

    def scan(self, body: Any, carry: Any, xs: Any) -> tuple[Any, Any]:
        """Note the calls of an iteration."""
        _note(self._calls, "scan", (body, carry, xs), {})
        _, y = body(self._stand_ins(carry), self._stand_ins(xs))
        return self._stand_ins(carry), self._stand_ins(y)

    def while_loop(self, condition: Any, body: Any, carry: Any, limit: int | None = None) -> Any:
        """Note the calls of an iteration."""
        _note(self._calls, "while_loop", (condition, body, carry, limit), {})
        condition(self._stand_ins(carry))
        body(self._stand_ins(carry))
        return self._stand_ins(carry)

    def _stand_ins(self, nest: Any) -> Any:
        return like(nest, [ProbedValue(self._calls) for _ in flat(nest)])

    def __getattr__(self, operation: str) -> Callable[..., ProbedValue]:
        def note(*operands: Any, **attributes: Any) -> ProbedValue:
            return _note(self._calls, operation, operands, attributes)

        return note


def _note(
    calls: list[ProbedCall], operation: str, operands: Sequence[Any], attributes: Mapping[str, Any]
) -> ProbedValue:
    """Append a call; one that the vocabulary does not have keeps its operands by number."""
    signature = _signature(operation)
    if signature is None:
        arguments = {str(place): each for place, each in enumerate(operands)} | dict(attributes)
    else:
        bound = signature.bind(None, *operands, **attributes)
        bound.apply_defaults()
        arguments = {name: each for name, each in bound.arguments.items() if name != "self"}
    calls.append(ProbedCall(operation, arguments, ProbedValue(calls)))
    return calls[-1].result


@cache
def _signature(operation: str) -> inspect.Signature | None:
    method = getattr(Vocabulary, operation, None)
    return None if method is None else inspect.signature(method)


def probe_program(workload: Program, case: Case) -> ProbedProgram:
    """The calls that a program makes, as far as can be told without arrays."""
    probed = ProbedProgram()
    with suppress(Exception):  # a program that looks at its arrays: the first step will tell
        calls = probed.calls
        inputs, parameters = _NamedValues(calls, "input"), _NamedValues(calls, "parameter")
        outputs = workload.program(_Probe(calls), parameters, inputs, case)
        probed.values = outputs.values
    return probed


def branches(workload: Program, case: Case) -> bool:
    """Whether what a program computes depends on its data: it has branches or loops."""
    names = {each.name for each in CONTROL_FLOW}
    return any(call.operation in names for call in probe_program(workload, case).calls)
