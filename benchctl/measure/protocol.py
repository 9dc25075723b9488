"""The talk between a session and its workers: one JSON object a line, a request then its answer.

An answer holds "result", or "failure" with status, message, hint and notes. While a request is at
work the worker also sends {"doing": "compile"} lines, so that a crash can be told from where it
happened. Nothing here imports NumPy.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchctl.plan.errors import MissingFileError, UnknownNameError
from benchctl.store.record import ArmStatus, OutputCheck, Verification

Message = dict[str, Any]

INTERPRETER = "BENCHCTL_INTERPRETER"
"""The variable with the python that is to run a worker, where it is not the session's own."""

WORKING_FOLDER = "BENCHCTL_WORKING_FOLDER"
"""The variable that names the folder in which a worker runs."""

_TRACEBACK_LINES = 12


class ProtocolError(ValueError):
    """A line that is no message."""


class ArmFailure(Exception):  # noqa: N818
    """Why an arm is not measured: the status, message, hint and notes of its result."""

    def __init__(
        self, status: ArmStatus, message: str, hint: str = "", notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status: ArmStatus = status
        self.message = message
        self.hint = hint
        self.notes = notes


def encode(message: Mapping[str, Any]) -> bytes:
    """One line; what JSON does not know becomes a plain number or text."""
    return json.dumps(message, separators=(",", ":"), default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    """What an engine or workload gave in place of a plain value: NumPy's scalars, versions."""
    return value.item() if getattr(value, "ndim", None) == 0 else str(value)


def decode(line: bytes) -> Message:
    """The message of a line; raises `ProtocolError`."""
    try:
        message = json.loads(line)
    except ValueError as error:
        raise ProtocolError(f"expected one JSON object, received {line[:80]!r}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"expected one JSON object, received {line[:80]!r}")
    return message


def failure_message(failure: ArmFailure) -> Message:
    """The answer that carries a failure."""
    return {
        "failure": {
            "status": failure.status,
            "message": failure.message,
            "hint": failure.hint,
            "notes": list(failure.notes),
        }
    }


def result_of(answer: Message) -> Message:
    """The result in an answer; raises the `ArmFailure` that it carries instead."""
    failure = answer.get("failure")
    if failure is not None:
        raise ArmFailure(
            failure["status"], failure["message"], failure["hint"], tuple(failure["notes"])
        )
    result = answer.get("result")
    if not isinstance(result, dict):
        raise ProtocolError(f"expected a result or a failure, received the keys {list(answer)}")
    return result


def failure_from_error(
    error: BaseException, doing: str, user_file: Path | None = None
) -> ArmFailure:
    """What an error raised while `doing` something means for the arm.

    Where it passed through the user's own file, the message names that file and line.
    """
    if isinstance(error, ArmFailure):
        return error
    lines = traceback.format_exception(error)
    notes = tuple("".join(lines).splitlines()[-_TRACEBACK_LINES:])
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        return ArmFailure(
            "crashed",
            f"out of memory during {doing}{detail}",
            str(getattr(error, "hint", "")) or "choose a smaller size or batch, or free memory",
            notes,
        )
    hint = str(getattr(error, "hint", ""))
    if getattr(error, "unavailable", False):
        return ArmFailure("unavailable", str(error), hint, notes)
    # A plan is checked where it is made; another revision of the code may lack the case.
    if isinstance(error, MissingFileError | UnknownNameError):
        return ArmFailure("unavailable", str(error), hint, notes)
    missing = isinstance(error, ImportError) or isinstance(error.__cause__, ImportError)
    if missing and doing == "import":
        return ArmFailure("unavailable", str(error), hint or "install what is missing", notes)
    # An error with a hint was written for users; any other needs its type to make sense.
    message = str(error) if hint else f"{type(error).__name__} during {doing}: {error}"
    line = _line_in(error, user_file)
    if user_file is not None and line and f"{user_file.name}:{line}" not in message:
        message = f"{user_file}:{line}: {message}"
    return ArmFailure("crashed", message, hint, notes)


def _line_in(error: BaseException, file: Path | None) -> int | None:
    """The innermost line of `file` that an error passed through."""
    if file is None:
        return None
    whole = str(file.resolve())
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == whole), None)


def verification_message(verification: Verification) -> Message:
    """A verification as it travels."""
    return {
        "ok": verification.ok,
        "reference": verification.reference,
        "checks": [
            {
                "output": check.output,
                "ok": check.ok,
                "max_error": check.max_error,
                "allowed": check.allowed,
                "relative_error": check.relative_error,
                "where": list(check.where),
                "equals": check.equals,
                "absolute": check.absolute,
            }
            for check in verification.checks
        ],
    }


def read_verification(message: Mapping[str, Any]) -> Verification:
    """A verification that has travelled."""
    checks = tuple(
        OutputCheck(**{**check, "where": tuple(check["where"])}) for check in message["checks"]
    )
    return Verification(message["ok"], checks, message["reference"])
