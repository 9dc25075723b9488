"""Gradients of several scalars of one tape, each with respect to its own leaves alone.

A tape is recorded for all leaves together; a walk that is to reach some of them only must not
compute what leads to the others. It goes over a view of the tape in which those links are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..reverse_mode import pull_back
from .entries import Leaf
from .mode import mode
from .tape import adder_of, gradients, own_arrays, seed_of
from .tensor import Tensor


class _Part:
    """An entry or leaf of the tape with the links that lead to a wanted leaf."""

    __slots__ = ("entry", "sequence", "sources")

    def __init__(self, entry: Any, sources: tuple[_Part | None, ...]) -> None:
        self.entry = entry
        self.sequence = entry.sequence
        self.sources = sources

    def pull(self, gradient: Any) -> Sequence[Any]:
        """The pullback's gradients of the wanted inputs."""
        entry = self.entry
        whole = entry.sources
        entry.sources = tuple([None if each is None else each.entry for each in self.sources])
        try:
            found: Sequence[Any] = entry.pull(gradient)
        finally:
            entry.sources = whole
        return found


def gradients_of_each(
    objectives: Sequence[tuple[Tensor, Sequence[Tensor]]], seed: float | None = None
) -> list[Tensor | None]:
    """Gradients of each scalar with respect to its own leaves, in the order given.

    None where a scalar does not depend on a leaf. The tape is released by the last walk. `seed` is
    the gradient of each scalar itself, 1 where it is None.
    """
    if len(objectives) == 1:
        return gradients(*objectives[0], None if seed is None else [seed])
    found: list[Tensor | None] = []
    for place, (output, leaves) in enumerate(objectives):
        found += _gradients_of_some(output, leaves, place == len(objectives) - 1, seed)
    return found


def _gradients_of_some(
    output: Tensor, leaves: Sequence[Tensor], releasing: bool, seed: float | None
) -> list[Tensor | None]:
    parts = _parts(output.entry, {each.entry for each in leaves})
    start = parts.get(output.entry)
    if start is None:
        return [None] * len(leaves)
    seed = seed_of(output, seed).array
    before = mode.recording, mode.releasing, mode.plain
    mode.recording, mode.releasing, mode.plain = False, releasing, not output.device.hooks
    try:
        by_part = pull_back([(start, seed)], (), adder_of(output.device))
    finally:
        mode.recording, mode.releasing, mode.plain = before
    by_leaf = {part.entry: array for part, array in by_part.items()}
    arrays = own_arrays([by_leaf.get(each.entry) for each in leaves], output.device, seed)
    return [
        None if array is None else Tensor(array, each.kind)
        for array, each in zip(arrays, leaves, strict=True)
    ]


def _parts(end: Any, wanted: set[Any]) -> dict[Any, _Part]:
    """By entry, the parts of the tape behind `end` from which a wanted leaf can be reached."""
    reachable = {end}
    stack = [end]
    while stack:
        for source in stack.pop().sources:
            if source is not None and source not in reachable:
                reachable.add(source)
                stack.append(source)
    parts: dict[Any, _Part] = {}
    # What an entry was made from is older than the entry.
    for entry in sorted(reachable, key=lambda each: int(each.sequence)):
        if isinstance(entry, Leaf):
            if entry in wanted:
                parts[entry] = _Part(entry, ())
            continue
        sources = tuple([parts.get(source) for source in entry.sources])
        if any(each is not None for each in sources):
            parts[entry] = _Part(entry, sources)
    return parts
