"""The layout of pictures, over random graphs: nothing overlaps, nothing leaves the canvas."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchctl.graphs.layout import Layout, Route, lay_out
from benchctl.graphs.ranks import Panel, aligned_ranks, ranks_of
from benchctl.graphs.rows import BACK, BOX_GAP, FORTH, nearest_apart, place_rows

few = settings(max_examples=40, deadline=None)


@st.composite
def panels(draw) -> Panel:
    """A random graph without cycles whose last boxes stand on the way back."""
    count = draw(st.integers(1, 14))
    size = st.tuples(st.integers(40, 300), st.integers(20, 120))
    sizes = tuple(draw(size) for _ in range(count))
    pairs = list(itertools.combinations(range(count), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=24)) if pairs else []
    first_back = draw(st.integers(0, count))
    returning = frozenset(range(first_back, count)) if draw(st.booleans()) else frozenset()
    return Panel(sizes, tuple(edges), returning)


def boxes_of(panel: Panel, layout: Layout, number: int = 0) -> list[tuple[float, ...]]:
    """(left, top, right, bottom) of each box."""
    return [
        (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        for (x, y), (width, height) in zip(layout.panels[number].centres, panel.sizes, strict=True)
    ]


def points_along(route: Route) -> list[tuple[float, float]]:
    """Points of a way close enough to each other to meet any box that it crosses."""
    found = []
    for number, ((x, y), (u, v)) in enumerate(itertools.pairwise(route.points)):
        for t in (step / 40 for step in range(41)):
            s = 1 - t
            if route.kind == "side" or number % 2 == 0:
                found.append((s * x + t * u, s * y + t * v))
                continue
            deep = max(y, v) + 24 if route.kind == "below" else (y + v) / 2
            weights = (s**3, 3 * s * s * t, 3 * s * t * t, t**3)
            found.append(
                (
                    sum(w * p for w, p in zip(weights, (x, x, u, u), strict=True)),
                    sum(w * p for w, p in zip(weights, (y, deep, deep, v), strict=True)),
                )
            )
    return found


def overlapping(boxes: list[tuple[float, ...]]) -> list[tuple[int, int]]:
    return [
        (one, other)
        for (one, a), (other, b) in itertools.combinations(enumerate(boxes), 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]


def within(box: tuple[float, ...], point: tuple[float, float]) -> bool:
    margin = 0.5
    return (
        box[0] + margin < point[0] < box[2] - margin
        and box[1] + margin < point[1] < box[3] - margin
    )


@few
@given(st.lists(panels(), min_size=1, max_size=2))
def test_boxes_keep_apart_and_on_the_canvas(drawn: list[Panel]) -> None:
    layout = lay_out(drawn)
    every = [box for number, panel in enumerate(drawn) for box in boxes_of(panel, layout, number)]
    assert overlapping(every) == []
    for left, top, right, bottom in every:
        assert left >= -1e-6 and top >= -1e-6
        assert right <= layout.width + 1e-6 and bottom <= layout.height + 1e-6


@few
@given(panels())
def test_edges_join_their_boxes_and_cross_none(panel: Panel) -> None:
    layout = lay_out([panel])
    boxes = boxes_of(panel, layout)
    for (source, target), route in zip(panel.edges, layout.panels[0].routes, strict=True):
        start, end = route.points[0], route.points[-1]
        for place, point in ((source, start), (target, end)):
            left, top, right, bottom = boxes[place]
            assert left - 1e-6 <= point[0] <= right + 1e-6
            assert min(abs(point[1] - top), abs(point[1] - bottom)) < 1e-6 or route.kind == "side"
        for point in points_along(route):
            assert not any(within(box, point) for box in boxes), (source, target, route)
            assert -1e-6 <= point[1] <= layout.height + 1e-6


@few
@given(panels())
def test_the_way_forth_runs_down_and_the_way_back_up(panel: Panel) -> None:
    (ranks,) = aligned_ranks([panel])
    for source, target in panel.edges:
        back = source in panel.returning, target in panel.returning
        if back == (True, True):
            assert ranks[source] > ranks[target]
        elif back == (False, True):
            assert ranks[source] <= ranks[target]
        else:
            assert ranks[source] < ranks[target]


def test_an_overlap_would_be_seen() -> None:
    assert overlapping([(0, 0, 10, 10), (9, 9, 20, 20), (30, 0, 40, 10)]) == [(0, 1)]
    assert within((0, 0, 10, 10), (5, 5)) and not within((0, 0, 10, 10), (5, 10))
    crossing = Route("through", ((0, 0), (0, 30), (0, 40), (0, 60)))
    assert any(within((-5, 10, 5, 20), point) for point in points_along(crossing))


def test_a_gradient_stands_beside_what_it_is_the_gradient_of() -> None:
    # Forward 0 to 2, backward 5 to 3, each gradient reading what went into its layer.
    edges = ((0, 1), (1, 2), (2, 5), (5, 4), (4, 3), (1, 4), (0, 3), (1, 5), (0, 4))
    panel = Panel(((100, 40),) * 6, edges, frozenset({3, 4, 5}))
    (ranks,) = aligned_ranks([panel])
    assert ranks[:3] == [0, 1, 2] and ranks[3:] == [0, 1, 2]
    layout = lay_out([panel])
    centres = layout.panels[0].centres
    assert len({x for x, _ in centres[:3]}) == 1 and len({x for x, _ in centres[3:]}) == 1
    assert centres[3][0] > centres[0][0]
    kinds = dict(zip(edges, layout.panels[0].routes, strict=True))
    assert kinds[2, 5].kind == kinds[1, 4].kind == "side"


def test_twins_stand_on_one_row() -> None:
    sizes = ((100, 40),) * 4
    wide = Panel(sizes, ((0, 1), (1, 2), (2, 3)), twins=("a", "", "b", "c"))
    short = Panel(sizes[:3], ((0, 1), (1, 2)), twins=("a", "b", "c"))
    assert aligned_ranks([wide, short]) == [[0, 1, 2, 3], [0, 2, 3]]
    crossed = Panel(sizes[:2], ((0, 1),), twins=("b", "a"))
    for panel, ranks in zip([wide, crossed], aligned_ranks([wide, crossed]), strict=True):
        assert all(ranks[source] < ranks[target] for source, target in panel.edges)


@few
@given(panels())
def test_a_column_of_boxes_is_no_wider_than_its_widest_row(panel: Panel) -> None:
    (ranks,) = aligned_ranks([panel])
    rows = place_rows(panel, ranks, max(ranks) + 1)
    for column in (FORTH, BACK):
        own = [[each for each in row if each.column == column] for row in rows.rows]
        # Between two boxes, or a box and a line, is the gap of boxes; lines may stand closer.
        room = max(sum(each.width + BOX_GAP for each in row) - BOX_GAP if row else 0 for row in own)
        left, right = rows.extent(column)
        assert right - left <= room + 1e-6


def test_what_a_box_makes_for_several_goes_along_one_line() -> None:
    panel = Panel(
        ((60, 20),) * 6,
        ((0, 1), (1, 2), (2, 3), (0, 2), (0, 3), (0, 4), (1, 5), (2, 4), (4, 5)),
        frozenset({4, 5}),
    )
    first, second, other = (
        lay_out([panel]).panels[0].routes[panel.edges.index(edge)].points
        for edge in ((0, 2), (0, 3), (1, 2))
    )
    assert first[:4] == second[:4] and first[-1] != second[-1]
    assert other[0] != first[0]


def test_cycles_and_edges_from_the_way_back_are_refused() -> None:
    with pytest.raises(ValueError, match="without cycles"):
        ranks_of(Panel(((10, 10),) * 2, ((0, 1), (1, 0))), {})
    with pytest.raises(ValueError, match="no edge from the way back"):
        ranks_of(Panel(((10, 10),) * 2, ((0, 1),), frozenset({0})), {})


numbers = st.floats(-100, 100)


@few
@given(
    st.data(),
    st.lists(st.tuples(numbers, st.floats(0.1, 4), st.floats(0, 20)), min_size=1, max_size=6),
)
def test_nothing_nearer_keeps_apart(
    data: st.DataObject, items: list[tuple[float, float, float]]
) -> None:
    wanted, weights, gaps = zip(*items, strict=True)
    gaps = gaps[1:]

    def cost(places) -> float:
        return sum(w * (x - p) ** 2 for w, x, p in zip(weights, wanted, places, strict=True))

    ends = data.draw(st.sampled_from([(-math.inf, math.inf), (0.0, sum(gaps)), (-5.0, 150.0)]))
    found = nearest_apart(wanted, weights, gaps, *ends)
    assert found[0] >= ends[0] - 1e-9 and found[-1] <= ends[1] + 1e-9
    for (left, right), gap in zip(itertools.pairwise(found), gaps, strict=True):
        assert right - left >= gap - 1e-9
    # Convex: moving any run of neighbours either way, as far as that is allowed, gains nothing.
    for first, last in itertools.combinations(range(len(found) + 1), 2):
        for shift in (-0.01, 0.01):
            moved = [
                place + shift if first <= number < last else place
                for number, place in enumerate(found)
            ]
            fits = moved[0] >= ends[0] and moved[-1] <= ends[1]
            fits = fits and all(
                right - left >= gap - 1e-12
                for (left, right), gap in zip(itertools.pairwise(moved), gaps, strict=True)
            )
            assert not fits or cost(moved) >= cost(found) - 1e-9
