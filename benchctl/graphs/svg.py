"""The picture of a graph as one SVG file: no server, no script, light or dark as its viewer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from benchctl.graphs.arena import arena_map
from benchctl.graphs.diagram import Box, Diagram
from benchctl.graphs.layout import PlacedPanel, Point, Route, lay_out
from benchctl.graphs.ranks import Panel
from benchctl.graphs.svg_parts import px, rect_part, text_part
from benchctl.graphs.svg_style import (
    BAR_HEIGHT,
    HEADING_SIZE,
    LINE_HEIGHT,
    LINE_SIZE,
    MARGIN,
    NARROWEST_BOX,
    PADDING,
    STYLE,
    TITLE_HEIGHT,
    TITLE_SIZE,
    WIDEST_LINE,
)
from benchctl.graphs.text import text_width, wrapped

PANEL_TITLES = {"before": "As recorded", "after": "As it runs, after the passes"}
_LEAST_PANEL = 320.0
_BELOW_DEPTH = 24.0
_LEGEND = (
    ("forward", "forward"),
    ("backward", "gradients"),
    ("update", "changes parameters"),
    ("input", "input, result"),
)


@dataclass(frozen=True, slots=True)
class _Text:
    """What is written in a box, line by line, and the size of the box around it."""

    lines: tuple[str, ...]
    width: float
    height: float


def svg_document(diagrams: Sequence[Diagram], heading: str) -> str:
    """Diagrams beside each other under a heading; the same graphs give the same text."""
    texts = [[_fitted(box) for box in diagram.boxes] for diagram in diagrams]
    panels = [_panel(diagram, own) for diagram, own in zip(diagrams, texts, strict=True)]
    layout = lay_out(panels, [_LEAST_PANEL] * len(panels))
    head = wrapped(heading, max(layout.width, 2 * _LEAST_PANEL), HEADING_SIZE * 1.1)
    widest = max(text_width(line, HEADING_SIZE, bold=True) for line in head)
    width = max(layout.width, widest, 2 * _LEAST_PANEL)
    left, y = MARGIN + (width - layout.width) / 2, MARGIN
    parts = []
    for line in head:
        y += HEADING_SIZE * 1.3
        parts.append(text_part(MARGIN, y, line, "heading"))
    y += 12.0
    facts = [
        wrapped(diagram.facts, placed.right - placed.left, LINE_SIZE)
        for diagram, placed in zip(diagrams, layout.panels, strict=True)
    ]
    for diagram, placed, lines in zip(diagrams, layout.panels, facts, strict=True):
        parts.append(
            text_part(left + placed.left, y + TITLE_HEIGHT, PANEL_TITLES[diagram.name], "title")
        )
        for number, line in enumerate(lines, start=1):
            at = y + TITLE_HEIGHT + number * LINE_HEIGHT
            parts.append(text_part(left + placed.left, at, line, "muted"))
    y += TITLE_HEIGHT + max(map(len, facts)) * LINE_HEIGHT + 20.0
    drawn = zip(diagrams, texts, layout.panels, strict=True)
    parts.append(f'<g transform="translate({px(left)} {px(y)})">')
    for diagram, own, placed in drawn:
        parts += _panel_parts(diagram, own, placed)
    parts.append("</g>")
    y += layout.height + 30.0
    for diagram in diagrams:
        if diagram.view.buffers:
            drawing = arena_map(diagram.view, width)
            parts.append(f'<g transform="translate({px(MARGIN)} {px(y)})">')
            parts += [*drawing.parts, "</g>"]
            y += drawing.height + 24.0
    legend, y = _legend(diagrams, y, width)
    parts += legend
    return _document(heading, width + 2 * MARGIN, y + MARGIN, parts)


def _document(heading: str, width: float, height: float, parts: Sequence[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{px(width)}" height="{px(height)}" '
            f'viewBox="0 0 {px(width)} {px(height)}" role="img" aria-labelledby="heading">',
            f'<title id="heading">{escape(heading)}</title>',
            f"<style>{STYLE}</style>",
            '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6.5" '
            'markerHeight="6.5" orient="auto"><path class="head" d="M0 0.8 8 4 0 7.2z"/>'
            "</marker></defs>",
            f'<rect class="paper" width="{px(width)}" height="{px(height)}"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(diagram: Diagram, texts: Sequence[_Text]) -> Panel:
    return Panel(
        sizes=tuple((each.width, each.height) for each in texts),
        edges=tuple((each.source, each.target) for each in diagram.edges),
        returning=diagram.returning,
        twins=tuple(each.twin for each in diagram.boxes),
    )


# ----- boxes and edges --------------------------------------------------------------------------


def _fitted(box: Box) -> _Text:
    lines = [part for line in box.lines for part in wrapped(line, WIDEST_LINE, LINE_SIZE)]
    title = text_width(box.title, TITLE_SIZE, bold=True)
    if box.tag:
        title += 14.0 + text_width(box.tag, LINE_SIZE)
    widest = max([title, NARROWEST_BOX, *(text_width(line, LINE_SIZE) for line in lines)])
    height = TITLE_HEIGHT + LINE_HEIGHT * len(lines) + 1.3 * PADDING
    if box.share:
        height += 2 * BAR_HEIGHT
    return _Text(tuple(lines), widest + 2 * PADDING, height)


def _panel_parts(diagram: Diagram, texts: Sequence[_Text], placed: PlacedPanel) -> Iterator[str]:
    tensors = {each.name: each for each in diagram.view.tensors}
    for edge, route in zip(diagram.edges, placed.routes, strict=True):
        kept = diagram.is_kept(edge)
        names = ", ".join(
            f"{name} {tensors[name].dtype}{list(tensors[name].shape)}" for name in edge.tensors
        )
        classes = "edge kept" if kept else "edge"
        yield (
            f'<path class="{classes}" d="{_path(route)}" marker-end="url(#arrow)">'
            f"<title>{escape(names)}</title></path>"
        )
    for box, text, centre in zip(diagram.boxes, texts, placed.centres, strict=True):
        yield _box(box, text, centre)


def _box(box: Box, text: _Text, centre: Point) -> str:
    left, top = centre[0] - text.width / 2, centre[1] - text.height / 2
    round_corners = text.height / 2 if box.kind in ("input", "output") else 5.0
    y = top + 0.5 * PADDING + TITLE_SIZE
    classes = f"box {box.kind}{' fused' if box.fused else ''}"
    parts = [
        f'<g class="{classes}">',
        f"<title>{escape(box.about)}</title>",
        rect_part("body", left, top, text.width, text.height, min(round_corners, 16.0)),
        text_part(left + PADDING, y, box.title, "title"),
    ]
    if box.tag:
        at = left + text.width - PADDING - text_width(box.tag, LINE_SIZE)
        parts.append(text_part(at, y, box.tag, "muted"))
    for number, line in enumerate(text.lines, start=1):
        parts.append(text_part(left + PADDING, y + number * LINE_HEIGHT, line))
    if box.share:
        full = text.width - 2 * PADDING
        at = top + text.height - 0.6 * PADDING - BAR_HEIGHT
        length = max(full * box.share, 1.0)
        parts.append(rect_part("bar", left + PADDING, at, length, BAR_HEIGHT, 1.5))
    return "".join([*parts, "</g>"])


def _path(route: Route) -> str:
    """A way as path data; lines of no length are left out, so that arrowheads know their way."""
    (x, y), *rest = route.points
    words = [f"M{px(x)} {px(y)}"]
    for number, (to_x, to_y) in enumerate(rest):
        if route.kind == "side" or number % 2 == 0:
            if abs(to_x - x) + abs(to_y - y) > 0.05:
                words.append(f"L{px(to_x)} {px(to_y)}")
        elif route.kind == "below":
            deep = max(y, to_y) + _BELOW_DEPTH
            words.append(f"C{px(x)} {px(deep)} {px(to_x)} {px(deep)} {px(to_x)} {px(to_y)}")
        else:
            middle = (y + to_y) / 2
            words.append(f"C{px(x)} {px(middle)} {px(to_x)} {px(middle)} {px(to_x)} {px(to_y)}")
        x, y = to_x, to_y
    return "".join(words)


# ----- words ------------------------------------------------------------------------------------


def _legend(diagrams: Sequence[Diagram], y: float, width: float) -> tuple[list[str], float]:
    """Samples of what the picture uses, and where they end."""
    kinds = {box.kind for diagram in diagrams for box in diagram.boxes}
    parts, x, y = [], MARGIN, y + 4.0
    entries: list[tuple[str, str, str]] = [
        ("box", kind, words) for kind, words in _LEGEND if kind in kinds
    ]
    if any(box.fused for diagram in diagrams for box in diagram.boxes):
        entries.append(("box fused", "forward", "thick edge: fused"))
    if any(diagram.returning for diagram in diagrams):
        entries.append(("line", "", "dashed: kept for the way back"))
    if any(box.share for diagram in diagrams for box in diagram.boxes):
        entries.append(("bar", "", "part of the time"))
    for sample, kind, words in entries:
        room = 30.0 + text_width(words, LINE_SIZE) + 22.0
        if x > MARGIN and x + room > MARGIN + width:
            x, y = MARGIN, y + 20.0
        parts += [_sample(sample, kind, x, y), text_part(x + 30.0, y + 10.0, words, "muted")]
        x += room
    return parts, y + 14.0


def _sample(sample: str, kind: str, x: float, y: float) -> str:
    if sample == "line":
        return f'<path class="edge kept" d="M{px(x)} {px(y + 6)}L{px(x + 23)} {px(y + 6)}"/>'
    if sample == "bar":
        return rect_part("bar", x, y + 4.0, 23.0, BAR_HEIGHT)
    return f'<g class="{sample} {kind}">{rect_part("body", x, y, 23.0, 12.0, 3.0)}</g>'
