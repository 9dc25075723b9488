"""The one place that turns an exception into a line for the user and an exit code."""

from __future__ import annotations

from dataclasses import dataclass

import click

from benchctl.cli.exits import Exit

HINT_INDENT = " " * len("error: ")

# By name, so that rendering an error imports nothing heavy: benchctl's own errors only.
EXIT_CODES = {
    "PlanError": Exit.USAGE,
    "GateError": Exit.USAGE,
    "BuildError": Exit.FAILED,
    "AxisError": Exit.USAGE,
    "RecordError": Exit.USAGE,
    "EmptyStoreError": Exit.NOTHING_MEASURED,
    "NoSuchRunError": Exit.USAGE,
    "StoreError": Exit.FAILED,
    "ShapeError": Exit.FAILED,
    "MeasureError": Exit.FAILED,
    "WorkerError": Exit.FAILED,
}
OWN_PACKAGES = ("benchctl", "benchctl_workloads", "benchctl_engines")


class CliError(Exception):
    """An end with a message, what to do about it, and an exit code."""

    def __init__(self, message: str, hint: str = "", exit_code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class ErrorText:
    """An error as it is shown: one line of what, lines of what to do, and the exit code."""

    message: str
    hint: str
    exit_code: Exit


def describe(error: BaseException) -> ErrorText:
    """What to show for `error`."""
    if isinstance(error, CliError):
        return ErrorText(error.message, error.hint, error.exit_code)
    if isinstance(error, click.ClickException):
        return _describe_click(error)
    for kind in type(error).__mro__:
        if kind.__name__ in EXIT_CODES and kind.__module__.partition(".")[0] in OWN_PACKAGES:
            message = str(getattr(error, "message", "") or error)
            hint = str(getattr(error, "hint", "") or "")
            return ErrorText(message, hint, EXIT_CODES[kind.__name__])
    what = str(error).partition("\n")[0]
    return ErrorText(
        f"unexpected {type(error).__name__}: {what} (this is a defect of benchctl or a plug-in)",
        "run the same command with --debug for the traceback",
        Exit.DEFECT,
    )


def _describe_click(error: click.ClickException) -> ErrorText:
    message = error.format_message()
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"{error.ctx.command_path} --help shows the options"
    if isinstance(error, click.FileError):
        return ErrorText(message, hint, Exit.USAGE)
    return ErrorText(message, hint, Exit(error.exit_code) if error.exit_code == 2 else Exit.USAGE)


def render(error: ErrorText, word: str = "error") -> list[str]:
    """The lines to print: the word is coloured, everything else reads the same without colour."""
    lines = [f"{click.style(f'{word}:', fg='red', bold=True)} {error.message}"]
    lines.extend(HINT_INDENT + line for line in error.hint.splitlines() if line)
    return lines
