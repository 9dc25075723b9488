"""The one backward walk, used by both engines.

Eager calls it every step over the entries of its tape; static calls it once over the nodes of a
graph. That is the whole difference between the paradigms as far as gradients go.

The walk visits calls from the latest to the earliest. Contributions to one value are added in the
order in which the walk meets its consumers, latest first, in both engines, so that float results
are bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol


class Call(Protocol):
    """A recorded call of a primitive, or a leaf.

    `sequence` rises with creation. `sources` holds, per input, the call that made it, or None
    where no gradient is to flow; a leaf has none.
    """

    @property
    def sequence(self) -> int: ...

    @property
    def sources(self) -> Sequence[Any]: ...

    def pull(self, gradient: Any) -> Sequence[Any]:
        """One gradient or None per input."""


def pull_back(
    seeds: Iterable[tuple[Any, Any]],
    targets: Collection[Any],
    add: Callable[[Any, Any, bool], Any],
    release: Callable[[Any], None] | None = None,
) -> dict[Any, Any]:
    """Gradients of the targets, by call, given (call, gradient) seeds.

    `add(total, contribution, owned)` sums two gradients; `owned` says that `total` is a sum made
    by this walk, which may therefore be changed in place. `release(call)` is told of each call
    that will not be visited again.
    """
    gradients: dict[Any, Any] = {}
    owned: set[Any] = set()
    heap: list[tuple[int, Any]] = []

    def contribute(call: Any, gradient: Any) -> None:
        if call in gradients:
            gradients[call] = add(gradients[call], gradient, call in owned)
            owned.add(call)
        else:
            gradients[call] = gradient
            heappush(heap, (-call.sequence, call))

    for call, gradient in seeds:
        contribute(call, gradient)
    while heap:
        call = heappop(heap)[1]
        sources = call.sources
        if not sources:
            continue
        gradient = gradients[call] if call in targets else gradients.pop(call)
        contributions = call.pull(gradient)
        for source, contribution in zip(sources, contributions, strict=True):
            if source is not None and contribution is not None:
                contribute(source, contribution)
        if release is not None:
            release(call)
    return gradients
