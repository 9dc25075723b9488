"""The arena of a step as a map: launches from left to right, addresses upwards.

Buffers above each other are alive at one time; buffers beside each other share their bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchctl.graphs.svg_parts import px, rect_part, text_part
from benchctl.graphs.svg_style import LINE_HEIGHT, LINE_SIZE, TITLE_HEIGHT
from benchctl.graphs.text import text_width
from benchctl.report.numbers import format_bytes
from benchctl_engines.contract import GraphView

_HEIGHT = 150.0
_AXIS = 80.0
_HIGH_ENOUGH = 13.0


@dataclass(frozen=True, slots=True)
class ArenaMap:
    """SVG elements from (0, 0) on, and how high they are."""

    parts: tuple[str, ...]
    height: float


def arena_map(view: GraphView, width: float) -> ArenaMap:
    """The map of a compiled step, `width` pixels wide."""
    top, left = TITLE_HEIGHT + 10.0, _AXIS
    bottom = top + _HEIGHT
    step = (width - left) / max(len(view.operations), 1)
    scale = _HEIGHT / max(view.arena_bytes, 1)
    scratch = {each.workspace for each in view.operations}
    size = format_bytes(view.arena_bytes)
    word = "buffer" if len(view.buffers) == 1 else "buffers"
    parts = [
        text_part(
            0.0,
            TITLE_HEIGHT - 6.0,
            f"Arena: {size} shared by {len(view.buffers)} {word}, scratch dashed",
            "title",
        )
    ]
    for place, each in enumerate(view.buffers):
        x, high = left + step * each.first, scale * each.nbytes
        y, wide = bottom - scale * each.offset_bytes - high, step * (each.last - each.first + 1)
        about = (
            f"buffer {place}: {format_bytes(each.nbytes)} at {format_bytes(each.offset_bytes)}, "
            f"launches {each.first + 1} to {each.last + 1}"
        )
        classes = "arena scratch" if place in scratch else "arena"
        parts.append(rect_part(classes, x, y, wide, high, about=about))
        if high >= _HIGH_ENOUGH and text_width(str(place), LINE_SIZE) + 8.0 <= wide:
            parts.append(text_part(x + 4.0, y + high / 2 + 0.36 * LINE_SIZE, str(place)))
    axis = f"M{px(left)} {px(top)}V{px(bottom)}H{px(width)}"
    parts += [
        f'<path class="rule" d="{axis}" fill="none"/>',
        _ending_at(left - 8.0, top + LINE_SIZE, size),
        _ending_at(left - 8.0, bottom, "0"),
        text_part(left, bottom + LINE_HEIGHT, "launch 1", "muted"),
    ]
    last = f"launch {len(view.operations)}"
    if width - left > 3.0 * text_width(last, LINE_SIZE):
        parts.append(_ending_at(width, bottom + LINE_HEIGHT, last))
    return ArenaMap(tuple(parts), bottom + LINE_HEIGHT + 4.0)


def _ending_at(x: float, y: float, words: str) -> str:
    return text_part(x - text_width(words, LINE_SIZE), y, words, "muted")
