"""The key under which a place in a program draws its random numbers."""

from __future__ import annotations

_LOW_WORD = 0xFFFFFFFF
# Spreads the upper half of a long seed over the word that holds the site.
_SEED_SPREAD = 0x9E3779B1


def philox_key(seed: int, site: int) -> tuple[int, int]:
    """The two 32-bit words of the key: one stream for each seed and place in the program."""
    return seed & _LOW_WORD, ((seed >> 32) * _SEED_SPREAD + site) & _LOW_WORD
