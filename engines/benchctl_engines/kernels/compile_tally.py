"""How many loops this process made ready, and how: a cold start compiles, a warm one loads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Loops compiled anew, and loaded from the cache."""

    compiled: int = 0
    loaded: int = 0

    def count(self, cached: bool) -> None:
        """One more loop."""
        if cached:
            self.loaded += 1
        else:
            self.compiled += 1

    def __str__(self) -> str:
        start = "warm" if self.loaded and not self.compiled else "cold"
        state = f"{start} start: " if self.loaded or self.compiled else ""
        return f"{state}{self.compiled} loops compiled, {self.loaded} loaded from the cache"


TALLY = Tally()
"""Of this process, since it began."""
