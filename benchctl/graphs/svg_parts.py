"""Elements that every part of an SVG is made of."""

from __future__ import annotations

from html import escape


def px(value: float) -> str:
    """A number to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def text_part(x: float, y: float, words: str, classes: str = "") -> str:
    """Text that begins at x on the line y."""
    chosen = f' class="{classes}"' if classes else ""
    return f'<text x="{px(x)}" y="{px(y)}"{chosen}>{escape(words)}</text>'


def rect_part(
    classes: str,
    x: float,
    y: float,
    width: float,
    height: float,
    corner: float = 0.0,
    about: str = "",
) -> str:
    """A rectangle with rounded corners; `about` is shown where a pointer rests on it."""
    title = f"<title>{escape(about)}</title>" if about else ""
    return (
        f'<rect class="{classes}" x="{px(x)}" y="{px(y)}" width="{px(width)}" '
        f'height="{px(height)}" rx="{px(corner)}">{title}</rect>'
    )
