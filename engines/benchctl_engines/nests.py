"""A tensor or a tuple of tensors: what branches and loops take and give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def flat(nest: Any) -> tuple[Any, ...]:
    """The tensors of a nest in order; none for None."""
    if nest is None:
        return ()
    return tuple(nest) if isinstance(nest, tuple | list) else (nest,)


def like(nest: Any, tensors: Sequence[Any]) -> Any:
    """`tensors`, as many as `nest` has, in its form: one tensor, a tuple, or None."""
    if nest is None:
        return None
    return tuple(tensors) if isinstance(nest, tuple | list) else tensors[0]
