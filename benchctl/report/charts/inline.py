"""Figures as SVG inside a page: own ids, the colours of the page, words for screen readers."""

from __future__ import annotations

import re
from html import escape

from matplotlib.figure import Figure

from benchctl.report.charts.files import svg_text
from benchctl.report.charts.style import GRID, INK, MUTED, PAPER

_PAGE_COLORS = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}
_OPENING = re.compile(r"<svg\b[^>]*>")
_VIEW_BOX = re.compile(r'viewBox="([^"]*)"')
_REMOVED = re.compile(r"<metadata>.*?</metadata>|<style\b.*?</style>", re.DOTALL)
_ID = re.compile(r'(\bid="|href="#|url\(#)')


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """The figure as an `<svg>` element for HTML, without title and foot, which the page gives.

    matplotlib numbers its ids from 1 in every figure, so that each gets `name` in front; colours
    of text, lines and paper become variables of the page's style sheet, light or dark.
    """
    svg = svg_text(figure, name, bare=True)
    opening = _OPENING.search(svg)
    view_box = _VIEW_BOX.search(opening.group()) if opening else None
    if opening is None or view_box is None:
        raise ValueError(f"the SVG of {name} expected an <svg> element with a viewBox, found none")
    body = _REMOVED.sub("", svg[opening.end() :])
    body = _ID.sub(rf"\g<1>{name}-", body)
    for color, variable in _PAGE_COLORS.items():
        body = body.replace(color, f"var({variable})")
    head = (
        f'<svg class="chart" role="img" viewBox="{view_box.group(1)}" '
        f'aria-labelledby="{name}-title {name}-description">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-description">{escape(description)}</desc>'
    )
    return head + body
