"""Programs as a user writes them, each run in a process of its own, and what they showed.

They lie in the folder `programs` and import one engine each, as a user's file does. `printing_*`
print, `reading_*` read what was written; `errors_*` make three mistakes, each in a function of its
own on a line that is marked with the function's name.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchctl.claims.mistakes import SEPARATOR
from benchctl.measure.settings import settings_of, worker_environment
from benchctl.store.record import Plan

FOLDER = Path(__file__).parent / "programs"
MISTAKES = ("wrong_shape", "nan", "missing_feed")
TIMEOUT_SECONDS = 120.0
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/\"':]+/)+")
_MESSAGE = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception)\b.*)", re.MULTILINE)
_WARNING = re.compile(r"(\w+Warning: .*)")


def printed_lines(name: str, plan: Plan) -> dict[str, Any]:
    """{"lines": [...]} that a program printed, or {"failed": why}."""
    path = FOLDER / f"{name}.py"
    return _told_by([str(path)], plan, lambda printed: {"lines": printed.splitlines()})


def printed_document(name: str, plan: Plan, *arguments: str) -> dict[str, Any]:
    """The JSON object that a program printed, or {"failed": why}."""
    return _told_by([str(FOLDER / f"{name}.py"), *arguments], plan, json.loads)


def mistakes_of(name: str, plan: Plan) -> dict[str, Any]:
    """By mistake {"file", "line", "shown"}: where it is and what Python showed of it."""
    path = FOLDER / f"{name}.py"
    lines = marked_lines(path.read_text(encoding="utf-8"))

    def told(printed: str) -> dict[str, Any]:
        shown = printed.split(SEPARATOR)[1:]
        return {
            mistake: {
                "file": path.name,
                "line": lines[mistake],
                "shown": condensed(text, path.name),
            }
            for mistake, text in zip(MISTAKES, shown, strict=True)
        }

    return _told_by(["-m", "benchctl.claims.mistakes", str(path), *MISTAKES], plan, told)


def marked_lines(source: str) -> dict[str, int]:
    """The lines that end in a mark such as `# nan`, counted from 1."""
    marks = (re.search(r"# (\w+)$", line) for line in source.splitlines())
    return {mark[1]: number for number, mark in enumerate(marks, start=1) if mark}


def condensed(text: str, file: str) -> str:
    """What was shown, without the frames of other files and without folders."""
    kept, skipping = [], False
    for line in text.splitlines():
        if line.startswith('  File "'):
            skipping = f'{file}"' not in line
        elif not line.startswith("    "):
            skipping = False
        if not skipping:
            kept.append(_FOLDERS.sub("", line))
    return "\n".join(kept)


def names_line(mistake: Mapping[str, Any]) -> bool:
    """Whether what was shown names file and line, as tracebacks or as messages do."""
    file, line = re.escape(str(mistake["file"])), int(mistake["line"])
    return re.search(rf'{file}(?:", line |:| line ){line}\b', str(mistake["shown"])) is not None


def last_words(mistake: Mapping[str, Any]) -> str:
    """The message of the error or warning, its first line; empty where none was shown."""
    shown = str(mistake["shown"])
    found = _MESSAGE.findall(shown) or _WARNING.findall(shown)
    return str(found[-1]) if found else ""


def _told_by(
    arguments: list[str], plan: Plan, read: Callable[[str], dict[str, Any]]
) -> dict[str, Any]:
    """What `read` makes of the output of Python with these arguments, or {"failed": why}."""
    settings = settings_of(plan)
    environment = worker_environment(settings, plan.threads, settings.cache_folder)
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer within {TIMEOUT_SECONDS:g} s"}
    if done.returncode != 0:
        return {"failed": _last_line(done.stderr) or f"exit {done.returncode}"}
    return read(done.stdout)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
