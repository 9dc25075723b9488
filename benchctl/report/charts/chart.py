"""What a chart hands to the report: a figure, its finding in words, and its data as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from benchctl.report.table import Column, Table
from benchctl.store.record import Run


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture of a report.

    `name` is the stem of its files, `topic` the heading of its section, `headline` the finding,
    `description` what the picture shows for those who cannot see it, `notes` what a reader must
    know to read it rightly.
    """

    name: str
    topic: str
    headline: str
    description: str
    figure: Figure
    table: Table
    notes: tuple[str, ...]
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class MissingChart:
    """A picture that cannot be drawn: what is not measured, and the command that measures it."""

    name: str
    topic: str
    reason: str
    command: str


def text_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[str] = ()
) -> Table:
    """A table whose first column and those named in `words` are text, the others numbers."""
    columns = tuple(
        Column(title, align_right=place > 0 and title not in words)
        for place, title in enumerate(titles)
    )
    return Table(columns, tuple(tuple(row) for row in rows))
