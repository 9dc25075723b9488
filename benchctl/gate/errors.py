"""What can be wrong with what a gate is asked to do; every message says what to do next."""

from __future__ import annotations


class GateError(Exception):
    """The configuration or the repository does not allow a comparison."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class BuildError(GateError):
    """A revision could not be checked out or built."""
