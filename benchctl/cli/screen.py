"""What reaches the terminal: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TextIO

import click


def colour_setting() -> bool | None:
    """False where colour is not wanted; None leaves it to whether the stream is a terminal."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return None


def is_live(stream: TextIO | None = None) -> bool:
    """Whether a progress bar may be drawn: a terminal, not in CI, colour not refused."""
    stream = sys.stderr if stream is None else stream
    refused = os.environ.get("CI") or colour_setting() is False
    return stream.isatty() and not refused


def write(lines: Iterable[str]) -> None:
    """Print lines of the result to stdout."""
    text = "\n".join(lines)
    if text:
        click.echo(text, color=colour_setting())


def note(lines: Iterable[str] | str) -> None:
    """Print lines beside the result to stderr."""
    for line in [lines] if isinstance(lines, str) else lines:
        click.echo(line, err=True, color=colour_setting())
