"""How charts look: colours that everybody tells apart, and marks that survive a grey print."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

INK: Final = "#1b1b1b"
MUTED: Final = "#5f6368"
GRID: Final = "#d5d7da"
PAPER: Final = "#ffffff"
EDGE: Final = "#222222"
"""Edges and hatches on bright bars: dark on a dark page too, where INK turns light."""

# Okabe and Ito (2008), "Color universal design".
BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
PURPLE: Final = "#CC79A7"
ORANGE: Final = "#E69F00"
SKY: Final = "#56B4E9"
YELLOW: Final = "#F0E442"

WIDTH_INCHES: Final = 9.0
PNG_DOTS_PER_INCH: Final = 144
TITLE_COLUMNS: Final = 84
FOOT_COLUMNS: Final = 175
TITLE_LINE_INCHES: Final = 0.205
FOOT_LINE_INCHES: Final = 0.135
LEGEND_LINE_INCHES: Final = 0.2

HEADLINE_ID: Final = "headline"
FOOT_ID: Final = "foot"

# Any, because matplotlib's types list every setting's name.
_SETTINGS: Final[Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "sans-serif"],
    "font.size": 9.5,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "savefig.facecolor": PAPER,
}


@dataclass(frozen=True, slots=True)
class Look:
    """Colour, marker, hatch and line of one arm or phase; any one of them tells it apart.

    A hollow look belongs to a second arm of the same engine: pale bars, empty markers.
    """

    color: str
    marker: str = "o"
    hatch: str = ""
    line: str = "-"
    hollow: bool = False
    hatch_color: str = PAPER


_ENGINE_LOOKS: Final = {
    "static": Look(BLUE, "o", "", "-"),
    "eager": Look(VERMILION, "s", "///", "--"),
    "numpy": Look(GREEN, "^", "...", "-."),
}
_OTHER_LOOKS: Final = (
    Look(PURPLE, "D", "xxx", ":"),
    Look(ORANGE, "v", "\\\\\\", ":"),
    Look(SKY, "P", "++", "--"),
    Look(MUTED, "X", "oo", "-."),
    Look(YELLOW, "<", "||", "--", hatch_color=EDGE),
    Look("#8c6d31", ">", "**", ":"),
)

PHASE_LOOKS: Final = {
    "import": Look("#c4c7ca", hatch_color=EDGE),
    "build": Look(SKY, hatch="////", hatch_color=EDGE),
    "compile": Look(ORANGE, hatch_color=EDGE),
    "first_run": Look(YELLOW, hatch="....", hatch_color=EDGE),
}
PHASE_NAMES: Final = {
    "import": "import",
    "build": "build",
    "compile": "compile",
    "first_run": "first run",
}


def arm_looks(arms: Sequence[str]) -> dict[str, Look]:
    """A look for each arm id: in-house engines keep theirs, later arms of an engine are hollow."""
    looks: dict[str, Look] = {}
    others = 0
    seen: dict[str, int] = {}
    base: dict[str, Look] = {}
    for arm in arms:
        engine = arm.partition(":")[0].partition("@")[0]
        if engine not in base:
            base[engine] = _ENGINE_LOOKS.get(engine, _OTHER_LOOKS[others % len(_OTHER_LOOKS)])
            others += engine not in _ENGINE_LOOKS
        count = seen.get(engine, 0)
        seen[engine] = count + 1
        looks[arm] = base[engine] if count == 0 else _variant(base[engine], count)
    return looks


def other_look(place: int) -> Look:
    """A look for the place-th of things that are no engines."""
    looks = (*_ENGINE_LOOKS.values(), *_OTHER_LOOKS)
    return looks[place % len(looks)]


def _variant(look: Look, count: int) -> Look:
    hatch = (look.hatch or "|||") if count % 2 else look.hatch + "--"
    return replace(look, hatch=hatch, line=":", hollow=True, hatch_color=look.color)


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run `draw` with the report's settings; matplotlib reads them when parts are made."""

    @functools.wraps(draw)
    def with_settings(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return with_settings


def new_figure(height_inches: float) -> Figure:
    """An empty figure of the report's width, laid out so that nothing is clipped."""
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def panels(figure: Figure, columns: int, widths: Sequence[float] | None = None) -> list[Axes]:
    """Axes side by side."""
    grid = figure.subplots(1, columns, squeeze=False, width_ratios=widths)
    return list(grid[0])


def finish(
    figure: Figure, headline: str, foot: str, handles: Sequence[Artist] = (), columns: int = 5
) -> None:
    """The finding as the title, the legend under it, machine and date at the foot.

    The panels get the room between; titles and feet are wrapped to the width.
    """
    height = figure.get_figheight()
    title_lines = textwrap.wrap(headline, TITLE_COLUMNS)
    foot_lines = textwrap.wrap(foot, FOOT_COLUMNS)
    top = 1 - (0.12 + TITLE_LINE_INCHES * len(title_lines)) / height
    bottom = (0.08 + FOOT_LINE_INCHES * len(foot_lines)) / height
    _text(figure, 1 - 0.1 / height, title_lines, HEADLINE_ID, size=12, weight="bold", color=INK)
    _text(figure, bottom, foot_lines, FOOT_ID, size=7.5, weight="normal", color=MUTED)
    if handles:
        figure.legend(
            handles=list(handles),
            loc="upper left",
            bbox_to_anchor=(0.005, top),
            ncols=columns,
            borderaxespad=0.0,
            handlelength=2.6,
        )
        top -= (0.06 + LEGEND_LINE_INCHES * math.ceil(len(handles) / columns)) / height
    figure.set_layout_engine("constrained", rect=(0, bottom, 1, top - bottom))


def _text(
    figure: Figure, top: float, lines: Sequence[str], name: str, *, size: float, **look: Any
) -> None:
    text = figure.text(0.012, top, "\n".join(lines), ha="left", va="top", fontsize=size, **look)
    text.set_gid(name)
    text.set_in_layout(False)
