"""A promise: a simulation, the range its figures must lie in, and what chance may add."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

STANDARD_ERRORS = 3.0
"""How many standard errors of its simulation a figure may lie beyond its limit."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The range in which a figure must lie, as a fraction of 1."""

    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of a promise's simulations, as fractions: the lowest and the highest.

    Each took `runs` runs, and `allowance` is what chance may put between a figure of so many and
    the true one. `limit` is None for what is shown and not promised.
    """

    lowest: float
    highest: float
    runs: int
    limit: Limit | None = None
    allowance: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether all figures are within the limit, as far as so many runs can tell."""
        if self.limit is None:
            return True
        above = self.lowest >= self.limit.low - self.allowance
        return above and self.highest <= self.limit.high + self.allowance


@dataclass(frozen=True, slots=True)
class Promise:
    """A figure that must hold; `simulate(seed, effort)` finds it with that fraction of the runs."""

    name: str
    conditions: str
    simulate: Callable[[int, float], Outcome]


Share = Callable[..., float]
"""Of simulations.py: takes a generator, a number of runs and what is varied."""


def share_promise(
    name: str,
    conditions: str,
    limit: Limit | None,
    runs: int,
    share: Share,
    varied: Sequence[tuple[Any, ...]],
) -> Promise:
    """A promise about the share of so many runs, for each of the arguments varied."""

    def run(seed: int, effort: float) -> Outcome:
        count = max(1, round(runs * effort))
        shares = [
            share(np.random.default_rng([seed, place]), count, *arguments)
            for place, arguments in enumerate(varied)
        ]
        return Outcome(min(shares), max(shares), count, limit, chance(limit, count))

    return Promise(name, conditions, run)


def chance(limit: Limit | None, runs: int) -> float:
    """Three standard errors of a share that lies at its limit."""
    if limit is None:
        return 0.0
    variance = max(each * (1 - each) for each in (limit.low, limit.high))
    return STANDARD_ERRORS * math.sqrt(variance / runs)
