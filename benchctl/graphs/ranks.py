"""On which row of a picture each box stands.

What leads to the results runs downwards, the way back upwards beside it, so that a gradient stands
next to what it is the gradient of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph to be drawn: sizes (width, height) of boxes, edges between their places.

    `returning` has the boxes of the way back: no edge leads from them to another. Boxes of two
    panels with one `twins` name, if not empty, are to stand on one row.
    """

    sizes: tuple[tuple[float, float], ...]
    edges: tuple[tuple[int, int], ...]
    returning: frozenset[int] = frozenset()
    twins: tuple[str, ...] = ()


_ROUNDS = 4
"""Panels whose order differs cannot be aligned: there is an end to trying."""


def aligned_ranks(panels: Sequence[Panel]) -> list[list[int]]:
    """The row of each box of each panel, counted from 0, twins on one row where that is possible.

    What nothing leads to stands just above what it is for.
    """
    ranks = [ranks_of(panel, {}) for panel in panels]
    for _ in range(_ROUNDS):
        least: dict[str, int] = {}
        for panel, own in zip(panels, ranks, strict=True):
            for twin, rank in zip(panel.twins, own, strict=False):
                least[twin] = max(rank, least.get(twin, 0))
        least.pop("", None)
        again = [ranks_of(panel, least) for panel in panels]
        if again == ranks:
            break
        ranks = again
    _lower_sources(panels, ranks)
    return ranks


def ranks_of(panel: Panel, least: Mapping[str, int]) -> list[int]:
    """The row of each box: the longest way to it, and at least what `least` says of its twin.

    Raises `ValueError` for a graph with a cycle, or with an edge from the way back.
    """
    count = len(panel.sizes)
    twins = panel.twins or ("",) * count
    after: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    waiting = [0] * count
    for upper, lower, distance in _constraints(panel):
        after[upper].append((lower, distance))
        waiting[lower] += 1
    ranks = [least.get(twin, 0) for twin in twins]
    ready = [place for place in range(count) if not waiting[place]]
    done = 0
    while ready:
        place = ready.pop()
        done += 1
        for other, distance in after[place]:
            ranks[other] = max(ranks[other], ranks[place] + distance)
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    if done < count:
        raise ValueError("a picture expected a graph without cycles")
    return ranks


def _lower_sources(panels: Sequence[Panel], ranks: Sequence[list[int]]) -> None:
    """Move what nothing leads to down, twins only as far as all of them can go."""
    lowest: list[dict[int, int]] = []
    common: dict[str, int] = {}
    for panel, own in zip(panels, ranks, strict=True):
        room: dict[int, int] = {}
        fixed = set()
        for upper, lower, distance in _constraints(panel):
            fixed.add(lower)
            room[upper] = min(room.get(upper, own[lower]), own[lower] - distance)
        free = {place: rank for place, rank in room.items() if place not in fixed}
        lowest.append(free)
        for place, twin in enumerate(panel.twins):
            rank = free.get(place, own[place])
            common[twin] = min(rank, common.get(twin, rank))
    common.pop("", None)
    for panel, own, free in zip(panels, ranks, lowest, strict=True):
        for place, rank in free.items():
            twin = panel.twins[place] if panel.twins else ""
            own[place] = max(own[place], common.get(twin, rank))


def _constraints(panel: Panel) -> Iterator[tuple[int, int, int]]:
    """(upper, lower, least distance) of every edge."""
    for source, target in panel.edges:
        back = source in panel.returning, target in panel.returning
        if back == (True, True):
            yield target, source, 1
        elif back == (True, False):
            raise ValueError("a picture expected no edge from the way back to the way forth")
        else:
            yield source, target, 0 if back[1] else 1
