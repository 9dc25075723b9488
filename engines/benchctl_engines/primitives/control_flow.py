"""Branches and loops over parts of a graph: shape rules, and the errors that both engines raise.

The static engine alone has them as operations. A part is its `Body`: attributes here know of it
only that `specs` are those of its results. On the eager engine they are `if` and `for` of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .primitive import Primitive
from .specs import ShapeError, TensorSpec, spec


class HasSpecs(Protocol):
    """A part of a program with results of known shapes."""

    @property
    def specs(self) -> tuple[TensorSpec, ...]: ...


def _cond_infer(
    predicate: TensorSpec,
    *captured: TensorSpec,
    then: HasSpecs,
    otherwise: HasSpecs,
    then_places: tuple[int, ...],
    otherwise_places: tuple[int, ...],
) -> tuple[TensorSpec, ...]:
    by_place = dict(zip(then_places, then.specs, strict=True))
    by_place |= dict(zip(otherwise_places, otherwise.specs, strict=True))
    return tuple(by_place[place] for place in range(len(by_place)))


def _scan_infer(
    *operands: TensorSpec,
    body: HasSpecs,
    carries: int,
    rows: int,
    length: int,
    reverse: bool,
    counted: bool,
) -> tuple[TensorSpec, ...]:
    return (*body.specs[:carries], *_stacks(body.specs[carries:], length))


def _while_infer(
    *operands: TensorSpec,
    condition: HasSpecs,
    body: HasSpecs,
    carries: int,
    limit: int | None,
    counting: bool,
) -> tuple[TensorSpec, ...]:
    last = body.specs[:carries]
    if not counting:
        return last
    return (*last, spec((), "int64"), *_stacks(body.specs[carries:], limit or 0))


def _stacks(rows: Sequence[TensorSpec], length: int) -> tuple[TensorSpec, ...]:
    return tuple(spec((length, *each.shape), each.dtype) for each in rows)


# Operands: the predicate and what the branches read. Each branch gives the results at its places;
# those that only one of them gives hold anything after the other.
cond = Primitive("cond", _cond_infer)
# Operands: carries, stacks whose rows the body takes, what it reads besides, and the number of
# iterations where it is `counted`. Results: the last carries, and a stack of each further result.
scan = Primitive("scan", _scan_infer)
# Operands: carries and what condition and body read. Results: the last carries; if `counting`,
# also the number of iterations and stacks of `limit` rows, of which so many are written.
while_loop = Primitive("while_loop", _while_infer)

CONTROL_FLOW = (cond, scan, while_loop)

Where = Callable[[], object]
"""Gives the place that an error names."""


# ----- rules that both engines hold a program to -------------------------------------------------


def require_predicate(name: str, predicate: Any, where: Where) -> None:
    """Raise `ShapeError` unless the predicate is a bool scalar."""
    found = getattr(predicate, "spec", None)
    if found is not spec((), "bool"):
        received = found if found is not None else type(predicate).__name__
        raise ShapeError(
            f"{name} expected a scalar of type bool, received {received}   (at {where()})"
        )


def require_alike(
    what: str, expected: Sequence[TensorSpec], received: Sequence[TensorSpec], where: Where
) -> None:
    """Raise `ShapeError` unless two lists of specs are the same."""
    if tuple(expected) != tuple(received):
        raise ShapeError(
            f"{what} expected {words(expected)}, received {words(received)}   (at {where()})"
        )


def require_kept(
    name: str, expected: Sequence[TensorSpec], received: Sequence[TensorSpec], where: Where
) -> None:
    """Raise `ShapeError` unless the body of the loop `name` gave a carry like that it took."""
    require_alike(f"{name}'s body, which keeps its carry,", expected, received, where)


def words(specs: Sequence[TensorSpec]) -> str:
    """Specs as an error names them."""
    return f"({', '.join(map(str, specs))})"


def require_pair(result: Any, where: Where) -> tuple[Any, Any]:
    """The carry and the row that the body of a scan returned; raises `ShapeError`."""
    if not isinstance(result, tuple) or len(result) != 2:
        many = isinstance(result, tuple)
        received = f"a tuple of {len(result)}" if many else type(result).__name__
        raise ShapeError(
            f"scan expected its body to return (carry, y), received {received}   (at {where()}); "
            "y may be None"
        )
    return result


def rows_of(stacks: Sequence[TensorSpec], where: Where) -> int:
    """How many rows the stacks of a scan have; raises `ShapeError`."""
    sizes = {each.shape[0] if each.rank else None for each in stacks}
    length = next(iter(sizes), None)
    if len(sizes) != 1 or not length:
        raise ShapeError(
            "scan expected xs with the same number of rows along axis 0, at least one, received "
            f"{words(stacks)}   (at {where()})"
        )
    return length


def require_limit(limit: Any, where: Where) -> None:
    """Raise `ShapeError` unless the limit of a loop is None or a positive whole number."""
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise ShapeError(
            f"while_loop expected a limit of at least 1 or None, received {limit!r}"
            f"   (at {where()})"
        )


def drawing_inside(name: str, where: Where) -> ShapeError:
    """The error for random numbers within a branch or loop."""
    return ShapeError(
        f"{name} expected to be called outside branches and loops, received a call inside one"
        f"   (at {where()}); draw before it and read the result inside: the numbers depend on the "
        "place of the call, which a branch or loop would move"
    )
