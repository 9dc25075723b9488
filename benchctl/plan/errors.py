"""Errors of a plan: what was expected, what was received, what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PlanError(Exception):
    """A plan that cannot be made; `message` is one line, `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class MissingFileError(PlanError):
    """A file of the user that is not there."""


class UnknownNameError(PlanError):
    """A name that does not exist, with the nearest that does and all choices.

    `owner` is what should have it, `also` what could stand in its place beside `choices`.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        choices: Iterable[str],
        suggestion: str | None = None,
        also: str = "",
        owner: str = "",
    ) -> None:
        self.choices = tuple(choices)
        self.suggestion = suggestion or nearest(name, self.choices)
        listed = "; ".join(filter(None, (", ".join(self.choices) or "none installed", also)))
        what = f'{owner} has no {kind} "{name}"' if owner else f'no {kind} "{name}"'
        if self.suggestion:
            super().__init__(f"{what}. Did you mean {self.suggestion}? ({listed})")
        else:
            super().__init__(f"{what}: expected one of {listed}")


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice that `name` is most likely a slip of, or None."""
    by_lower = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[matches[0]] if matches else None


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A sentence with the nearest choice, with a space before it; empty when there is none.

    A name among the choices is no slip: what is wrong with it lies elsewhere.
    """
    choices = list(choices)
    found = "" if name in choices else nearest(name, choices)
    return f" Did you mean {found}?" if found else ""
