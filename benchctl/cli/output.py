"""A run on stdout in the format asked for, and as a JSON file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchctl.cli.errors import CliError
from benchctl.cli.exits import Exit
from benchctl.cli.screen import note, write

if TYPE_CHECKING:
    from benchctl.compare.summary import RunSummary
    from benchctl.store.record import Run

STDOUT = "-"


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
            _check_writable(Path(str(self.json_target)))

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
            path.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise _not_written(path, error) from error
        note(f"JSON in {path}")


def _check_writable(path: Path) -> None:
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> CliError:
    return CliError(
        f"{path} cannot be written: {error.strerror or error}",
        "choose another path for --json; the run itself is kept in the store",
    )


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
