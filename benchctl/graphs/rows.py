"""Rows of boxes: in which order, and how far to the right.

The layered method of Sugiyama, Tagawa and Toda (1981): an edge over several rows is led through a
narrow place on each row between, rows are sorted by the mean place of their neighbours until no
crossing less is found, then everything moves towards its neighbours as far as there is room.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchctl.graphs.ranks import Panel

FORTH, BETWEEN, BACK = 0, 1, 2
"""The columns of a panel: forward, what is kept for the way back, and the way back."""

BOX_GAP = 28.0
LINE_WIDTH = 10.0
"""The room of an edge that passes a row."""

_SWEEPS = 12
_STRAIGHT = 4.0
"""How much more a line wants to be straight than a box wants to be above another."""


@dataclass(slots=True)
class Item:
    """A box, or the place of a passing edge (`box` is -1), on one row; `x` is its centre."""

    rank: int
    column: int
    width: float
    box: int = -1
    x: float = 0.0
    above: list[Item] = field(default_factory=list)
    below: list[Item] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rows:
    """Items row by row in their order; `passages` are those of each edge, from its source on."""

    rows: list[list[Item]]
    boxes: list[Item]
    passages: list[list[Item]]

    def extent(self, column: int) -> tuple[float, float]:
        """Left and right end of a column; both 0 where nothing is in it."""
        items = [each for row in self.rows for each in row if each.column == column]
        left = min((each.x - each.width / 2 for each in items), default=0.0)
        return left, max((each.x + each.width / 2 for each in items), default=0.0)


def place_rows(panel: Panel, ranks: Sequence[int], count: int) -> Rows:
    """Items of `count` rows, ordered and placed, column beside column from 0 to the right."""
    rows = _items(panel, ranks, count)
    _sort(rows.rows)
    for column in (FORTH, BETWEEN, BACK):
        _place(rows.rows, column)
    right = 0.0
    for column in (FORTH, BETWEEN, BACK):
        left, end = rows.extent(column)
        if end == left:
            continue
        for row in rows.rows:
            for each in row:
                if each.column == column:
                    each.x += right - left
        right += end - left + BOX_GAP
    return rows


def _items(panel: Panel, ranks: Sequence[int], count: int) -> Rows:
    rows: list[list[Item]] = [[] for _ in range(count)]
    boxes = []
    for place, (width, _) in enumerate(panel.sizes):
        column = BACK if place in panel.returning else FORTH
        boxes.append(Item(ranks[place], column, width, place))
        rows[ranks[place]].append(boxes[-1])
    passages = []
    lines: dict[tuple[int, int, int], Item] = {}
    for source, target in panel.edges:
        first, last = boxes[source], boxes[target]
        column = first.column if first.column == last.column else BETWEEN
        step = 1 if last.rank > first.rank else -1
        passing = []
        for rank in range(first.rank + step, last.rank, step):
            # What a box makes for several leaves it on one line, and that one by one.
            key = source, rank, column
            if key not in lines:
                lines[key] = Item(rank, column, LINE_WIDTH)
                rows[rank].append(lines[key])
            passing.append(lines[key])
        for one, other in pairwise([first, *passing, last]):
            upper, lower = (one, other) if one.rank < other.rank else (other, one)
            if upper.rank != lower.rank and not any(each is lower for each in upper.below):
                upper.below.append(lower)
                lower.above.append(upper)
        passages.append(passing)
    for row in rows:
        row.sort(key=lambda each: each.column)
    return Rows(rows, boxes, passages)


# ----- order ------------------------------------------------------------------------------------


def _sort(rows: list[list[Item]]) -> None:
    """Sort every row so that few edges cross, columns kept apart."""
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        ranks = range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1)
        for rank in ranks:
            _sort_row(rows[rank], rows[rank - 1 if downwards else rank + 1], downwards)
        crossings = _crossings(rows)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    for row, order in zip(rows, best, strict=True):
        row[:] = order


def _sort_row(row: list[Item], beside: list[Item], downwards: bool) -> None:
    places = {id(each): place for place, each in enumerate(beside)}

    def wanted(item: Item, own: int) -> float:
        neighbours = item.above if downwards else item.below
        if not neighbours:
            return float(own)
        return sum(places[id(each)] for each in neighbours) / len(neighbours)

    keys = {id(each): (each.column, wanted(each, place)) for place, each in enumerate(row)}
    row.sort(key=lambda each: keys[id(each)])


def _crossings(rows: list[list[Item]]) -> int:
    """How many pairs of edge pieces between neighbouring rows cross."""
    total = 0
    for upper, lower in pairwise(rows):
        places = {id(each): place for place, each in enumerate(lower)}
        seen: list[int] = []
        for item in upper:
            ends = sorted(places[id(each)] for each in item.below)
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


# ----- places -----------------------------------------------------------------------------------


def _place(rows: list[list[Item]], column: int) -> None:
    """Centres of the items of a column, which is no wider than its widest row has to be."""
    parts = [[each for each in row if each.column == column] for row in rows]
    for part in parts:
        x = part[0].width / 2 if part else 0.0
        for before, item in zip([None, *part], part, strict=False):
            x += 0.0 if before is None else _apart(before, item)
            item.x = x
    room = max((part[-1].x + part[-1].width / 2 for part in parts if part), default=0.0)
    for sweep in range(2 * _SWEEPS):
        downwards = sweep % 2 == 0
        for part in parts if downwards else reversed(parts):
            _move(part, column, room, downwards, both=sweep >= 2 * _SWEEPS - 2)
    for part in parts:
        _straighten(part, room)


def _apart(left: Item, right: Item) -> float:
    return (left.width + right.width) / 2 + (BOX_GAP if max(left.box, right.box) >= 0 else 2.0)


def _move(part: list[Item], column: int, room: float, downwards: bool, both: bool) -> None:
    if not part:
        return
    wanted, weights = [], []
    for item in part:
        near = [*item.above, *item.below] if both else item.above if downwards else item.below
        near = [each for each in near if each.column == column]
        lines = item.box < 0 and any(each.box < 0 for each in near)
        wanted.append(sum(each.x for each in near) / len(near) if near else item.x)
        weights.append(_STRAIGHT if lines else 1.0 if near else 0.1)
    gaps = [_apart(left, right) for left, right in pairwise(part)]
    ends = part[0].width / 2, room - part[-1].width / 2
    for item, x in zip(part, nearest_apart(wanted, weights, gaps, *ends), strict=True):
        item.x = x


def _straighten(part: list[Item], room: float) -> None:
    """Put what follows one item alone exactly below it, where there is room."""
    for place, item in enumerate(part):
        if len(item.above) != 1 or len(item.above[0].below) != 1:
            continue
        wanted = item.above[0].x
        if not item.width / 2 <= wanted <= room - item.width / 2:
            continue
        before, after = part[place - 1] if place else None, part[place + 1 : place + 2]
        if before is not None and wanted < before.x + _apart(before, item):
            continue
        if after and wanted > after[0].x - _apart(item, after[0]):
            continue
        if item.column == item.above[0].column:
            item.x = wanted


def nearest_apart(
    wanted: Sequence[float],
    weights: Sequence[float],
    gaps: Sequence[float],
    least: float = -math.inf,
    most: float = math.inf,
) -> list[float]:
    """Rising positions at least `gaps` apart, nearest to `wanted` in weighted squares.

    The first is at least `least` and the last at most `most`, where all gaps fit between these.
    Isotonic regression by pooling neighbours that stand in each other's way; bounds of all means
    cut the solution without them off.
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for target, weight, offset in zip(wanted, weights, offsets, strict=True):
        pools.append((target - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, more, count = pools.pop()
            earlier, less, others = pools.pop()
            whole = less + more
            pools.append(((earlier * less + mean * more) / whole, whole, others + count))
    bounded = [(max(least, min(mean, most - offsets[-1])), count) for mean, _, count in pools]
    means = [mean for mean, count in bounded for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
