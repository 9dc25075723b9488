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
    _lay_out(figure)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})


@styled
def svg_text(figure: Figure, salt: str, *, bare: bool = False) -> str:
    """The figure as SVG; `bare` leaves title and foot out, for a page that says both in words.

    `salt` makes the ids of this figure its own, and the same in every run.
    """
    _lay_out(figure)
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


def _lay_out(figure: Figure) -> None:
    """Place the parts of a finished figure, once for all of its pictures.

    Measuring every text to find the places takes as long as drawing; a figure without a layout
    engine keeps those it has.
    """
    if figure.get_layout_engine() is None:
        return
    FigureCanvasAgg(figure)
    own_dpi = figure.dpi
    figure.set_dpi(PNG_DOTS_PER_INCH)
    figure.draw_without_rendering()
    figure.set_dpi(own_dpi)
    figure.set_layout_engine(None)
