"""A run on stdout in the format asked for, and as a JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.exits import Exit
from benchctl.cli.screen import note, write
from benchctl.cli.writable import not_written, require_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchctl.compare.summary import RunSummary
    from benchctl.store.record import Run

STDOUT = "-"
OTHER_JSON = "choose another path: --json PATH"


@dataclass(frozen=True, slots=True)
class Output:
    """What to print and what to write; `machine_readable` output has nothing else beside it."""

    json_target: str | None = None
    markdown: bool = False
    csv: bool = False
    full: bool = False

    @property
    def machine_readable(self) -> bool:
        """Whether stdout holds one document for a program and no text."""
        return self.csv or self.markdown or self.json_target == STDOUT

    def check(self) -> None:
        """Fail before anything is measured: formats that exclude each other, unwritable files."""
        chosen = [
            name
            for name, on in (
                ("--json -", self.json_target == STDOUT),
                ("--markdown", self.markdown),
                ("--csv", self.csv),
            )
            if on
        ]
        if len(chosen) > 1:
            raise click.UsageError(f"expected one format for stdout, received {chosen}")
        if self.json_target not in (None, STDOUT):
            require_writable(Path(str(self.json_target)), OTHER_JSON)

    def show(self, run: Run, summary: RunSummary) -> None:
        """Print the run, and write the JSON file if one was asked for."""
        if self.json_target is not None:
            self._write_json(run, summary)
        if self.json_target == STDOUT:
            return
        if self.markdown:
            from benchctl.report.markdown import run_markdown

            write(run_markdown(summary, self.full))
        elif self.csv:
            from benchctl.report.csv import run_csv

            write(run_csv(summary))
        else:
            from benchctl.report.text import run_lines

            write(run_lines(summary, self.full))

    def _write_json(self, run: Run, summary: RunSummary) -> None:
        from benchctl.store.export import dump_json, run_document

        text = dump_json(run_document(run, summary))
        if self.json_target == STDOUT:
            write([text])
            return
        path = Path(str(self.json_target))
        try:
            write_document(path, text + "\n")
        except OSError as error:
            kept = f"{OTHER_JSON}; the run itself is kept in the store"
            raise not_written(path, error, kept) from error
        note(f"JSON in {path}")


def write_chart(figure: Figure | None, path: Path) -> None:
    """Write a chart as PNG or SVG, by the name of the file.

    The answer has been given by then: without a chart it stands all the same.
    """
    if figure is None:
        note(f"warning: nothing was measured that {path} could show")
        return
    from benchctl.report.charts.files import svg_text, write_png

    try:
        if path.suffix == ".svg":
            write_document(path, svg_text(figure, salt=path.stem))
        else:
            write_png(figure, path)
    except OSError as error:
        note(f"warning: {path} cannot be written: {error.strerror or error}")
        return
    note(f"Chart in {path}")


def write_document(path: Path, text: str) -> None:
    """Write a file as a whole or not at all; pipes and devices as they come. Raises OSError."""
    from benchctl.store.files import write_whole

    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
    else:
        write_whole(path.resolve(), text, replace=True)


def exit_code(run: Run) -> Exit:
    """How a run ended: a failed arm, nothing measured, or all well."""
    arms = [arm for case in run.cases for arm in case.arms]
    if any(arm.status in ("wrong", "crashed", "timeout") for arm in arms):
        return Exit.FAILED
    if not any(arm.rounds for arm in arms):
        return Exit.NOTHING_MEASURED
    return Exit.OK


def failure_notes(run: Run) -> list[str]:
    """Why arms were not timed, for stderr where stdout is a document for a program."""
    from benchctl.report.sentences import failure_lines

    lines = []
    for case in run.cases:
        for arm in case.arms:
            lines += [
                line if line.startswith(" ") else f"{case.case.id}: {line}"
                for line in failure_lines(arm)
            ]
    return lines
