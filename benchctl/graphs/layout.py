"""Where everything of a picture stands: boxes, the ways of the edges, and the size of it all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchctl.graphs.ranks import Panel, aligned_ranks
from benchctl.graphs.rows import Item, Rows, nearest_apart, place_rows

Point = tuple[float, float]
End = tuple[int, bool]
"""The start (False) or the end (True) of an edge, by its place."""

Kind = Literal["through", "side", "below"]

PANEL_GAP = 64.0
_CHANNEL = 34.0
_FLATTEST = 9.0
"""A channel is higher by a pixel for every so many that its widest edge goes sideways."""
_HIGHEST_CHANNEL = 96.0
_PORTS = 0.76
"""The part of a box's side along which its edges are spread."""
_PORT_GAP = 18.0


@dataclass(frozen=True, slots=True)
class Route:
    """The way of an edge from its source to its target.

    `through` goes by straight lines through rows of boxes and by curves with vertical ends between
    them, in turn, a line first; `below` does so too, its one curve under a row of boxes; `side` is
    one horizontal line.
    """

    kind: Kind
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class PlacedPanel:
    """Centres of the boxes, ways of the edges, and the left and right end of a panel."""

    centres: tuple[Point, ...]
    routes: tuple[Route, ...]
    left: float
    right: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Panels beside each other, from (0, 0) to (`width`, `height`)."""

    panels: tuple[PlacedPanel, ...]
    width: float
    height: float


def lay_out(panels: Sequence[Panel], least_widths: Sequence[float] = ()) -> Layout:
    """All panels beside each other; no two boxes overlap and no edge crosses one.

    Rows are in line where panels have twins. `least_widths` is the room that each panel needs for
    what stands above it.
    """
    ranks = aligned_ranks(panels)
    counts = [max(own, default=-1) + 1 for own in ranks]
    if aligned := any(any(panel.twins) for panel in panels):
        counts = [max(counts, default=0)] * len(counts)
    placed = [
        place_rows(panel, own, count)
        for panel, own, count in zip(panels, ranks, counts, strict=True)
    ]
    together = list(zip(panels, placed, strict=True))
    spans = [_row_spans(together if aligned else [each]) for each in together]
    found, left, height = [], 0.0, 0.0
    for place, ((panel, rows), (tops, bottoms)) in enumerate(zip(together, spans, strict=True)):
        width = _width(rows)
        room = max(width, least_widths[place] if least_widths else 0.0)
        for row in rows.rows:
            for item in row:
                item.x += left + (room - width) / 2
        centres = tuple((item.x, (tops[item.rank] + bottoms[item.rank]) / 2) for item in rows.boxes)
        routes = tuple(_Router(panel, rows, tops, bottoms).routes())
        found.append(PlacedPanel(centres, routes, left, left + room))
        left += room + PANEL_GAP
        below = _CHANNEL if any(route.kind == "below" for route in routes) else 0.0
        height = max(height, (bottoms[-1] if bottoms else 0.0) + below)
    return Layout(tuple(found), max(left - PANEL_GAP, 0.0), height)


def _width(rows: Rows) -> float:
    items = [each for row in rows.rows for each in row]
    return max((each.x + each.width / 2 for each in items), default=0.0)


def _row_spans(together: Sequence[tuple[Panel, Rows]]) -> tuple[list[float], list[float]]:
    """The top and bottom of each row, as high as its highest box in any of these panels."""
    tops, bottoms, y = [], [], 0.0
    for rank in range(len(together[0][1].rows)):
        items = [(panel, item) for panel, rows in together for item in rows.rows[rank]]
        heights = (panel.sizes[item.box][1] for panel, item in items if item.box >= 0)
        sideways = (abs(item.x - each.x) for _, item in items for each in item.below)
        height = max(heights, default=0.0)
        tops.append(y)
        bottoms.append(y + height)
        y += height + min(_CHANNEL + max(sideways, default=0.0) / _FLATTEST, _HIGHEST_CHANNEL)
    return tops, bottoms


class _Router:
    """The ways of the edges of one panel."""

    def __init__(
        self, panel: Panel, rows: Rows, tops: Sequence[float], bottoms: Sequence[float]
    ) -> None:
        self.panel = panel
        self.rows = rows
        self.tops = tops
        self.bottoms = bottoms
        self.chains = [
            [rows.boxes[source], *passing, rows.boxes[target]]
            for (source, target), passing in zip(panel.edges, rows.passages, strict=True)
        ]
        self.kinds = [self._kind(chain) for chain in self.chains]
        # The x at which an edge leaves its source, and at which it enters its target.
        self.starts: dict[int, float] = {}
        self.ends: dict[int, float] = {}
        self._spread_ports()

    def routes(self) -> list[Route]:
        return [self._route(place) for place in range(len(self.chains))]

    def _kind(self, chain: list[Item]) -> Kind:
        first, last = chain[0], chain[-1]
        if first.rank != last.rank:
            return "through"
        row = self.rows.rows[first.rank]
        between = row[row.index(first) + 1 : row.index(last)]
        return "below" if any(each.box >= 0 for each in between) else "side"

    def _sides(self, place: int) -> tuple[bool, bool]:
        """Whether an edge leaves its source below, and enters its target below."""
        if self.kinds[place] == "below":
            return True, True
        downwards = self.chains[place][0].rank < self.chains[place][-1].rank
        return downwards, not downwards

    def _spread_ports(self) -> None:
        """Let every edge leave towards its next place, and then end where it comes from."""
        leaders = self._leaders()
        towards = {(place, False): 0.0 for place in leaders.values()}
        towards.update({(place, True): 0.0 for place in leaders})
        for place, at_end in towards:
            chain = self.chains[place]
            towards[place, at_end] = chain[-2].x if at_end else chain[1].x
        ports = self._spread(towards)
        for place, at_end in towards:
            straight = at_end and len(self.chains[place]) == 2
            towards[place, at_end] = ports[place, not straight and at_end]
        ports = self._spread(towards)
        self.starts = {place: ports[leader, False] for place, leader in leaders.items()}
        self.ends = {place: x for (place, at_end), x in ports.items() if at_end}

    def _leaders(self) -> dict[int, int]:
        """Of every edge with ports, the one whose start it shares: one line leaves at one port."""
        first: dict[tuple[int, int], int] = {}
        with_ports = [place for place, kind in enumerate(self.kinds) if kind != "side"]
        starts = {each: (self.chains[each][0].box, id(self.chains[each][1])) for each in with_ports}
        return {place: first.setdefault(start, place) for place, start in starts.items()}

    def _spread(self, wanted: Mapping[End, float]) -> dict[End, float]:
        """Ports of the ends on each side of a box apart, as near as can be to where they want."""
        sides: dict[tuple[int, bool], list[tuple[float, End]]] = {}
        for (place, at_end), x in wanted.items():
            box = self.chains[place][-1 if at_end else 0].box
            sides.setdefault((box, self._sides(place)[at_end]), []).append((x, (place, at_end)))
        ports: dict[End, float] = {}
        for (box, _), ends in sides.items():
            item, last = self.rows.boxes[box], len(ends) - 1
            ends.sort()
            room = item.width * _PORTS
            left, right = item.x - room / 2, item.x + room / 2
            gap = min(_PORT_GAP, room / last) if last else 0.0
            targets = [min(max(x, left), right) for x, _ in ends]
            free = nearest_apart(targets, [1.0] * len(targets), [gap] * last)
            for number, (x, (_, end)) in enumerate(zip(free, ends, strict=True)):
                ports[end] = min(max(x, left + number * gap), right - (last - number) * gap)
        return ports

    def _route(self, place: int) -> Route:
        chain, kind = self.chains[place], self.kinds[place]
        first, last = chain[0], chain[-1]
        if kind == "side":
            return Route("side", (self._side_of(first, 1), self._side_of(last, -1)))
        leaves_below, enters_below = self._sides(place)
        start, end = self.starts[place], self.ends[place]
        points = [(start, self._edge_of(first, leaves_below))]
        points.append((start, self._row_edge(first, leaves_below)))
        for each in chain[1:-1]:
            points.append((each.x, self._row_edge(each, enters_below)))
            points.append((each.x, self._row_edge(each, leaves_below)))
        points.append((end, self._row_edge(last, enters_below)))
        points.append((end, self._edge_of(last, enters_below)))
        return Route(kind, tuple(points))

    def _row_edge(self, item: Item, below: bool) -> float:
        return self.bottoms[item.rank] if below else self.tops[item.rank]

    def _side_of(self, item: Item, direction: int) -> Point:
        return item.x + direction * item.width / 2, self._middle(item)

    def _edge_of(self, item: Item, below: bool) -> float:
        """The y of a box's lower or upper side."""
        height = self.panel.sizes[item.box][1]
        return self._middle(item) + (height / 2 if below else -height / 2)

    def _middle(self, item: Item) -> float:
        return (self.tops[item.rank] + self.bottoms[item.rank]) / 2
