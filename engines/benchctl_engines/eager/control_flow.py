"""`cond`, `scan` and `while_loop` of the eager engine: Python's own `if` and loops.

They read the condition's value and call the user's functions, whose operations run and are recorded
like any others; a program may as well use Python itself. What is more is for static's sake: bodies
are held to the rules that a graph needs, and where a result of a body is an older tensor it becomes
an operation of its own, so that both engines add gradients in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..nests import flat, like
from ..primitives import control_flow as rules
from ..primitives.operations import concatenate, reshape, slice
from ..primitives.primitive import OperandError
from ..primitives.specs import TensorSpec
from ..source_sites import user_site
from .entries import next_sequence
from .mode import mode
from .tensor import Tensor


def cond(
    predicate: Any,
    then: Callable[..., Any],
    otherwise: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """then(*operands) where the bool scalar `predicate` holds, otherwise(*operands) elsewhere."""
    rules.require_predicate("cond", predicate, here)
    start = next_sequence()
    taken = then if predicate else otherwise
    nest = taken(*operands)
    return like(nest, _own(_tensors("cond", nest), start))


def scan(body: Callable[[Any, Any], Any], carry: Any, xs: Any) -> tuple[Any, Any]:
    """body(carry, x) -> (carry, y) for each row x of xs: the last carry, stacked ys."""
    current = _copies(_tensors("scan", carry))
    stacks = _copies(_tensors("scan", xs))
    length = rules.rows_of(_specs(stacks), here)
    expected = _specs(current)
    made: list[list[Tensor]] = []
    ys: Any = None
    for place in range(length):
        rows = [_row(each, place) for each in stacks]
        start = next_sequence()
        following, ys = rules.require_pair(body(like(carry, current), like(xs, rows)), here)
        current = _own(_tensors("scan", following), start)
        rules.require_kept("scan", expected, _specs(current), here)
        results = [reshape(each, (1, *each.shape)) for each in _tensors("scan", ys)]
        made.append(results)
        rules.require_alike("the rows of scan", _specs(made[0]), _specs(results), here)
    stacked = [concatenate([rows[at] for rows in made]) for at in range(len(made[0]))]
    return like(carry, current), like(ys, stacked)


def while_loop(
    condition: Callable[[Any], Any],
    body: Callable[[Any], Any],
    carry: Any,
    limit: int | None = None,
) -> Any:
    """body(carry) -> carry while condition(carry), a bool scalar, at most `limit` times."""
    rules.require_limit(limit, here)
    current = _copies(_tensors("while_loop", carry))
    expected = _specs(current)
    done = 0
    while done != limit:
        holds = condition(like(carry, current))
        rules.require_predicate("the condition of while_loop", holds, here)
        if not holds:
            break
        start = next_sequence()
        current = _own(_tensors("while_loop", body(like(carry, current))), start)
        rules.require_kept("while_loop", expected, _specs(current), here)
        done += 1
    return like(carry, current)


def _tensors(name: str, nest: Any) -> Sequence[Tensor]:
    tensors = flat(nest)
    for each in tensors:
        if not isinstance(each, Tensor):
            raise OperandError(
                f"{name} of the eager engine expected tensors, received {type(each).__name__}"
                f"   (at {here()})"
            )
    return tensors


def _row(stack: Tensor, place: int) -> Any:
    """The row `place` along axis 0, without that axis."""
    shape = stack.shape[1:]
    row = slice(stack, (place, *(0 for _ in shape)), (place + 1, *shape))
    return reshape(row, shape)


def _own(results: Sequence[Tensor], start: int) -> list[Tensor]:
    """The results of a body that began at `start`, each recorded within it and only once."""
    if not mode.recording:
        return list(results)
    seen: set[Any] = set()
    own = []
    for each in results:
        entry = each.entry
        again = entry is not None and (entry.sequence < start or entry in seen)
        own.append(reshape(each, each.shape) if again else each)
        seen.add(entry)
    return own


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Recorded tensors as results of an operation that nobody else reads."""
    if not mode.recording:
        return list(tensors)
    return [each if each.entry is None else reshape(each, each.shape) for each in tensors]


def _specs(tensors: Sequence[Tensor]) -> tuple[TensorSpec, ...]:
    return tuple([each.spec for each in tensors])


def here() -> str:
    """The user's line; looked up only for an error."""
    return user_site().describe()
