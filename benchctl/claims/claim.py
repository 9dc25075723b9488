"""What a claim is: the deck's words, the experiment, what it needs, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchctl.claims.verdicts import Observation
from benchctl.plan.suites import SuiteEntry

if TYPE_CHECKING:
    from benchctl.claims.evidence import Evidence
    from benchctl.store.record import Plan

Kind = Literal["timing", "count", "check"]
"""A timing has intervals; a count is exact or one peak an engine; a check is seen or not."""

Facts = Mapping[str, Any]
Probe = Callable[["Plan"], Facts]
"""Looks once at what is no timing, before anything is timed; JSON, stored with the plan."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of the lecture's claims.

    `says` are the deck's words; `asks` what is done; `rule` when the claim holds. `entries` are
    cases to measure, `probe` gives the facts of checks, `judge` reads both off a stored run.
    """

    name: str
    says: str
    asks: str
    rule: str
    kind: Kind
    judge: Callable[[Evidence], tuple[Observation, ...]]
    entries: tuple[SuiteEntry, ...] = ()
    probe: Probe | None = None


# How the cases of a claim are measured where nothing else is said: the steady step alone, a new
# process after five rounds, and starts that the cache of compiled loops makes short.
STEADY: Mapping[str, Any] = {
    "cold": False,
    "restart_every": 5,
    "warm_up": {"min_seconds": 0.1, "limit_seconds": 2.0},
}
ROUNDS = 9
"""Enough for an interval of 95 % that one round in nine cannot break."""
