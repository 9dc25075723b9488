"""How a picture looks: measures in pixels, and colours on light and on dark paper."""

from __future__ import annotations

from typing import Final

from benchctl.graphs.colors import COLORS
from benchctl.graphs.text import FONT_FAMILY

TITLE_SIZE: Final = 13.0
LINE_SIZE: Final = 11.0
HEADING_SIZE: Final = 18.0
TITLE_HEIGHT: Final = 19.0
LINE_HEIGHT: Final = 15.5
PADDING: Final = 11.0
"""Around the text of a box, above and below a little less."""

WIDEST_LINE: Final = 330.0
NARROWEST_BOX: Final = 84.0
MARGIN: Final = 28.0
BAR_HEIGHT: Final = 4.0


def _painted(kind: str) -> str:
    fill, outline = COLORS[kind]
    return f"fill: {fill}; stroke: {outline};"


STYLE: Final = f"""
text {{ font-family: {FONT_FAMILY}; font-size: {LINE_SIZE}px; fill: #1b1b1b; }}
.heading {{ font-size: {HEADING_SIZE}px; font-weight: bold; }}
.title {{ font-size: {TITLE_SIZE}px; font-weight: bold; }}
.muted {{ fill: #5f6368; }}
.paper {{ fill: #ffffff; }}
.rule {{ stroke: #d5d7da; stroke-width: 1; }}
.box rect.body {{ stroke-width: 1.2; }}
.box.fused rect.body {{ stroke-width: 2.4; }}
.input .body, .output .body {{ {_painted("input")} }}
.forward .body {{ {_painted("forward")} }}
.backward .body {{ {_painted("backward")} }}
.update .body {{ {_painted("update")} }}
.bar {{ fill: #e69f00; }}
.edge {{ fill: none; stroke: #80858b; stroke-width: 1.4; }}
.edge.kept {{ stroke: #a8adb3; stroke-dasharray: 4 3; }}
.head {{ fill: #80858b; }}
.arena {{ {_painted("forward")} stroke-width: 0.8; }}
.arena.scratch {{ {_painted("input")} stroke-dasharray: 3 2; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e9eaec; }}
  .muted {{ fill: #a6abb1; }}
  .paper {{ fill: #17191c; }}
  .rule {{ stroke: #3d4146; }}
  .input .body, .output .body {{ fill: #22252a; stroke: #8a9097; }}
  .forward .body {{ fill: #14293a; stroke: #56b4e9; }}
  .backward .body {{ fill: #38230f; stroke: #f08a3c; }}
  .update .body {{ fill: #10302a; stroke: #35b992; }}
  .edge {{ stroke: #8a9097; }}
  .edge.kept {{ stroke: #666c73; }}
  .head {{ fill: #8a9097; }}
  .arena {{ fill: #14293a; stroke: #56b4e9; }}
  .arena.scratch {{ fill: #22252a; stroke: #8a9097; }}
}}
"""
