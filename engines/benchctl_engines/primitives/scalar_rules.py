"""Elementwise rules, written once as scalar functions.

`ScalarRule(function, arity)` traces a plain Python function of scalars into a small expression;
printers turn the expression into a NumPy ufunc, the body of a Numba loop or CUDA C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Operator:
    """How one scalar operation is written: Python source for Numba, CUDA C, and NumPy's ufunc."""

    python: str
    cuda: str
    ufunc: str | None


# In CUDA C sums and products are functions of kernels/cuda_text/scalars.cuh: of a product and a sum
# a compiler would make one operation with one rounding, and truth values have sums of their own.
OPERATORS: dict[str, Operator] = {
    "add": Operator("({0} + {1})", "add({0}, {1})", "add"),
    "subtract": Operator("({0} - {1})", "subtract({0}, {1})", "subtract"),
    "multiply": Operator("({0} * {1})", "multiply({0}, {1})", "multiply"),
    "divide": Operator("({0} / {1})", "({0} / {1})", "divide"),
    "negative": Operator("(-{0})", "(-{0})", "negative"),
    "exp": Operator("math.exp({0})", "exp({0})", "exp"),
    "log": Operator("math.log({0})", "log({0})", "log"),
    "sqrt": Operator("math.sqrt({0})", "sqrt({0})", "sqrt"),
    "tanh": Operator("math.tanh({0})", "tanh({0})", "tanh"),
    "cos": Operator("math.cos({0})", "cos({0})", "cos"),
    "sin": Operator("math.sin({0})", "sin({0})", "sin"),
    "greater": Operator("({0} > {1})", "({0} > {1})", "greater"),
    "equal": Operator("({0} == {1})", "({0} == {1})", "equal"),
    "where": Operator("({1} if {0} else {2})", "({0} ? {1} : {2})", None),
}


class Scalar:
    """A node of a scalar expression."""

    __slots__ = ("arguments", "operator", "value")

    def __init__(self, operator: str, arguments: tuple[Scalar, ...] = (), value: Any = None):
        self.operator = operator
        self.arguments = arguments
        self.value = value

    def __add__(self, other: Any) -> Scalar:
        return _node("add", self, other)

    def __sub__(self, other: Any) -> Scalar:
        return _node("subtract", self, other)

    def __mul__(self, other: Any) -> Scalar:
        return _node("multiply", self, other)

    def __truediv__(self, other: Any) -> Scalar:
        return _node("divide", self, other)

    def __neg__(self) -> Scalar:
        return _node("negative", self)

    def __gt__(self, other: Any) -> Scalar:
        return _node("greater", self, other)


def _node(operator: str, *arguments: Any) -> Scalar:
    lifted = tuple(
        each if isinstance(each, Scalar) else Scalar("constant", value=float(each))
        for each in arguments
    )
    return Scalar(operator, lifted)


def scalar_function(operator: str) -> Callable[..., Scalar]:
    """The traced form of one operator, for use inside scalar rules."""

    def call(*arguments: Any) -> Scalar:
        return _node(operator, *arguments)

    return call


class ScalarRule:
    """An elementwise rule as an expression of its arguments.

    `ufunc` names a NumPy ufunc that computes the same and that the expression alone does not show.
    """

    __slots__ = ("_ufunc", "arity", "expression")

    def __init__(
        self, function: Callable[..., Scalar], arity: int, ufunc: str | None = None
    ) -> None:
        self.arity = arity
        self._ufunc = ufunc
        self.expression = function(*(Scalar("argument", value=i) for i in range(arity)))

    @property
    def ufunc(self) -> str | None:
        """Name of the one NumPy ufunc that computes the rule, None where it takes several."""
        if self._ufunc:
            return self._ufunc
        root = self.expression
        plain = all(
            each.operator == "argument" and each.value == place
            for place, each in enumerate(root.arguments)
        )
        if root.operator in OPERATORS and plain and len(root.arguments) == self.arity:
            return OPERATORS[root.operator].ufunc
        return None

    def python(self, arguments: Sequence[str], constant: str) -> str:
        """Python source; `constant` is the name that casts a literal to the loop's dtype."""
        return _print(self.expression, arguments, "python", f"{constant}({{0!r}})")

    def cuda(self, arguments: Sequence[str], constant: str) -> str:
        """CUDA C source; `constant` is the scalar type's name."""
        return _print(self.expression, arguments, "cuda", f"({constant}){{0!r}}")


def _print(node: Scalar, arguments: Sequence[str], language: str, literal: str) -> str:
    if node.operator == "argument":
        return str(arguments[node.value])
    if node.operator == "constant":
        return literal.format(node.value)
    inner = (_print(each, arguments, language, literal) for each in node.arguments)
    operator = OPERATORS[node.operator]
    template = operator.python if language == "python" else operator.cuda
    return template.format(*inner)
