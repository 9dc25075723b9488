"""Branches and loops in JAX: `lax.cond`, `lax.scan` and `lax.while_loop`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Tensor = Any


class JaxControlFlow:
    """Part of a vocabulary; see benchctl_engines.vocabulary.

    `differentiated` tells whether a gradient of the program will be taken: JAX has none of a
    `while_loop`, so that a limited loop is then a scan that does nothing once its condition fails.
    """

    _jax: Any
    differentiated = False

    def cond(
        self,
        predicate: Tensor,
        then: Callable[..., Any],
        otherwise: Callable[..., Any],
        operands: Sequence[Tensor] = (),
    ) -> Any:
        return self._jax.lax.cond(predicate, then, otherwise, *operands)

    def scan(self, body: Callable[[Any, Any], Any], carry: Any, xs: Any) -> tuple[Any, Any]:
        last, ys = self._jax.lax.scan(body, carry, xs)
        return last, ys

    def while_loop(
        self,
        condition: Callable[[Any], Any],
        body: Callable[[Any], Any],
        carry: Any,
        limit: int | None = None,
    ) -> Any:
        lax = self._jax.lax
        if not self.differentiated:
            if limit is None:
                return lax.while_loop(condition, body, carry)

            def holds(state: Any) -> Any:
                done, current = state
                return (done < limit) & condition(current)

            def count(state: Any) -> Any:
                done, current = state
                return done + 1, body(current)

            return lax.while_loop(holds, count, (0, carry))[1]
        if limit is None:
            raise ValueError(
                "while_loop expected a limit where its gradient is asked for, received none"
            )

        def iterate(current: Any, _: None) -> Any:
            return lax.cond(condition(current), body, lambda same: same, current), None

        return lax.scan(iterate, carry, None, length=limit)[0]
