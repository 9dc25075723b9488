"""Figures as PNG and SVG, byte for byte the same for the same data."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchctl.report.charts.style import FOOT_ID, HEADLINE_ID, PNG_DOTS_PER_INCH, styled


@styled
def write_png(figure: Figure, path: Path) -> None:
    """The figure as PNG, without a date, so that equal data give equal bytes."""
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})


@styled
def svg_text(figure: Figure, salt: str, *, bare: bool = False) -> str:
    """The figure as SVG; `bare` leaves title and foot out, for a page that says both in words.

    `salt` makes the ids of this figure its own, and the same in every run.
    """
    buffer = io.StringIO()
    parts = [text for text in figure.texts if text.get_gid() in (HEADLINE_ID, FOOT_ID)]
    with mpl.rc_context({"svg.hashsalt": salt}):
        FigureCanvasSVG(figure)
        for text in parts:
            text.set_visible(not bare)
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None},
            bbox_inches="tight" if bare else None,
            transparent=bare,
        )
        for text in parts:
            text.set_visible(True)
    return buffer.getvalue()
