"""Branches and loops of a framework that computes at once: Python's own `if` and loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..nests import flat, like

Tensor = Any


class PythonControlFlow:
    """Part of a vocabulary; see benchctl_engines.vocabulary."""

    def cond(
        self,
        predicate: Tensor,
        then: Callable[..., Any],
        otherwise: Callable[..., Any],
        operands: Sequence[Tensor] = (),
    ) -> Any:
        return (then if bool(self._value(predicate)) else otherwise)(*operands)

    def scan(self, body: Callable[[Any, Any], Any], carry: Any, xs: Any) -> tuple[Any, Any]:
        stacks = [self._value(each) for each in flat(xs)]
        made: list[list[Tensor]] = []
        y: Any = None
        for place in range(len(stacks[0])):
            carry, y = body(carry, like(xs, [each[place] for each in stacks]))
            made.append([self._value(each) for each in flat(y)])
        return carry, like(y, [self._stacked(rows) for rows in zip(*made, strict=True)])

    def while_loop(
        self,
        condition: Callable[[Any], Any],
        body: Callable[[Any], Any],
        carry: Any,
        limit: int | None = None,
    ) -> Any:
        done = 0
        while done != limit and bool(self._value(condition(carry))):
            carry = body(carry)
            done += 1
        return carry

    def _value(self, tensor: Tensor) -> Tensor:
        """The tensor itself, where an operation may have given something that stands for it."""
        return tensor

    def _stacked(self, rows: Sequence[Tensor]) -> Tensor:
        """Tensors along a new first axis."""
        raise NotImplementedError
