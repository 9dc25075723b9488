"""The vocabulary object of the in-house engines; each engine says how random numbers are keyed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..source_sites import user_site
from . import operations
from .control_flow import drawing_inside


class InHouseVocabulary:
    """Operations whose operands decide the engine; see benchctl_engines.vocabulary."""

    add = staticmethod(operations.add)
    subtract = staticmethod(operations.subtract)
    multiply = staticmethod(operations.multiply)
    divide = staticmethod(operations.divide)
    maximum = staticmethod(operations.maximum)
    greater = staticmethod(operations.greater)
    where = staticmethod(operations.where)
    negative = staticmethod(operations.negative)
    exp = staticmethod(operations.exp)
    log = staticmethod(operations.log)
    sqrt = staticmethod(operations.sqrt)
    tanh = staticmethod(operations.tanh)
    relu = staticmethod(operations.relu)
    sum = staticmethod(operations.sum)
    mean = staticmethod(operations.mean)
    max = staticmethod(operations.max)
    reshape = staticmethod(operations.reshape)
    transpose = staticmethod(operations.transpose)
    broadcast_to = staticmethod(operations.broadcast_to)
    slice = staticmethod(operations.slice)
    pad = staticmethod(operations.pad)
    concatenate = staticmethod(operations.concatenate)
    matmul = staticmethod(operations.matmul)
    conv2d = staticmethod(operations.conv2d)
    conv2d_transpose = staticmethod(operations.conv2d_transpose)
    bias_add = staticmethod(operations.bias_add)
    max_pool2d = staticmethod(operations.max_pool2d)
    average_pool2d = staticmethod(operations.average_pool2d)
    softmax_cross_entropy = staticmethod(operations.softmax_cross_entropy)

    branched = False
    """Whether the program has asked for a branch or a loop."""
    _control: Any = None
    """What has `cond`, `scan` and `while_loop` of the engine."""
    _depth = 0

    def cond(
        self,
        predicate: Any,
        then: Callable[..., Any],
        otherwise: Callable[..., Any],
        operands: Sequence[Any] = (),
    ) -> Any:
        """then(*operands) where `predicate` holds, otherwise(*operands) elsewhere."""
        return self._inside("cond", predicate, then, otherwise, operands)

    def scan(self, body: Callable[[Any, Any], Any], carry: Any, xs: Any) -> Any:
        """body(carry, x) -> (carry, y) for each row of xs: the last carry, stacked ys."""
        return self._inside("scan", body, carry, xs)

    def while_loop(
        self,
        condition: Callable[[Any], Any],
        body: Callable[[Any], Any],
        carry: Any,
        limit: int | None = None,
    ) -> Any:
        """body(carry) -> carry while condition(carry), at most `limit` times."""
        return self._inside("while_loop", condition, body, carry, limit)

    def _inside(self, name: str, *arguments: Any) -> Any:
        if self._control is None:
            raise NotImplementedError(f"{type(self).__name__} has no {name}")
        self.branched = True
        self._depth += 1
        try:
            return getattr(self._control, name)(*arguments)
        finally:
            self._depth -= 1

    def random_uniform(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        """Numbers in [0, 1); new ones every step."""
        return self._drawn("random_uniform", shape, dtype)

    def random_normal(self, shape: tuple[int, ...], dtype: str = "float32") -> Any:
        """Standard normal numbers; new ones every step."""
        return self._drawn("random_normal", shape, dtype)

    def _drawn(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        if self._depth:
            raise drawing_inside(name, lambda: user_site().describe())
        return self._random(shape, dtype, name.removeprefix("random_"))

    def _random(self, shape: tuple[int, ...], dtype: str, distribution: str) -> Any:
        """Numbers keyed by the seed, the call's place in the program and the step."""
        raise NotImplementedError(f"{type(self).__name__} makes no random numbers")
