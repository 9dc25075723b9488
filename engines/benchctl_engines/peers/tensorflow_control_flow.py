"""Branches and loops in TensorFlow: `tf.cond` and `tf.while_loop`, in a graph or at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..nests import flat, like

Tensor = Any


class TensorflowControlFlow:
    """Part of a vocabulary; see benchctl_engines.vocabulary."""

    _tf: Any

    def cond(
        self,
        predicate: Tensor,
        then: Callable[..., Any],
        otherwise: Callable[..., Any],
        operands: Sequence[Tensor] = (),
    ) -> Any:
        return self._tf.cond(predicate, lambda: then(*operands), lambda: otherwise(*operands))

    def scan(self, body: Callable[[Any, Any], Any], carry: Any, xs: Any) -> tuple[Any, Any]:
        stacks = flat(xs)
        length = int(stacks[0].shape[0])

        def row(place: Any) -> Any:
            return like(xs, [each[place] for each in stacks])

        # The first iteration stands before the loop, which must know what a row of ys is.
        following, y = body(carry, row(0))
        arrays = tuple(
            self._tf.TensorArray(each.dtype, length, element_shape=each.shape).write(0, each)
            for each in flat(y)
        )

        def going_on(place: Any, current: Any, written: Any) -> Any:
            return place < length

        def iterate(place: Any, current: Any, written: Any) -> Any:
            after, made = body(like(carry, current), row(place))
            rows = tuple(
                array.write(place, each) for array, each in zip(written, flat(made), strict=True)
            )
            return place + 1, flat(after), rows

        _, last, written = self._tf.while_loop(
            going_on,
            iterate,
            (self._tf.constant(1), flat(following), arrays),
            maximum_iterations=length - 1,
        )
        return like(carry, last), like(y, [each.stack() for each in written])

    def while_loop(
        self,
        condition: Callable[[Any], Any],
        body: Callable[[Any], Any],
        carry: Any,
        limit: int | None = None,
    ) -> Any:
        last = self._tf.while_loop(
            lambda *current: condition(like(carry, current)),
            lambda *current: flat(body(like(carry, current))),
            flat(carry),
            maximum_iterations=limit,
        )
        return like(carry, last)
