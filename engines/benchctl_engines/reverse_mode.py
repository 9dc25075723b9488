"""The one backward walk, used by both engines.

Eager calls it every step over the entries of its tape; static calls it once over the nodes of a
graph. That is the whole difference between the paradigms as far as gradients go.

The walk visits calls from the latest to the earliest. Contributions to one value are added in the
order in which the walk meets its consumers, latest first, in both engines, so that float results
are bit-identical.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import heappop, heappush, heapreplace
from typing import Any, Protocol


class Call(Protocol):
    """A recorded call of a primitive, or a leaf.

    `sequence` rises with creation. `sources` holds, per input, the call that made it, or None
    where no gradient is to flow; a leaf has none.
    """

    @property
    def sequence(self) -> float: ...

    @property
    def sources(self) -> Sequence[Any]: ...

    def pull(self, gradient: Any) -> Sequence[Any]:
        """One gradient or None per input."""


def pull_back(
    seeds: Iterable[tuple[Any, Any]],
    targets: Collection[Any],
    add: Callable[[Any, Any, bool], Any],
) -> dict[Any, Any]:
    """Gradients of the targets, by call, given (call, gradient) seeds.

    `add(total, contribution, owned)` sums two gradients; `owned` says that `total` is a sum made
    by this walk, which may therefore be changed in place.
    """
    gradients: dict[Any, Any] = {}
    owned: set[Any] = set()
    # Calls to visit: the one met last in `latest`, others in the heap. A chain needs no heap.
    latest: Any = None
    heap: list[tuple[int, Any]] = []
    for call, gradient in seeds:
        if call in gradients:
            gradients[call] = add(gradients[call], gradient, call in owned)
            owned.add(call)
        else:
            gradients[call] = gradient
            if call.sources:
                heappush(heap, (-call.sequence, call))
    while True:
        if latest is None:
            if not heap:
                return gradients
            call = heappop(heap)[1]
        else:
            call, latest = latest, None
            if heap and -heap[0][0] > call.sequence:
                call = heapreplace(heap, (-call.sequence, call))[1]
        gradient = gradients[call] if call in targets else gradients.pop(call)
        for source, contribution in zip(call.sources, call.pull(gradient)):  # noqa: B905
            # zip(strict=True) would cost as much as a small operation.
            if source is None or contribution is None:
                continue
            if source in gradients:
                gradients[source] = add(gradients[source], contribution, source in owned)
                owned.add(source)
                continue
            gradients[source] = contribution
            if source.sources:
                if latest is None:
                    latest = source
                else:
                    heappush(heap, (-source.sequence, source))
