"""Tables of text: aligned columns for a terminal, measured in cells and not in characters."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how its cells are aligned."""

    title: str
    align_right: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Finished cells; every row has one cell a column. `notes` stand below the table."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table expected {len(self.columns)} cells, received {row}")


def cell_width(text: str) -> int:
    """How many terminal cells `text` takes: wide characters take two, combining ones none."""
    width = 0
    for character in text:
        if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Cc"):
            continue
        width += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return width


def align(text: str, width: int, right: bool) -> str:
    """`text` filled with spaces to `width` cells."""
    fill = " " * max(0, width - cell_width(text))
    return fill + text if right else text + fill


def render_table(table: Table, indent: str = "") -> list[str]:
    """The lines of a table; no line ends in spaces and none is ever cut or wrapped."""
    titles = tuple(column.title for column in table.columns)
    widths = [
        max(cell_width(row[place]) for row in (titles, *table.rows)) for place in range(len(titles))
    ]
    lines = []
    for row in (titles, *table.rows):
        cells = (
            align(text, width, column.align_right)
            for text, width, column in zip(row, widths, table.columns, strict=True)
        )
        lines.append((indent + GAP.join(cells)).rstrip())
    lines.extend(f"{indent}{note}" for note in table.notes)
    return lines
