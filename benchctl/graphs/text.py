"""How wide text is, so that boxes fit around it.

Widths are those of DejaVu Sans, which matplotlib brings along: the common sans-serif fonts that a
viewer may take instead are narrower.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib.ft2font import FT2Font

FONT_FAMILY = "'DejaVu Sans', 'Helvetica Neue', Arial, sans-serif"
_FILES = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
_POINTS = 64
_BREAKS = re.compile(r"(?<! x) (?!x \d|(?:[kMG]?B|[num]?s)\b)")
"""Spaces at which a line may be broken: not within `relu x 2`, `13 MB` or `0.3 ms`."""
_FIXED_POINT = 65536
"""FreeType's unhinted advances are in 1/65536 pixels."""


@cache
def _font(bold: bool) -> FT2Font:
    font = FT2Font(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / _FILES[bold]))
    font.set_size(_POINTS, 72)
    return font


@cache
def _advance(character: str, bold: bool) -> float:
    """The width of a character in units of the font size."""
    return _font(bold).load_char(ord(character)).linearHoriAdvance / _FIXED_POINT / _POINTS


def text_width(text: str, size: float, bold: bool = False) -> float:
    """Width in pixels at a font size in pixels."""
    return size * sum(_advance(each, bold) for each in text)


def wrapped(text: str, width: float, size: float) -> list[str]:
    """Lines no wider than `width`, broken at spaces; a longer word is broken where it must be."""
    lines: list[str] = []
    line = ""
    for word in _words(text, width, size):
        longer = f"{line} {word}" if line else word
        if line and text_width(longer, size) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def _words(text: str, width: float, size: float) -> list[str]:
    words = []
    for word in _BREAKS.split(" ".join(text.split())):
        while text_width(word, size) > width and len(word) > 1:
            fits = next(
                end
                for end in range(len(word) - 1, 0, -1)
                if end == 1 or text_width(word[:end], size) <= width
            )
            # Rather after a separator than in the middle of a part.
            ends = [each.end() for each in re.finditer(r"[:/_.,-]", word[:fits])]
            end = ends[-1] if ends else fits
            words.append(word[:end])
            word = word[end:]
        words.append(word)
    return words
