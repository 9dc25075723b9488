"""One finding of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CheckStatus = Literal["ok", "warn", "missing"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it; an "ok" needs no hint."""

    name: str
    status: CheckStatus
    found: str
    hint: str = ""


def passed_if(good: bool, name: str, found: str, hint: str) -> Check:
    """An "ok" where `good`, otherwise a warning with the hint."""
    return Check(name, "ok", found) if good else Check(name, "warn", found, hint)
